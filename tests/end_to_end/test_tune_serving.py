"""The search for batch delay, preferred sizes and instances on a live server."""

import json
import shutil

import pytest
from harness import Tool, tree
from triton_server import environment, golden_of, repository_of, served

from trtbuild.errors import SpeedError, UsageError
from trtbuild.golden import read
from trtbuild.serving import Client, Measured, Setting, serving, tune, write_setting
from trtbuild.serving.copies import read_config, write_config
from trtbuild.serving.tuning import BETTER_BY, _searched, most


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning")
    repository = served(repository_of(folder, v1=0))
    golden_of(folder)
    with serving(repository, environment=environment()) as server:
        with Client(server.grpc) as client:
            client.load("tiny")
        yield Tool(folder, folder / "cache"), repository, server


def words(repository, server, *more):
    return (
        "tune-serving", repository, "tiny", "--server", server.grpc, "--golden", "golden", "--seconds", "0.1",
        "--max-instances", "1", "--max-concurrency", "2", "--delay-us", "0", "--json", *more,
    )  # fmt: skip


def test_the_winner_is_the_best_of_what_was_measured_and_is_written(site):
    tool, repository, server = site
    before = read_config(repository / "tiny")
    done = json.loads(tool.succeeds(*words(repository, server, "--p99-ms", "5000", "--write")).stdout)
    best = done["best"]
    own = [m["throughput"] for m in done["curve"] if m["setting"] == best]
    assert own, "the winner was measured"
    first = max(m["throughput"] for m in done["curve"] if m["setting"] == done["before"])
    assert max(own) > first * BETTER_BY or best == done["before"]
    assert {m["concurrency"] for m in done["curve"]} <= {1, 2}
    assert len({json.dumps(m["setting"]) for m in done["curve"]}) == 4, "the config's own, two other sizes, and a delay"

    after = read_config(repository / "tiny")
    assert after.dynamic_batching.max_queue_delay_microseconds == best["max_queue_delay_us"]
    assert list(after.dynamic_batching.preferred_batch_size) == best["preferred_batch_sizes"]
    after.dynamic_batching.CopyFrom(before.dynamic_batching)
    assert after == before, "nothing else in it changed"
    with Client(server.grpc) as client:
        loaded = client.config("tiny")["dynamic_batching"]
        assert int(loaded.get("max_queue_delay_microseconds", 0)) == best["max_queue_delay_us"]
        assert client.ready_versions("tiny") == (1,)
    assert [p.name for p in repository.iterdir()] == ["tiny"]


def test_a_limit_that_nothing_keeps_is_said_and_changes_nothing(site):
    _, repository, server = site
    before = tree(repository)
    limits = {"p99_s": 1e-6, "seconds": 0.1, "delays_us": (), "instances": (), "concurrencies": (1,)}
    with pytest.raises(SpeedError, match=r"no setting keeps p99 within 0.001 ms: the lowest seen is") as raised:
        tune(server.grpc, repository, "tiny", read(repository.parent / "golden"), **limits)
    assert raised.value.result["curve"], "what was measured is in --json"
    assert tree(repository) == before


def test_what_cannot_be_tuned_is_refused(site, tmp_path):
    _, repository, server = site
    requests = golden_of(tmp_path)
    with pytest.raises(UsageError, match="over gRPC"):
        tune(server.http, repository, "tiny", requests, p99_s=1)
    copy = shutil.copytree(repository, tmp_path / "models")
    config = read_config(copy / "tiny")
    config.ClearField("dynamic_batching")
    write_config(config, copy / "tiny" / "config.pbtxt")
    with pytest.raises(UsageError, match="no dynamic batching"):
        tune(server.grpc, copy, "tiny", requests, p99_s=1)


def test_a_shipped_models_config_is_not_written(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    shipped = repository / "tiny" / "1" / "shipped"
    shipped.mkdir()
    shutil.copyfile(repository / "tiny" / "config.pbtxt", shipped / "config.pbtxt")
    before = tree(repository)
    with pytest.raises(UsageError, match="the next promote would write it anew"):
        write_setting(repository / "tiny", Setting(0, (), 1))
    assert tree(repository) == before


def test_the_search_goes_to_the_peak_and_measures_nothing_twice():
    asked = []

    def measure(setting):
        asked.append(setting)
        near = {0: 0.5, 100: 1, 500: 2, 2000: 1.5, 5000: 1}[setting.max_queue_delay_us]
        return 100 * near * (2 if setting.instances == 2 else 1) * (1.2 if setting.preferred_batch_sizes == (8,) else 1)

    best = _searched(Setting(100, (4,), 1), measure, (0, 100, 500, 2000, 5000), (1, 2, 4), 8)
    assert best == Setting(500, (8,), 2)
    assert len(asked) == len(set(asked))


def test_chance_does_not_win():
    measured = {Setting(0, (), 1): 100.0, Setting(0, (), 2): 102.0}
    assert _searched(Setting(0, (), 1), measured.__getitem__, (0,), (1, 2), 1) == Setting(0, (), 1)


def test_the_most_requests_within_the_limit():
    one, other = Setting(0, (), 1), Setting(100, (), 1)
    curve = [
        Measured(one, 1, 10.0, 0.01, 0.02, 20), Measured(one, 2, 19.0, 0.01, 0.03, 38),
        Measured(one, 4, 30.0, 0.02, 0.09, 60), Measured(other, 1, 90.0, 0.01, 0.02, 180),
    ]  # fmt: skip
    assert most(curve, one, 0.05).concurrency == 2
    assert most(curve, one, 0.01) is None
