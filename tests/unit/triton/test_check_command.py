"""``trtbuild package`` and ``trtbuild check`` as they are typed, in this process."""

import dataclasses
import json

import pytest
from plan_values import plan, proof

from trtbuild.artifacts import StoredFile, to_json
from trtbuild.cli import group
from trtbuild.cli._run import run

SWITCH = "--backend-config=tensorrt,version-compatible=true"


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words, json_too=False):
        code = run(group, [str(w) for w in words] + (["--json"] if json_too else []))
        said = capsys.readouterr()
        return code, json.loads(said.out) if json_too else said.out, said.err

    return call


def described(folder, *, options=None, plugins=(), **changes):
    """A plan as `trtbuild compile` describes it, with the first bytes of one."""
    one = plan(folder, **{"backend": "tensorrt", "version": "10.16.1.11", **changes})
    head = b"ptrt".ljust(24, b"\0") + bytes(int(part) for part in one.backend_version.split("."))
    one.plan.path.write_bytes(head.ljust(64, b"\0") + one.target.sm.to_bytes(2, "little"))
    one = dataclasses.replace(one, plan=StoredFile.of(one.plan.path), options=options or {})
    one = dataclasses.replace(one, plugins=tuple(StoredFile.of(file) for file in plugins))
    file = folder / f"{one.plan.path.name}.json"
    file.write_text(json.dumps(to_json(one)))
    (folder / "proof.json").write_text(json.dumps(to_json(proof())))
    return file


def package(typed, folder, *words, capabilities=("8.9",), **changes):
    files = [described(folder, capability=c, **changes) for c in capabilities]
    return typed("package", *files, "--name", "net", "--verification", "proof.json", *words)


def test_package_prints_the_docker_line_and_check_finds_that_it_fits(typed, tmp_path):
    code, out, err = package(typed, tmp_path, "--set", "response_cache=true", "--set", "instances=3")
    assert code == 0, err
    assert out.startswith("docker run")
    assert "tritonserver:26.04-py3" in out
    assert "--cache-config=local" in out
    assert "count: 3" in (tmp_path / "model_repository/net/config.pbtxt").read_text()
    for place in ("model_repository", "model_repository/net"):
        code, out, err = typed("check", place)
        assert (code, "net/1/model.plan: fits" in out) == (0, True), err
        assert "weak evidence" in out
        assert "docker run" in out
    code, out, _ = typed("check", "model_repository/net", json_too=True)
    assert (code, out["models"][0]["fits"][0]["verdict"], out["weak"]) == (0, "fits", True)
    assert "10.16.1" in out["models"][0]["fits"][0]["weak"]


def test_check_ends_with_seven_where_it_does_not_fit(typed, tmp_path):
    package(typed, tmp_path)
    code, out, err = typed("check", "model_repository", "--release", "26.06")
    assert (code, out) == (7, "")
    assert "another major version" in err
    assert "Triton 26.06 has 11.0.0.114" in err
    assert "weak evidence" in err
    code, out, _ = typed("check", "model_repository", "--release", "26.04", "--gpu", "l40s", json_too=True)
    assert code == 0
    code, out, _ = typed("check", "model_repository", "--gpu", "h100", json_too=True)
    assert code == 7
    assert out["models"][0]["fits"][0]["verdict"] == "does not fit"


def test_check_prints_the_switch(typed, tmp_path):
    options = {"version_compatible": True}
    code, out, err = package(typed, tmp_path, version="10.8.0.43", options=options)
    assert (code, SWITCH in out) == (0, True), err
    code, out, _ = typed("check", "model_repository")
    assert code == 0
    assert "fits with a switch" in out
    assert f"start the server with {SWITCH}" in out
    assert out.count(SWITCH) >= 3


def test_check_names_the_plugins_that_the_server_has_to_load(typed, tmp_path):
    library = tmp_path / "libnms.so"
    library.write_bytes(b"code")
    file = described(tmp_path, options={"plugins": ["a digest"]}, plugins=[library])
    code, out, err = typed("package", file, "--name", "net", "--verification", "proof.json")
    assert (code, "plugins=/plugins/libnms.so" in out) == (0, True), err
    assert "plugins=/plugins/libnms.so" in typed("check", "model_repository")[1]


def test_a_fleet_fits_the_gpus_that_it_has_plans_for(typed, tmp_path):
    package(typed, tmp_path, capabilities=("8.9", "9.0"))
    assert typed("check", "model_repository", "--gpu", "8.9", "--gpu", "sm90")[0] == 0
    code, _, err = typed("check", "model_repository", "--gpu", "8.6")
    assert (code, "plans for 8.9, 9.0, the GPU has 8.6" in err) == (7, True)


def test_a_plan_by_itself_is_checked(typed, tmp_path):
    described(tmp_path)
    code, out, _ = typed("check", "tensorrt-8.9.plan", "--release", "26.04")
    assert (code, "tensorrt-8.9.plan: fits" in out) == (0, True)
    (tmp_path / "tensorrt-8.9.plan.json").unlink()
    code, out, _ = typed("check", "tensorrt-8.9.plan", "--release", "26.04")
    assert (code, "cannot tell" in out) == (0, True), "its first bytes do not say the GPU"
    assert typed("check", "tensorrt-8.9.plan", "--release", "24.01")[0] == 7
    assert typed("check", "tensorrt-8.9.plan")[0] == 2
    assert typed("check", "no.plan", "--release", "26.04")[0] == 2
    assert typed("check", tmp_path / "model_repository", "--release", "26.04", "--url", "a:1")[0] == 2


def test_a_plan_that_was_exchanged_is_found(typed, tmp_path):
    package(typed, tmp_path)
    place = tmp_path / "model_repository/net/1/model.plan"
    place.write_bytes(place.read_bytes() + b"x")
    code, _, err = typed("check", "model_repository")
    assert (code, "is not the plan that config.pbtxt was made for" in err) == (7, True)


def test_a_config_that_was_spoilt_by_hand_is_found(typed, tmp_path):
    package(typed, tmp_path)
    place = tmp_path / "model_repository/net/config.pbtxt"
    text = place.read_text()
    place.write_text(text.replace("count: 1", "count: -1", 1))
    code, _, err = typed("check", "model_repository")
    assert (code, "a count of -1" in err) == (2, True), err
    place.write_text(text + "max_batch: 1\n")
    code, _, err = typed("check", "model_repository")
    assert (code, "did you mean 'max_batch_size'" in err) == (2, True), err
    place.write_text(
        text + "model_metrics { metric_control { metric_identifier { family: 'a' } histogram_options { buckets: 1 } } }"
    )
    code, _, err = typed("check", "model_repository", "--release", "24.10")
    assert (code, "24.11 is the first that has it" in err) == (2, True), err


def test_an_ensemble_is_packaged_and_checked(typed, tmp_path):
    (tmp_path / "pre.py").write_text("class TritonPythonModel:\n    def execute(self, requests):\n        return []\n")
    step = "preprocess={file: pre.py, inputs: {text: {dtype: string, shape: [batch, 1]}}, outputs: {x: }}"
    code, _, err = package(typed, tmp_path, "--set", step)
    assert code == 0, err
    repository = tmp_path / "model_repository"
    assert {p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file()} == {
        "net/config.pbtxt", "net/1/model.plan", "net_preprocess/config.pbtxt", "net_preprocess/1/model.py",
        "net_ensemble/config.pbtxt", "net_ensemble/1/about.txt",
    }  # fmt: skip
    code, out, err = typed("check", "model_repository", json_too=True)
    assert (code, [m["model"] for m in out["models"]]) == (0, ["net", "net_ensemble", "net_preprocess"]), err
    assert [bool(m["docker run"]) for m in out["models"]] == [True, False, False]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "instance=3"), "did you mean 'instances'"),
        (("--set", "override={max_batchsize: 3}"), "did you mean 'max_batch_size'"),
        (("--set", "preferred_batch_sizes=[64]"), "64 is more than max_batch_size 32"),
        (("--release", "24.99"), "did you mean"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_is_written(typed, tmp_path, words, says):
    code, _, err = package(typed, tmp_path, *words)
    assert (code, says in err) == (2, True), err
    assert not (tmp_path / "model_repository/net").exists()


def test_an_older_version_is_known_by_the_config_it_was_shipped_with(typed, tmp_path):
    package(typed, tmp_path, version="10.8.0.43")
    folder = tmp_path / "model_repository/net"
    older = folder / "1/shipped/config.pbtxt"
    older.parent.mkdir()
    older.write_text((folder / "config.pbtxt").read_text())
    package(typed, tmp_path)
    (folder / "1").rename(folder / "2")
    (folder / "1").mkdir()
    (folder / "2/shipped").rename(folder / "1/shipped")
    described(tmp_path, version="10.8.0.43")
    (tmp_path / "tensorrt-8.9.plan").rename(folder / "1/model.plan")
    code, out, err = typed("check", folder, json_too=True)
    said = {f["file"]: f["reasons"][0] for f in out["models"][0]["fits"]}
    assert (code, sorted(said)) == (7, ["net/1/model.plan", "net/2/model.plan"]), err
    assert "10.8.0.43" in said["net/1/model.plan"]
    assert "build.version_compatible" in said["net/1/model.plan"], "its options are known"
    (folder / "1/model.plan").write_bytes(b"ptrt".ljust(90, b"!"))
    code, _, err = typed("check", folder)
    assert (code, "1/model.plan is not the plan" in err) == (7, True), err


def test_models_of_other_backends_are_left_out_and_what_triton_fills_in_is_filled_in(typed, tmp_path):
    package(typed, tmp_path)
    other = tmp_path / "model_repository/other/config.pbtxt"
    other.parent.mkdir()
    other.write_text('backend: "onnxruntime"')
    place = tmp_path / "model_repository/net/config.pbtxt"
    place.write_text(place.read_text().replace('name: "net"\nplatform: "tensorrt_plan"', 'backend: "tensorrt"'))
    code, out, err = typed("check", "model_repository", json_too=True)
    assert (code, [m["model"] for m in out["models"]]) == (0, ["net"]), err
    code, _, err = typed("check", other.parent, "--release", "26.04")
    assert (code, "is none of ours" in err) == (2, True)
    other.write_bytes(b"\xff\xfe")
    code, _, err = typed("check", "model_repository")
    assert (code, "not a text file" in err) == (2, True), err


def test_an_ensemble_that_lost_a_model_is_found(typed, tmp_path):
    (tmp_path / "pre.py").write_text("class TritonPythonModel:\n    def execute(self, requests):\n        return []\n")
    step = "preprocess={file: pre.py, inputs: {text: {dtype: string, shape: [batch, 1]}}, outputs: {x: }}"
    package(typed, tmp_path, "--set", step)
    (tmp_path / "model_repository/net_preprocess").rename(tmp_path / "away")
    code, _, err = typed("check", "model_repository")
    assert (code, "has no model 'net_preprocess'" in err) == (2, True), err
