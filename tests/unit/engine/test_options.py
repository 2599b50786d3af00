"""Build options with the real TensorRT-RTX: which it honours, ignores and refuses. Without a GPU."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from onnx_models import matmul, save

from trtbuild import engine, worker
from trtbuild.artifacts import AxisRange, BuildOptions, OptimizationProfile, Target, to_json
from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.engine.compiling import _kept_plugins
from trtbuild.errors import BuildError, MissingDependencyError, SpecError

pytest.importorskip("tensorrt_rtx")

SM89 = Target("rtx4090", "tensorrt_rtx", "8.9")
VALUES = {
    "optimization_level": 0, "max_num_tactics": 1, "avg_timing_iterations": 8, "tactic_sources": (), "tiling": "full",
    "tactic_dram_mib": 1, "sparsity": True, "strict_nans": True, "distributive_independence": True,
    "workspace_mib": 64, "tactic_shared_memory_kib": 48, "weight_streaming": True, "version_compatible": True,
    "profiling_verbosity": "layer_names_only", "max_aux_streams": 0,
    "hardware_compatibility": "same_compute_capability", "runtime_platform": "windows_amd64", "dla_core": 0,
}  # fmt: skip
IGNORED = set(BACKENDS.load("tensorrt_rtx").IGNORES) - {"timing_cache", "tiling_l2_mib"}
REFUSED = {
    "hardware_compatibility": "same_compute_capability did not take: tensorrt_rtx .* keeps none\n    setHardware",
    "runtime_platform": "windows_amd64 did not take: tensorrt_rtx .* keeps same_as_build\n    .*does not support",
    "dla_core": "0 did not take: tensorrt_rtx .* keeps -1",
}
WITH = {"profiling_verbosity": {"allow_precision_fallback": True}, "max_num_tactics": {"tiling_l2_mib": 1}}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Builds the same MatMul once an option, all in one worker process."""
    folder = tmp_path_factory.mktemp("options")
    onnx = save(matmul(64, 64), folder / "m.onnx")
    asked = {name: {name: value, **WITH.get(name, {})} for name, value in VALUES.items()}
    asked["max_num_tactics"] |= {"tiling": "fast"}
    requests = {
        name: {
            "backend": "tensorrt_rtx", "onnx": str(onnx), "plan": str(folder / f"{name}.plan"), "tf32": False,
            "log": str(folder / f"{name}.log"), "target": to_json(SM89), "timings": str(folder),
            "profiles": [{"x": [[1, 64], [8, 64], [32, 64]]}], "options": to_json(BuildOptions(**options)),
        }
        for name, options in {"nothing": {}, **asked}.items()
    }  # fmt: skip
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    made = worker.call("tiny_builds:build_each", requests, environment={"PYTHONPATH": path})
    return {name: (made[name], folder / f"{name}.plan") for name in requests}


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_option_that_it_ignores_is_tried():
    assert set(VALUES) >= IGNORED | set(REFUSED)


@pytest.mark.parametrize("option", VALUES)
def test_an_option_is_honoured_ignored_with_a_warning_or_refused(answers, option):
    answer, plan = answers[option]
    if option in REFUSED:
        assert isinstance(answer, str)
        assert not plan.exists()
        return
    same = digest(plan) == digest(answers["nothing"][1])
    told = [w for w in answer["warnings"] if w.startswith(f"build.{option}: ")]
    assert (same, bool(told)) == (option in IGNORED or option == "max_aux_streams", option in IGNORED)


def test_a_build_without_options_warns_of_nothing(answers):
    answer, _plan = answers["nothing"]
    assert [w for w in answer["warnings"] if w.startswith("build.")] == []
    assert answer["timing_cache"] is None


@pytest.mark.parametrize("option", REFUSED)
def test_what_it_cannot_do_is_known_before_the_first_stage(option):
    with pytest.raises(BuildError, match=REFUSED[option]) as caught:
        engine.hold_options(SM89, BuildOptions(**{option: VALUES[option]}))
    assert caught.value.place == f"build.{option}"


def test_what_it_ignores_is_known_before_the_first_stage():
    said = engine.hold_options(SM89, BuildOptions(optimization_level=5, workspace_mib=64))
    assert [w.partition(":")[0] for w in said] == ["build.optimization_level"]


def test_nothing_is_started_where_tensorrt_is_told_nothing(monkeypatch):
    monkeypatch.setattr(worker, "call", lambda *_words, **_more: pytest.fail("a worker was started"))
    assert engine.hold_options(SM89, BuildOptions(timeout_s=5, memory_limit_mib=4000)) == ()


@pytest.mark.parametrize(
    ("options", "kind", "place"),
    [
        ({"plugins": ("/nowhere/ours.so",)}, SpecError, "build.plugins"),
        ({"timing_cache": "/nowhere/ours.timing"}, SpecError, "build.timing_cache"),
        ({"strip_weights": True}, SpecError, "build"),
        ({"hardware_compatibility": "ampere_plus"}, SpecError, "build.hardware_compatibility"),
    ],
)
def test_what_needs_no_tensorrt_to_know_is_refused_without_it(monkeypatch, options, kind, place):
    monkeypatch.setattr(worker, "call", lambda *_words, **_more: pytest.fail("a worker was started"))
    with pytest.raises(kind) as caught:
        engine.hold_options(Target("t4", "tensorrt_rtx", "7.5"), BuildOptions(**options))
    assert caught.value.place == place
    assert caught.value.hint


def test_an_accelerator_takes_one_size_of_each_axis():
    target, options = Target("orin", "tensorrt", "8.7"), BuildOptions(dla_core=0)
    with pytest.raises(SpecError, match=r"the profiles range: n 1\.\.8"):
        engine.hold_options(target, options, [OptimizationProfile({"n": AxisRange(1, 4, 8), "m": AxisRange(2, 2, 2)})])


def test_a_plugin_is_refused_by_what_the_module_lacks(tmp_path):
    library = tmp_path / "libours.so"
    library.write_bytes(b"\x7fELF")
    with pytest.raises(SpecError, match="no INetworkDefinition.add_plugin_v3") as caught:
        engine.hold_options(SM89, BuildOptions(plugins=(str(library),)))
    assert caught.value.place == "build.plugins"


def test_plug_ins_are_kept_beside_the_plan(tmp_path):
    """Two of one name, from two folders; no TensorRT that loads any is at hand."""
    for folder in ("a", "b", "out"):
        (tmp_path / folder).mkdir()
    files = [tmp_path / "a" / "ours.so", tmp_path / "b" / "ours.so"]
    for number, file in enumerate(files):
        file.write_text(str(number))
    kept = _kept_plugins(BuildOptions(plugins=tuple(map(str, files))), tmp_path / "out")
    assert [k.path.read_text() for k in kept] == ["0", "1"]
    assert {k.path.parent for k in kept} == {tmp_path / "out"}


@pytest.mark.skipif(bool(compute_capabilities()), reason="this machine has a GPU")
def test_refitting_needs_a_gpu_here():
    with pytest.raises(MissingDependencyError, match="on a GPU only"):
        engine.hold_options(SM89, BuildOptions(refit="any"))


def test_the_fake_rtx_has_the_names_of_the_real_one():
    """The facts are those of the release that is installed, where it is the one they are of."""
    code = (
        "import json, sys, tensorrt_rtx as trt\n"
        "facts = json.load(open(sys.argv[1]))\n"
        "if trt.__version__ != facts['version']: sys.exit(77)\n"
        "for name, held in facts['classes'].items():\n"
        "    kind = trt\n"
        "    for part in name.split('.'): kind = getattr(kind, part)\n"
        "    gone = [m for m in held.get('members', ()) if not hasattr(kind, m)]\n"
        "    off = [k for k, v in held.get('enum', {}).items() if int(getattr(kind, k)) != v]\n"
        "    assert not gone and not off, (name, gone, off)\n"
    )
    import subprocess

    facts = next((Path(__file__).parents[2] / "trt_api").glob("tensorrt_rtx-*.json"))
    done = subprocess.run([sys.executable, "-c", code, str(facts)], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(f"the facts are of {json.loads(facts.read_text())['version']}")
    assert done.returncode == 0, done.stderr
