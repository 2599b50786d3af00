"""`trtbuild ship`, `rollback` and `promote` with a live server, from the command line."""

import json

import pytest
from harness import Tool, assert_error, cnn, tree
from shipped_builds import make_build, sha256
from triton_server import CONFIG, environment, golden_of

from trtbuild.serving import Client, serving
from trtbuild.serving.copies import add_cpu_config, read_config

_POLICY = "version_policy { specific { versions: 1 } }\n"


def build_of(folder, number, *, seed, onnx):
    """A build whose golden requests are the small CNN's of seed 0, and whose plan stands for that of ``seed``."""
    golden = golden_of(folder.parent / "requests").folder
    base = "model_repository/tiny"
    extra = {f"golden/{p.name}": p.read_bytes() for p in golden.iterdir()}
    extra[f"{base}/config.pbtxt"] = CONFIG.replace(_POLICY, "").encode()
    build = make_build(folder, number, name="tiny", extra=extra)
    onnx.mkdir(exist_ok=True)
    cnn(onnx / f"{sha256((build / base / '1' / 'model.plan').read_bytes())}.onnx", seed=seed)
    return build


@pytest.fixture
def shop(tmp_path):
    """The tool, a repository with a shipped version, and a server that serves it."""
    tool, repository, onnx = Tool(tmp_path, tmp_path / "cache"), tmp_path / "models", tmp_path / "onnx"
    tool.succeeds("ship", build_of(tmp_path / "one", 1, seed=0, onnx=onnx), repository)
    add_cpu_config(repository / "tiny")
    with serving(repository, environment=environment(), onnx=onnx) as server:
        with Client(server.grpc) as client:
            client.load("tiny")
        yield tool, repository, server


def now(repository, server):
    """What the config names, and what the server answers with."""
    named = tuple(read_config(repository / "tiny").version_policy.specific.versions)
    with Client(server.http) as client:
        return named, client.ready_versions("tiny")


def test_a_build_is_shipped_refused_and_taken_back_while_a_server_serves(shop, tmp_path):
    tool, repository, server = shop
    good = build_of(tmp_path / "two", 2, seed=0, onnx=tmp_path / "onnx")
    done = json.loads(tool.succeeds("ship", good, repository, "--server", server.grpc, "--json").stdout)
    assert (done["version"], done["served"], done["rollout"]["retired"]) == (2, [2], [1])
    assert now(repository, server) == ((2,), (2,))

    wrong = build_of(tmp_path / "three", 3, seed=9, onnx=tmp_path / "onnx")
    refused = tool.run("ship", wrong, repository, "--server", server.http)
    assert refused.returncode == 5
    assert_error(refused.stderr, ["version 3 of tiny does not give the golden answers", "version 2 serves as before"])
    assert now(repository, server) == ((2,), (2,))

    said = tool.succeeds("rollback", repository, "tiny", "--server", server.grpc, "-v").stderr
    assert "the server answers with version 1 of tiny; 2 retired" in said
    assert now(repository, server) == ((1,), (1,))


def test_a_shadow_shows_differences_and_changes_nothing(shop, tmp_path):
    tool, repository, server = shop
    build = build_of(tmp_path / "two", 2, seed=9, onnx=tmp_path / "onnx")
    tool.succeeds("ship", build, repository, "--stage")
    before = tree(repository)
    words = ("shadow", repository, "tiny", 2, "--server", server.grpc, "--rounds", 3)
    done = json.loads(tool.succeeds(*words, "--json").stdout)
    assert (done["served"], done["version"]) == (1, 2)
    assert done["old"]["requests"] == done["new"]["requests"] == 9, "three golden requests, three rounds"
    assert 0 < done["new"]["p50"] <= done["new"]["p90"] <= done["new"]["p99"]
    assert "response cache" in done["notes"][0], "the small config has one, and its times are told apart"
    (output,) = done["outputs"]
    assert output["output"] == "y"
    assert output["max_abs"] == pytest.approx(_largest_difference(tmp_path), rel=1e-5)
    assert tree(repository) == before
    assert now(repository, server) == ((1,), (1,))


def _largest_difference(folder):
    """Between the CNNs of seeds 0 and 9 on the golden requests, in ONNX Runtime here."""
    from trtbuild.onnxrun import run, session

    sides = [session(cnn(folder / f"{seed}.onnx", seed=seed)) for seed in (0, 9)]
    answers = [[run(side, request.feed)["y"] for side in sides] for request in golden_of(folder / "again")]
    return max(float(abs(a - b).max()) for a, b in answers)


def test_a_version_that_fails_in_place_is_not_one_to_come_back_to(shop, tmp_path):
    tool, repository, server = shop
    good = build_of(tmp_path / "two", 2, seed=0, onnx=tmp_path / "onnx")
    tool.succeeds("ship", good, repository, "--stage")
    from trtbuild.errors import ServerError
    from trtbuild.serving.live import promote_live
    from trtbuild.shipping import open_storage, read_model

    storage = open_storage(repository)
    dies = server.kill
    real = Client.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Client, "load", lambda self, model: (dies(), real(self, model)) if model == "tiny" else real(self, model)
        )
        with pytest.raises(ServerError, match="does not answer any more"):
            promote_live(server.grpc, storage, "tiny", 2)
    found = read_model(storage, "tiny").served
    assert (found.versions, found.before) == ((1,), ())


def test_without_golden_requests_nothing_is_shipped_to_a_server(shop, tmp_path):
    tool, repository, server = shop
    build = build_of(tmp_path / "two", 2, seed=0, onnx=tmp_path / "onnx")
    document = json.loads((build / "manifest.json").read_text())
    document["outputs"] = {n: k for n, k in document["outputs"].items() if not n.startswith("golden/")}
    (build / "manifest.json").write_text(json.dumps(document))
    refused = tool.run("ship", build, repository, "--server", server.grpc)
    assert refused.returncode == 2
    assert_error(refused.stderr, ["no golden requests", "ship without --server"])
    assert now(repository, server) == ((1,), (1,))
