"""Whether a plan loads, by what is known of releases and GPUs."""

import dataclasses
import http.server
import json
import threading

import pytest

from trtbuild.errors import IntegrityError, UsageError
from trtbuild.triton.command import docker_run, server_flags
from trtbuild.triton.messages import read_text
from trtbuild.triton.preflight import FIRST_CUDA, ServedPlan, fit, live_release, worst
from trtbuild.triton.releases import Release, releases

THERE = Release("26.04", "2.68.0", "10.16.1.11", "13.2.1", "server release_notes.md")
PLAN = ServedPlan("model.plan", "tensorrt", "10.16.1.11", "8.9")
COMPATIBLE = dataclasses.replace(PLAN, version="10.5.0.18", version_compatible=True)


@pytest.mark.parametrize(
    ("plan", "gpus", "verdict", "words"),
    [
        (PLAN, (), "fits", "no GPU was named"),
        (PLAN, ("8.9",), "fits", "which the GPU takes"),
        (PLAN, ("8.6",), "does not fit", "the GPU has 8.6"),
        (PLAN, ("8.9", "8.6"), "does not fit", "set triton.gpus to those of 8.9"),
        (dataclasses.replace(PLAN, version="10.16.1.99"), (), "fits", "another build of the same release"),
        (dataclasses.replace(PLAN, version="10.5.0.18"), (), "does not fit", "build.version_compatible: true"),
        (dataclasses.replace(PLAN, version="10.17.0.1"), (), "does not fit", "older release"),
        (dataclasses.replace(PLAN, version="11.0.0.114"), (), "does not fit", "another major version"),
        (dataclasses.replace(PLAN, version="9.3.0.1", version_compatible=True), (), "does not fit", "another major"),
        (COMPATIBLE, (), "fits with a switch", "version-compatible"),
        (dataclasses.replace(COMPATIBLE, version="10.17.0.1"), (), "does not fit", "older release"),
        (dataclasses.replace(COMPATIBLE, lean_runtime=False), (), "does not fit", "left out its runtime"),
        (dataclasses.replace(COMPATIBLE, compute_capability="8.0"), ("8.9",), "does not fit", "the GPU has 8.9"),
        (dataclasses.replace(PLAN, compute_capability="8.0", hardware="ampere_plus"), ("12.0",), "fits", "takes"),
        (dataclasses.replace(PLAN, compute_capability="8.0", hardware="ampere_plus"), ("7.5",), "does not fit", "7.5"),
        (dataclasses.replace(PLAN, compute_capability="7.0"), (), "does not fit", "dropped GPUs below 7.5"),
        (dataclasses.replace(PLAN, compute_capability=""), (), "cannot tell", "which GPU"),
        (dataclasses.replace(PLAN, version="10.5.0.18", described=False), (), "cannot tell", "first bytes do not say"),
        (dataclasses.replace(PLAN, backend="tensorrt_rtx", version="1.7.1.116"), (), "does not fit", "loads plans of TensorRT"),
    ],
)  # fmt: skip
def test_a_plan_against_a_release(plan, gpus, verdict, words):
    found = fit(plan, THERE, gpus)
    assert (found.verdict, words in " ".join(found.reasons)) == (verdict, True), found
    assert ("--backend-config=tensorrt,version-compatible=true" in found.switches) == (
        verdict == "fits with a switch" or not plan.described
    )


def test_a_gpu_newer_than_the_releases_cuda_does_not_fit():
    old = dataclasses.replace(THERE, cuda="12.6.3")
    for capability, cuda in FIRST_CUDA.items():
        plan = dataclasses.replace(PLAN, compute_capability=capability)
        assert fit(plan, old).verdict == "does not fit"
        assert fit(plan, dataclasses.replace(THERE, cuda=f"{cuda}.0")).verdict == "fits"


def test_weak_evidence_is_named_as_such():
    for release in releases().values():
        found = fit(dataclasses.replace(PLAN, version=release.tensorrt or "10.0.0.0"), release)
        if release.tensorrt is None:
            assert found.verdict == "cannot tell"
        else:
            assert found.verdict == "fits"
            assert (release.evidence in found.weak) == release.weak
    assert not fit(PLAN, THERE).weak


def test_the_worst_of_a_folder_counts():
    good, bad = fit(PLAN, THERE), fit(dataclasses.replace(PLAN, version="8.6.1.6"), THERE)
    assert worst([good, bad, good]) == "does not fit"
    assert worst([good]) == "fits"


class Telling(http.server.BaseHTTPRequestHandler):
    """Answers /v2 as Triton does: what a real one says was seen with 2.51.0."""

    told = b""

    def do_GET(self):
        self.send_response(200 if self.path == "/v2" else 404)
        self.end_headers()
        self.wfile.write(self.told)

    def log_message(self, *words):
        pass


@pytest.fixture
def telling():
    server = http.server.HTTPServer(("127.0.0.1", 0), Telling)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_tells_its_release(telling):
    Telling.told = json.dumps({"name": "triton", "version": "2.51.0", "extensions": []}).encode()
    assert live_release(telling).name == "24.10"
    assert live_release(f"http://{telling}/").name == "24.10"


@pytest.mark.parametrize(
    ("told", "kind", "words"),
    [(b'{"version": "9.9.9"}', IntegrityError, "not in the table"), (b"hello", UsageError, "not Triton"), (b"[]", UsageError, "not Triton")],
)  # fmt: skip
def test_what_is_no_known_triton_is_said(telling, told, kind, words):
    Telling.told = told
    with pytest.raises(kind, match=words):
        live_release(telling)


def test_nobody_there_is_said(telling):
    with pytest.raises(UsageError, match="no server answers"):
        live_release("127.0.0.1:9")
    with pytest.raises(UsageError, match="no HTTP address"):
        live_release("ftp://127.0.0.1:9")


CONFIG = """name: "net" platform: "tensorrt_plan" response_cache { enable: true }
instance_group { rate_limiter { resources { name: "r" count: 2 } } } instance_group { rate_limiter {
resources { name: "r" count: 3 } } }"""


def test_the_flags_that_go_with_a_folder():
    flags = server_flags(read_text(CONFIG, ""), version_compatible=True, plugins=["a.so", "b.so"])
    assert flags == (
        "--disable-auto-complete-config",
        "--backend-config=tensorrt,version-compatible=true",
        "--backend-config=tensorrt,plugins=/plugins/a.so;/plugins/b.so",
        "--cache-config=local,size=67108864",
        "--rate-limit=execution_count",
        "--rate-limit-resource=r:3",
    )
    assert server_flags(read_text('name: "net"', "")) == ("--disable-auto-complete-config",)


def test_the_docker_line_can_be_typed():
    import shlex

    line = docker_run("26.04", server_flags(read_text(CONFIG, ""), plugins=["a.so"]), repository="my repo", gpus=[0, 1])
    words = shlex.split(line)
    assert words[:5] == ["docker", "run", "--rm", "--gpus", '"device=0,1"']
    assert "$PWD/my repo:/models:ro" in words
    assert "$PWD/plugins:/plugins:ro" in words
    assert words[words.index("nvcr.io/nvidia/tritonserver:26.04-py3") + 1 :][:2] == [
        "tritonserver",
        "--model-repository=/models",
    ]
    assert "--backend-config=tensorrt,plugins=/plugins/a.so" in words
    assert "/srv/repo:/models:ro" in docker_run("26.04", (), repository="/srv/repo")
