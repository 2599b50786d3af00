"""Estimates of plans that TensorRT-RTX built."""

from dataclasses import replace

import pytest
from onnx_models import mlp, random_feed, save

from trtbuild import onnxfile
from trtbuild.artifacts import AxisRange, OptimizationProfile, Target, TargetRates
from trtbuild.calibration import calibrate
from trtbuild.engine import compile as compile_plan
from trtbuild.precision import assign_precision
from trtbuild.roofline import graph_estimate, plan_estimate

PROFILE = OptimizationProfile({"n": AxisRange(1, 512, 1024)})
RATES = TargetRates("round", {"fp32": 25e12, "fp16": 100e12, "int8": 200e12}, 1e12)
MACS = 512 * 2 * 64 * 128


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two layers of 64 x 128 with their graph, at 512 rows, in each precision."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("estimates")
    path = save(mlp(64), folder / "mlp.onnx")
    table = calibrate(path, [random_feed(mlp(64), n=16)], method="minmax")
    found = {}
    for precision in ("fp32", "fp16", "int8"):
        place = folder / precision
        place.mkdir()
        typed = assign_precision(path, place, precision=precision, table=table, profiles=[PROFILE])
        plan = compile_plan(typed, place, target=Target("t", "tensorrt_rtx", "8.9"), profiles=[PROFILE])
        found[precision] = (plan, onnxfile.load(typed.model.path))
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_plan_multiplies_as_much_as_its_graph(precision, built):
    plan, model = built[precision]
    endless = replace(RATES, bandwidth=1e30)  # nothing but the products takes time
    kernels, graph = plan_estimate(plan, endless), graph_estimate(model, endless, {"n": 512})
    assert kernels.unknown == ()
    assert sum(p.macs for p in kernels.parts) == sum(p.macs for p in graph.parts) == MACS
    assert kernels.estimated_seconds == pytest.approx(2 * MACS / RATES.peak[precision])
    assert graph.estimated_seconds == pytest.approx(2 * MACS / RATES.peak[precision])
    assert kernels.sizes == graph.sizes == {"n": 512}


def test_a_plan_moves_at_least_its_inputs_weights_and_outputs(built):
    for precision, width in (("fp32", 4), ("fp16", 2), ("int8", 1)):
        plan, _ = built[precision]
        moved = sum(p.bytes for p in plan_estimate(plan, RATES).parts)
        assert moved >= 2 * 4 * 512 * 64 + width * 2 * 64 * 128, precision


def test_a_slow_memory_bounds_the_same_plan_by_memory(built):
    plan, _ = built["fp16"]
    slow, fast = (plan_estimate(plan, replace(RATES, bandwidth=b)) for b in (1e9, 1e30))
    assert slow.bound_shares == {"memory": pytest.approx(1)}
    assert fast.bound_shares["compute"] == pytest.approx(1)
    assert slow.estimated_seconds > fast.estimated_seconds


def test_the_profile_that_was_tuned_for_gives_the_sizes(built):
    plan, _ = built["int8"]
    times = plan_estimate(plan, RATES).longest
    assert times[0].estimated_seconds == max(p.estimated_seconds for p in times)
    assert {p.precision for p in times if p.macs} == {"int8"}
