"""What only a GPU can show: `pytest -m gpu` on a machine that has one. Not selected anywhere else."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtbuild.artifacts import AxisRange, OptimizationProfile, Target
from trtbuild.benchmark import bench
from trtbuild.device import gpus
from trtbuild.engine import compile as compile_plan
from trtbuild.verification import Rule, verify

pytestmark = pytest.mark.gpu

PROFILES = (OptimizationProfile({"n": AxisRange(1, 8, 32)}),)


@pytest.fixture
def model(tmp_path):
    random = np.random.default_rng(0)
    weight = numpy_helper.from_array(random.normal(size=(64, 32)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "matmul"), helper.make_node("Relu", ["m"], ["y"], "relu")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        [weight],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.fixture(params=["tensorrt", "tensorrt_rtx"])
def plan(request, model, tmp_path):
    pytest.importorskip(request.param)
    target = Target("here", request.param, gpus()[0].compute_capability)
    return compile_plan(model, tmp_path, target=target, profiles=PROFILES)


def feeds(count):
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(n + 1, 64)).astype(np.float32)} for n in range(count)]


def test_the_plan_gives_what_its_onnx_gives(model, plan):
    proof = verify(model, plan, feeds(8), rule=Rule("cosine", min=0.9999), profiles=PROFILES)

    assert proof.subject == "engine"
    assert proof.passed, proof.gates


def test_the_plan_is_timed_beside_its_onnx(model, plan):
    pytest.importorskip("pycuda")

    measured = bench({"onnx": model}, [plan], profiles=PROFILES, runs=10)

    assert measured.gpu is not None
    assert [t.subject.split()[0] for t in measured.timings] == ["onnx", "plan"]
    assert all(t.latency.p50 > 0 for t in measured.timings)
