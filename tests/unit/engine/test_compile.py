import dataclasses
import hashlib
import venv
from pathlib import Path

import numpy as np
import pytest
from onnx_models import cnn, matmul, model, node, random_feed, save, tensor, weights

from trtbuild import worker
from trtbuild.artifacts import AxisRange, BuildOptions, EnginePlan, OptimizationProfile, Target, from_json, to_json
from trtbuild.backends import packages
from trtbuild.calibration import calibrate
from trtbuild.device import compute_capabilities
from trtbuild.engine import attempt, typed_from_file
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.header import read_header
from trtbuild.errors import (
    BuildError,
    InvalidOnnxError,
    MemoryLimitError,
    MissingDependencyError,
    PrecisionError,
    SpecError,
    UsageError,
    WorkerCrashedError,
)
from trtbuild.precision import assign_precision

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")

SM89 = Target("rtx4090", "tensorrt_rtx", "8.9")
PROFILE = OptimizationProfile({"n": AxisRange(1, 4, 16)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compile")


@pytest.fixture(scope="module")
def typed(folder):
    """The same MatMul and Relu in each precision."""
    proto = matmul(64, 64, scale=0.1)
    path = save(proto, folder / "m.onnx")
    table = calibrate(path, [random_feed(proto, n=16)], method="minmax")
    found = {}
    for precision in ("fp32", "tf32", "fp16", "bf16", "int8"):
        (folder / precision).mkdir()
        found[precision] = assign_precision(
            path, folder / precision, precision=precision, table=table, profiles=[PROFILE]
        )
    return found


def built(typed, place, *, target=SM89, profiles=(PROFILE,), on_progress=lambda _phase, _share: None, **options):
    place.mkdir(exist_ok=True)
    return compile_plan(
        typed, place, target=target, profiles=profiles, options=BuildOptions(**options), on_progress=on_progress
    )


@pytest.mark.parametrize(
    ("precision", "kernel"), [("fp32", "fp32"), ("tf32", "fp32"), ("fp16", "fp16"), ("bf16", "bf16"), ("int8", "int8")]
)
def test_a_plan_runs_in_the_precision_of_its_graph(typed, tmp_path, precision, kernel):
    told = []
    plan = built(typed[precision], tmp_path, on_progress=lambda phase, share: told.append((phase, share)))
    assert plan.work.shares == {kernel: 1}
    assert plan.work.nodes == {"matmul": kernel}
    assert plan.work.not_honoured == {}
    assert plan.plan.path == tmp_path / "model.plan"
    assert plan.plan.sha256 == hashlib.sha256(plan.plan.path.read_bytes()).hexdigest()
    assert plan.onnx == typed[precision].model.digest
    header = read_header(plan.plan.path)
    assert (header.backend, header.version, header.compute_capabilities) == (
        "tensorrt_rtx",
        plan.backend_version,
        ("8.9",),
    )
    shares = [share for _phase, share in told]
    assert shares
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_two_builds_are_bit_identical(typed, tmp_path):
    first, second = (built(typed["int8"], tmp_path / name) for name in ("a", "b"))
    assert first.plan.sha256 == second.plan.sha256
    assert first.reproducible is None, "nobody asked"


def test_a_second_build_is_compared_on_request(typed, tmp_path):
    told = []
    plan = built(
        typed["int8"],
        tmp_path,
        check_reproducible=True,
        on_progress=lambda _p, share: told.append(share),
    )
    assert plan.reproducible is True
    assert not [w for w in plan.warnings if "differ" in w]
    assert told == sorted(told)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build.log", "model.plan"]


def test_other_bytes_are_a_warning_that_says_why(typed, tmp_path, monkeypatch):
    """TensorRT-RTX gives the same bytes here: the second plan is damaged on its way to the comparison."""
    digest = attempt.file_digest

    def damaged(file):
        if file.name == "again.plan":
            file.write_bytes(file.read_bytes()[:-1])
        return digest(file)

    monkeypatch.setattr(attempt, "file_digest", damaged)
    plan = built(typed["fp16"], tmp_path, check_reproducible=True)
    assert plan.reproducible is False
    assert any("the two plans differ: their kernels are the same" in w for w in plan.warnings)
    assert "timing cache" in attempt.why_not_the_same("tensorrt", same_kernels=False)
    other = [dataclasses.replace(layer, precision="fp32") for layer in plan.layers.layers]
    assert attempt.kernels_alike(plan.layers.layers, plan.layers.layers)
    assert not attempt.kernels_alike(plan.layers.layers, other)
    assert "please report it" in attempt.why_not_the_same("tensorrt_rtx", same_kernels=False)


def test_another_interpreter_builds_the_same_plan(typed, tmp_path):
    """A virtual environment of its own, which sees TensorRT-RTX and nothing of trtbuild's source tree."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "venv")
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    home = Path(tensorrt_rtx.__file__).parent.parent
    for place in home.glob("tensorrt*"):
        (packages / place.name).symlink_to(place)
    other = dataclasses.replace(SM89, python=str(tmp_path / "venv" / "bin" / "python"))
    plan = built(typed["int8"], tmp_path / "other", target=other)
    assert plan.target == other
    assert plan.plan.sha256 == built(typed["int8"], tmp_path / "own").plan.sha256


def test_an_interpreter_without_tensorrt_is_refused_before_the_build(typed, tmp_path):
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "venv")
    bare = dataclasses.replace(SM89, python=str(tmp_path / "venv" / "bin" / "python"))
    with pytest.raises(MissingDependencyError, match="no package 'tensorrt_rtx'"):
        built(typed["int8"], tmp_path / "out", target=bare)


def test_an_interrupt_in_the_middle_of_a_build_leaves_no_plan_and_no_process(typed, tmp_path):
    def interrupt(phase, _share):
        if phase == "Optimizing graph":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(typed["fp16"], tmp_path, on_progress=interrupt)
    assert not (tmp_path / "model.plan").exists()
    assert not worker._children, "the child was waited for"


def test_a_build_that_takes_too_much_memory_is_stopped(tmp_path):
    """TensorRT-RTX itself holds more than 30 MiB as soon as it is at work."""
    deep = save(cnn(), tmp_path / "m.onnx")
    with pytest.raises(MemoryLimitError, match="the limit is 30"):
        built(deep, tmp_path / "out", memory_limit_mib=30)
    assert not (tmp_path / "out" / "model.plan").exists()


def test_another_target_makes_another_plan(typed, tmp_path):
    plan = built(typed["fp16"], tmp_path, target=Target("rtx5090", "tensorrt_rtx", "12.0"))
    assert read_header(plan.plan.path).compute_capabilities == ("12.0",)


def test_the_log_and_the_description_can_be_kept(typed, tmp_path):
    plan = built(typed["fp32"], tmp_path)
    assert "Layers:" in plan.log.path.read_text()
    assert from_json(EnginePlan, to_json(plan, base=tmp_path), base=tmp_path) == plan


def test_an_onnx_file_is_compiled_as_it_is_typed(typed, tmp_path):
    file = typed["int8"].model.path
    read = typed_from_file(file, profiles=[PROFILE])
    assert read.assignment == {"matmul": "int8"}
    assert read.macs == {"matmul": 4 * 64 * 64}
    assert typed_from_file(typed["fp16"].model.path).assignment == {"matmul": "fp16"}
    assert built(file, tmp_path).work.nodes == {"matmul": "int8"}


def test_several_profiles(typed, tmp_path):
    other = OptimizationProfile({"n": AxisRange(32, 64, 128)})
    plan = built(typed["fp16"], tmp_path, profiles=[PROFILE, other])
    assert plan.profiles == (PROFILE, other)


def test_a_model_without_dynamic_axes_needs_no_profile(tmp_path):
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], "it")], [("x", [2, 64])], [("y", [2, 64])], {"w": weights((64, 64))}
    )
    plan = built(save(proto, tmp_path / "m.onnx"), tmp_path / "out", profiles=[])
    assert plan.profiles == ()
    assert plan.work.nodes == {"it": "fp32"}


def test_a_convolutional_network(tmp_path):
    plan = built(save(cnn(), tmp_path / "m.onnx"), tmp_path / "out")
    assert set(plan.work.nodes) == {"conv1", "conv2", "head"}
    assert plan.work.shares == {"fp32": 1}


def test_a_precision_that_is_not_honoured_is_refused_unless_allowed(typed, tmp_path):
    wrong = dataclasses.replace(typed["fp32"], assignment={"matmul": "int8"})
    with pytest.raises(PrecisionError, match="matmul: asked int8, got fp32") as caught:
        built(wrong, tmp_path)
    assert "allow_precision_fallback" in caught.value.hint
    plan = built(wrong, tmp_path, allow_precision_fallback=True)
    assert plan.work.not_honoured == {"matmul": ("int8", "fp32")}


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"target": Target("h", "tensorrt_rtx", "9.0")}, SpecError, "does not build for compute capability 9.0"),
        ({"target": Target("t", "tensorrt_rtx", "7.0")}, SpecError, "compute capability 7.0"),
        ({"target": Target("t", "no_backend", "8.9")}, UsageError, "there is no backend 'no_backend'"),
        ({"profiles": []}, SpecError, "no optimisation profile"),
        ({"profiles": [OptimizationProfile({"m": AxisRange(1, 1, 1)})]}, SpecError, "'m', which is no axis"),
        ({"profiles": [OptimizationProfile({"n": AxisRange(4, 2, 8)})]}, BuildError, "adding optimisation profile 0"),
        ({"timeout_s": 0.05}, WorkerCrashedError, "stopped after 0.05 s"),
    ],
)
def test_what_cannot_be_built_is_said(typed, tmp_path, options, kind, words):
    with pytest.raises(kind, match=words) as caught:
        built(typed["fp16"], tmp_path, **options)
    assert caught.value.hint
    assert not (tmp_path / "model.plan").exists()


@pytest.mark.skipif(bool(compute_capabilities()), reason="this machine has a GPU")
def test_a_backend_that_needs_its_gpu_says_so(typed, tmp_path):
    with pytest.raises(MissingDependencyError, match="builds on the GPU it builds for"):
        built(typed["fp16"], tmp_path, target=Target("h100", "tensorrt", "9.0"))


def test_an_operator_that_tensorrt_has_not_is_named(tmp_path):
    proto = model([node("Det", ["x"], ["y"], "determinant")], [("x", [2, 4, 4])], [("y", [2])])
    with pytest.raises(InvalidOnnxError, match="determinant"):
        built(save(proto, tmp_path / "m.onnx"), tmp_path / "out", profiles=[])


def test_weights_with_nan_are_refused_before_the_build(tmp_path):
    w = weights((4, 4))
    w[0, 0] = np.nan
    proto = model([node("MatMul", ["x", "w"], ["y"])], [tensor("x", [2, 4])], [("y", [2, 4])], {"w": w})
    with pytest.raises(InvalidOnnxError, match="'w' holds NaN or Inf"):
        built(save(proto, tmp_path / "m.onnx"), tmp_path / "out", profiles=[])


def test_versions_of_the_backend_are_named():
    assert "tensorrt-rtx" in packages("tensorrt_rtx")
    assert "tensorrt" in packages("tensorrt")
