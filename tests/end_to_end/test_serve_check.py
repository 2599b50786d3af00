"""Model folders on a real Triton server: the wheel's, with the stand-in for its TensorRT backend."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Tool, eventually, one_json, processes
from triton_server import SERVERS, environment, golden_of, put_version, repository_of, served

from trtbuild.errors import IntegrityError, InvalidOnnxError, MissingDependencyError, ServerError, UsageError
from trtbuild.serving import Client, serve_check, serving, set_up
from trtbuild.serving.copies import copied
from trtbuild.serving.server import causes

REAL_CACHE = {"TRTBUILD_CACHE": str(SERVERS.parents[1])}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve-check")
    repository = repository_of(folder, v1=0)
    (folder / "tiny.int8.onnx").write_bytes((repository / "tiny" / "1" / "model.onnx").read_bytes())
    (repository / "tiny" / "1" / "model.onnx").unlink()
    before = {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()}
    done = serve_check(repository, golden_of(folder), environment=environment())
    assert {p: p.read_bytes() for p in repository.rglob("*") if p.is_file()} == before, "it only reads"
    return done


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("loaded and ready", " s"),
        ("warm-up", "2 of 2 samples ran"),
        ("answers over HTTP", "3 requests, 12 rows; max_abs <= 1e-05: "),
        ("answers over gRPC", "3 requests, 12 rows; max_abs <= 1e-05: "),
        ("dynamic batching", "128 requests: 128 rows in "),
        ("response cache", "a repeated request: 1 hit"),
    ],
)
def test_what_the_config_asks_for_happens(whole, name, seen):
    found = {f.name: f for f in whole.findings}[name]
    assert found.outcome == "passed", found
    assert seen in found.said
    assert whole.passed


def test_it_says_that_the_plan_was_not_run(whole):
    assert "the plan itself was not run" in whole.notes[0]


def test_a_built_folder_from_the_command_line(built):
    environment()
    tool = Tool(built.tool.folder, built.tool.cache)
    done = tool.succeeds("serve-check", built.output / "model_repository", env=REAL_CACHE)
    assert "answers over gRPC  passed" in done.stdout
    assert "response cache     not asked for" in done.stdout
    assert "the plan itself was not run" in done.stderr
    assert "tensorrt_rtx" in done.stderr, "no Triton image loads such a plan, and the user is told"


def test_wrong_answers_do_not_pass(tmp_path):
    environment()
    repository = repository_of(tmp_path, v1=0)
    golden_of(tmp_path, seed=3)
    tool = Tool(tmp_path, tmp_path / "cache")
    done = tool.run("serve-check", repository, "--json", env=REAL_CACHE)
    assert done.returncode == 5, done.stderr
    document = one_json(done.stdout)
    assert document["passed"] is False
    assert {f["name"] for f in document["findings"] if f["outcome"] == "not passed"} == {
        "answers over HTTP", "answers over gRPC",
    }  # fmt: skip
    assert "max_abs <= 1e-05" in document["error"]["message"]


def test_a_refused_config_comes_with_the_servers_reason(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    config = repository / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace("preferred_batch_size: 4", "preferred_batch_size: 99"))
    with pytest.raises(ServerError, match="preferred size must be <= max batch size") as raised:
        serve_check(repository, golden_of(tmp_path), environment=environment())
    assert raised.value.place == "tiny"


def test_a_config_for_a_later_server_is_told_apart(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    config = repository / "tiny" / "config.pbtxt"
    config.write_text(config.read_text() + 'model_metrics { metric_control { metric_identifier { family: "x" } } }\n')
    with pytest.raises(UsageError, match=r"24\.11 is the first .* the wheel is 24\.10") as raised:
        serve_check(repository, golden_of(tmp_path), environment=environment())
    assert "--image 24.11" in raised.value.hint


def test_a_damaged_onnx_comes_with_its_reason(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    (tmp_path / "other.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidOnnxError, match="other.onnx"):
        serve_check(repository, golden_of(tmp_path), onnx=tmp_path / "other.onnx", environment=environment())


def test_the_server_listens_on_the_loopback_only(tmp_path):
    with serving(repository_of(tmp_path, v1=0), environment=environment()) as server:
        ports = {int(url.split(":")[2].split("/")[0]) for url in (server.http, server.grpc, server.metrics)}
        listening = [line.split()[1] for line in _sockets() if line.split()[3] == "0A"]
        found = {int(a.split(":")[1], 16): a.split(":")[0] for a in listening}
        assert {found[port][-8:] for port in ports} == {"0100007F"}, "127.0.0.1, as IPv4 or mapped into IPv6"
        assert {found[port][:-8] for port in ports} <= {"", "0000000000000000FFFF0000"}


def _sockets():
    rows = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows += Path(table).read_text(encoding="ascii").splitlines()[1:]
    return rows


def test_the_server_ends_with_its_parent_even_when_that_is_killed(tmp_path):
    repository = served(repository_of(tmp_path, v1=0))
    code = (
        "import sys, pathlib\n"
        "from trtbuild.serving import Client, ServerEnvironment, serving\n"
        "with serving(pathlib.Path(sys.argv[1]), environment=ServerEnvironment(pathlib.Path(sys.argv[2]))) as s:\n"
        "    with Client(s.grpc) as c: c.load('tiny')\n"
        "    print(s.log.parent, flush=True)\n"
        "    input()\n"
    )
    marker = f"trtbuild-test-{os.getpid()}-{tmp_path.name}"
    environ = {**Tool(tmp_path, tmp_path).environment(), "TRTBUILD_TEST_MARKER": marker}
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(repository), str(environment().folder)],
        env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = parent.stdout.readline().strip()
    assert len(processes(marker)) >= 4, "the parent, the keeper, the server and a stub"
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert eventually(lambda: not processes(marker))
    assert not Path(folder).exists()
    assert not list(Path("/dev/shm").glob(f"{Path(folder).name}*"))


def test_what_a_person_may_do_wrong(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    requests = golden_of(tmp_path)
    with pytest.raises(UsageError, match="there is no model 'tyni'") as raised:
        serve_check(repository, requests, model="tyni", environment=environment())
    assert "tiny" in raised.value.hint
    with pytest.raises(IntegrityError, match="no model repository"):
        serve_check(tmp_path / "golden", requests, environment=environment())
    (repository / "tiny" / "1" / "model.onnx").unlink()
    with pytest.raises(UsageError, match="model.onnx is not beside it") as raised:
        serve_check(repository, requests, environment=environment())
    assert "--onnx" in raised.value.hint


def test_a_plan_that_the_config_does_not_name_is_refused(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    config = repository / "tiny" / "config.pbtxt"
    named = 'parameters { key: "trtbuild.plan.8.9" value { string_value: "%s" } }\n' % ("0" * 64)
    config.write_text(config.read_text() + named)
    with pytest.raises(IntegrityError, match="not the one that config.pbtxt names"):
        copied(repository, tmp_path / "copy")


def test_the_copy_changes_nothing_but_where_the_instances_run(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    put_version(repository, 2, 1)
    copy = copied(repository, tmp_path / "copy")
    for name in ("config.pbtxt", "1/model.plan", "2/model.plan"):
        assert (copy / "tiny" / name).read_bytes() == (repository / "tiny" / name).read_bytes()
    from trtbuild.serving.copies import read_config

    own, other = read_config(copy / "tiny"), (copy / "tiny" / "configs" / "cpu.pbtxt").read_text()
    assert "KIND_CPU" in other
    own.instance_group[0].kind = 2
    assert str(own) == other


def test_setting_up_twice_is_setting_up_once():
    assert set_up(environment().folder).seconds == 0


def test_without_an_index_setting_up_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    left = tmp_path / "server.partial" / "numpy"
    left.mkdir(parents=True)  # a setup that was killed
    with pytest.raises(MissingDependencyError, match="nvidia-pytriton==0.7.0") as raised:
        set_up(tmp_path / "server")
    assert "PIP_FIND_LINKS" in raised.value.hint
    assert not (tmp_path / "server").exists()
    assert not left.exists()


def test_without_the_server_the_command_says_how_to_set_it_up(tmp_path):
    repository_of(tmp_path, v1=0)
    golden_of(tmp_path)
    done = Tool(tmp_path, tmp_path / "cache").run("serve-check", "models")
    assert done.returncode == 8
    assert "hint: trtbuild serve-check --setup" in done.stderr


def test_the_command_for_the_image_is_printed_and_said_not_to_have_run(tmp_path):
    repository = repository_of(tmp_path, v1=0)
    done = Tool(tmp_path, tmp_path / "cache").succeeds("serve-check", repository, "--image", "26.04", "--json")
    line = json.loads(done.stdout)["command"]
    assert line.startswith("docker run --rm --gpus all ")
    assert f"-v {repository}:/models:ro nvcr.io/nvidia/tritonserver:26.04-py3 tritonserver" in line
    assert "--cache-config=local,size=" in line, "the config asks for the response cache"
    assert "not run here" in done.stderr


def test_a_log_gives_its_causes_without_what_a_machine_without_a_gpu_always_says():
    log = (
        'W1121 16:10:24.5 8710 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"\n'
        'E1121 16:10:24.6 8710 server.cc:242] "CudaDriverHelper has not been initialized."\n'
        "E1121 16:10:24.7 8710 model_repository_manager.cc:1460] \"Poll failed for model directory 'a': bad\"\n"
    )
    assert causes(log) == ["Poll failed for model directory 'a': bad"]


@pytest.mark.parametrize("url", ["localhost:8000", "https://localhost", "grpc://", ""])
def test_an_address_says_its_protocol(url):
    with pytest.raises(UsageError, match="no address of a Triton server"):
        Client(url)


def test_a_server_that_is_not_there_is_an_error_with_its_address():
    for scheme in ("http", "grpc"):
        with Client(f"{scheme}://127.0.0.1:9", timeout_s=5) as client:
            assert not client.lives()
            with pytest.raises(ServerError) as raised:
                client.versions("tiny")
            assert raised.value.place == f"{scheme}://127.0.0.1:9"
