"""Build options on a GPU, with each TensorRT that is installed there: what is honoured can be seen in the engine."""

import pytest
from onnx_models import matmul, random_feed, save

from trtbuild.artifacts import AxisRange, BuildOptions, OptimizationProfile, Target
from trtbuild.backends import BACKENDS
from trtbuild.device import gpus
from trtbuild.engine import compile as compile_plan
from trtbuild.engine import hold_options
from trtbuild.errors import BuildError, SpecError
from trtbuild.verification import Rule, verify

pytestmark = pytest.mark.gpu

PROFILES = (OptimizationProfile({"n": AxisRange(1, 8, 32)}),)
ACCEPTED = [
    {"workspace_mib": 256}, {"max_aux_streams": 0}, {"weight_streaming": True}, {"version_compatible": True},
    {"optimization_level": 5}, {"avg_timing_iterations": 4}, {"tactic_sources": ("jit_convolutions",)},
    {"sparsity": True}, {"refit": "any"}, {"refit": "identical"}, {"timing_cache": "off"},
]  # fmt: skip


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def target(request):
    pytest.importorskip(request.param)
    return Target("here", request.param, gpus()[0].compute_capability)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(matmul(64, 64), tmp_path_factory.mktemp("options") / "m.onnx")


def built(model, folder, target, **options):
    folder.mkdir(exist_ok=True)
    return compile_plan(model, folder, target=target, profiles=PROFILES, options=BuildOptions(**options))


@pytest.mark.parametrize("options", ACCEPTED, ids=str)
def test_a_plan_with_an_option_gives_what_its_onnx_gives(model, tmp_path, target, options):
    plan = built(model, tmp_path, target, **options)
    if options == {"version_compatible": True} and not BACKENDS.load(target.backend).HAS_LEAN_RUNTIME:
        return  # it is loaded by a lean runtime, which is not there
    proof = verify(model, plan, [random_feed(matmul(64, 64), n=8)], rule=Rule("cosine", min=0.9999), profiles=PROFILES)
    assert proof.passed, proof.gates


def test_a_plan_without_its_weights_is_smaller_and_not_ready(model, tmp_path, target):
    whole = built(model, tmp_path / "whole", target, refit="identical")
    stripped = built(model, tmp_path / "stripped", target, refit="identical", strip_weights=True)
    assert stripped.plan.size < whole.plan.size
    assert stripped.not_ready


def test_two_builds_pinned_to_one_timing_cache_are_bit_identical(model, tmp_path, target, monkeypatch):
    if not BACKENDS.load(target.backend).NEEDS_GPU_TO_BUILD:
        pytest.skip(f"{target.backend} times no kernels")
    monkeypatch.setenv("TRTBUILD_CACHE", str(tmp_path / "cache"))
    first = built(model, tmp_path / "first", target)
    assert first.timing_cache is not None
    assert list((tmp_path / "cache" / "timing").glob("*.timing"))
    pinned = {"timing_cache": str(first.timing_cache.path)}
    again = [built(model, tmp_path / name, target, **pinned).plan.sha256 for name in "ab"]
    assert again[0] == again[1]


def test_a_kernel_that_a_pinned_cache_has_not_is_an_error(model, tmp_path, target):
    if not BACKENDS.load(target.backend).NEEDS_GPU_TO_BUILD:
        pytest.skip(f"{target.backend} times no kernels")
    other = built(save(matmul(96, 32), tmp_path / "o.onnx"), tmp_path / "other", target, timing_cache="off")
    with pytest.raises(BuildError):
        built(model, tmp_path / "out", target, timing_cache=str(other.timing_cache.path))


def test_an_accelerator_that_is_not_there_is_refused(target):
    with pytest.raises((SpecError, BuildError)) as caught:
        hold_options(target, BuildOptions(dla_core=7))
    assert caught.value.place == "build.dla_core"
