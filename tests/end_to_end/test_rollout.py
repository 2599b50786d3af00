"""Versions that are swapped on a live Triton server, under load, wrong on purpose, and with a server that dies."""

import threading
from urllib.request import urlopen

import numpy as np
import pytest
from harness import eventually
from triton_server import environment, golden_of, put_version, repository_of, served

from trtbuild.errors import AccuracyError, ServerError, UsageError
from trtbuild.serving import Client, Load, Naming, pin, roll_out, serving
from trtbuild.serving.copies import read_config

REQUESTS = 1000


@pytest.fixture
def repository(tmp_path):
    return served(repository_of(tmp_path, v1=0))


@pytest.fixture
def requests(tmp_path):
    return golden_of(tmp_path / "requests")


@pytest.fixture
def server(repository):
    with serving(repository, environment=environment()) as running:
        with Client(running.grpc) as client:
            client.load("tiny")
        yield running


def versions_named(repository):
    return list(read_config(repository / "tiny").version_policy.specific.versions)


def models_in(repository):
    return sorted(p.name for p in repository.iterdir())


def is_ready(server):
    with urlopen(server.http + "/v2/health/ready") as answer:
        return answer.status == 200


def ready(server):
    with Client(server.http) as client:
        return client.ready_versions("tiny")


class Watched:
    """Load on a server whose every answer is held against the golden one as it comes."""

    def __init__(self, server, requests):
        self.wrong = []
        golden = list(requests)

        def hold(number, answer):
            if not np.allclose(answer["y"], golden[number].answer["y"], rtol=0, atol=1e-5):
                self.wrong.append(number)

        self.load = Load(server.grpc, "tiny", [g.feed for g in golden], concurrency=4, inspect=hold)

    def __enter__(self):
        self.load.__enter__()
        return self

    def __exit__(self, *error):
        self.load.__exit__(*error)

    def after(self, more):
        """Waits for that many more answers."""
        count = len(self.load.latencies) + more
        assert eventually(lambda: len(self.load.latencies) >= count or self.load.failures, 60)


def test_two_versions_under_load_lose_no_request(server, repository, requests):
    put_version(repository, 2, 0)
    left = repository / "tiny__trial"  # by an earlier try that was killed
    left.mkdir()
    (left / "config.pbtxt").write_text("half a con")
    with Watched(server, requests) as watched:
        watched.after(200)
        done = roll_out(server.grpc, repository, "tiny", 2, requests)
        watched.after(REQUESTS)
    assert (done.version, done.retired) == (2, (1,))
    assert done.tried.outcome == done.confirmed.outcome == "passed"
    assert len(watched.load.latencies) >= REQUESTS
    assert watched.load.failures == []
    assert watched.wrong == []
    assert ready(server) == (2,)
    assert versions_named(repository) == [2]
    assert models_in(repository) == ["tiny"], "the trial is gone"


def test_a_version_that_answers_wrongly_never_gets_a_request(server, repository, requests):
    put_version(repository, 2, seed=9)
    with Watched(server, requests) as watched:
        watched.after(100)
        with pytest.raises(
            AccuracyError, match=r"version 2 of tiny .* max_abs <= 1e-05: .*; version 1 serves as before"
        ):
            roll_out(server.http, repository, "tiny", 2, requests)
        watched.after(REQUESTS)
    assert watched.load.failures == []
    assert watched.wrong == []
    assert ready(server) == (1,)
    assert versions_named(repository) == [1]
    assert models_in(repository) == ["tiny"]
    assert is_ready(server)


def test_a_version_that_is_right_on_trial_and_wrong_in_place_is_put_back(server, repository, requests):
    put_version(repository, 2, seed=0)

    def spoils(folder, versions):
        if versions == (2,):
            (folder / "2" / "model.onnx").unlink()  # a new file: the trial's is a link to the old one
            other = put_version(repository.parent / "other", 2, seed=9)
            (other / "model.onnx").rename(folder / "2" / "model.onnx")
        pin(folder, versions)

    with (
        Watched(server, requests) as watched,
        pytest.raises(AccuracyError, match=r"golden answers in place.*version 1 serves"),
    ):
        roll_out(server.grpc, repository, "tiny", 2, requests, naming=Naming(spoils, pin))
    assert watched.load.failures == []
    assert ready(server) == (1,)
    assert versions_named(repository) == [1]


def test_a_version_that_does_not_load_leaves_the_old_one(server, repository, requests):
    (put_version(repository, 2, seed=0) / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ServerError, match=r"version 2 of tiny cannot be tried.*version 1 serves as before"):
        roll_out(server.grpc, repository, "tiny", 2, requests)
    assert ready(server) == (1,)
    assert versions_named(repository) == [1]
    assert models_in(repository) == ["tiny"]


@pytest.mark.parametrize("moment", ["trial", "swap"])
def test_a_server_that_dies_while_it_loads(repository, requests, moment):
    put_version(repository, 2, seed=0)
    with serving(repository, environment=environment()) as server:
        with Client(server.grpc) as client:
            client.load("tiny")
        loads = f"loading: tiny{'__trial' if moment == 'trial' else ''}:2"
        killer = threading.Thread(target=_kill_when, args=(server, loads))
        killer.start()
        with pytest.raises(ServerError, match="the server does not answer any more") as raised:
            roll_out(server.grpc, repository, "tiny", 2, requests)
        killer.join()
        assert raised.value.place == server.grpc
    assert versions_named(repository) == [1]
    assert models_in(repository) == ["tiny"]
    with serving(repository, environment=environment()) as server:
        if moment == "trial":
            with Client(server.grpc) as client:
                client.load("tiny")
            assert ready(server) == (1,), "what starts again serves the old one"
        done = roll_out(server.grpc, repository, "tiny", 2, requests)
        assert ready(server) == (2,), "a second try succeeds"
        assert done.retired == ((1,) if moment == "trial" else ())


def _kill_when(server, said):
    assert eventually(lambda: said in server.log.read_text(encoding="utf-8", errors="replace"), 60)
    server.kill()


def test_a_first_version_that_is_wrong_is_not_left_loaded(repository, requests, tmp_path):
    with serving(repository, environment=environment()) as server:
        with pytest.raises(AccuracyError, match="nothing serves, as before"):
            roll_out(server.http, repository, "tiny", 1, golden_of(tmp_path / "other", seed=4))
        assert ready(server) == ()


def test_a_second_rollout_waits_for_the_first(server, repository, requests):
    from filelock import FileLock

    put_version(repository, 2, seed=0)
    place = repository.parent / ".trtbuild" / repository.name / "trials" / "tiny.lock"
    place.parent.mkdir(parents=True)
    with FileLock(place), pytest.raises(UsageError, match="another rollout of tiny is under way"):
        roll_out(server.grpc, repository, "tiny", 2, requests, wait_s=0.1)
    assert ready(server) == (1,)


def test_a_version_that_is_not_there_or_serves_already_is_refused(server, repository, requests):
    with pytest.raises(UsageError, match="version 1 serves already"):
        roll_out(server.grpc, repository, "tiny", 1, requests)
    with pytest.raises(UsageError, match="there is no version 7") as raised:
        roll_out(server.grpc, repository, "tiny", 7, requests)
    assert "it has 1" in raised.value.hint


def test_a_server_that_reads_another_folder_is_told_apart(server, requests, tmp_path):
    elsewhere = served(repository_of(tmp_path / "elsewhere", v1=0, v2=0))
    with pytest.raises(ServerError, match="cannot be tried") as raised:
        roll_out(server.grpc, elsewhere, "tiny", 2, requests)
    assert "read this repository" in raised.value.hint
    assert models_in(elsewhere) == ["tiny"]


def test_naming_versions_changes_nothing_else_in_a_config(repository):
    before = read_config(repository / "tiny")
    pin(repository / "tiny", (3, 4))
    after = read_config(repository / "tiny")
    assert list(after.version_policy.specific.versions) == [3, 4]
    after.version_policy.CopyFrom(before.version_policy)
    assert after == before
    assert not list((repository / "tiny").glob(".*"))
