"""Real builds: the kernels of a graph read what its nodes are stored in."""

import pytest
from onnx_models import model, node, save, weights
from quantized_models import FORMATS_OF, chain, table_of

from trtbuild.artifacts import AxisRange, OptimizationProfile, Target
from trtbuild.engine import compile as compile_plan
from trtbuild.errors import SpecError
from trtbuild.onnxfile import load
from trtbuild.onnxfile import save as save_onnx
from trtbuild.precision import assign_precision
from trtbuild.precision.quantized import quantize
from trtbuild.quantization import place

pytest.importorskip("tensorrt_rtx")

PROFILE = OptimizationProfile({"n": AxisRange(1, 2, 4), "rows": AxisRange(1, 8, 16)})


def target(capability):
    return Target("mine", "tensorrt_rtx", capability)


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """Four MatMuls in each format; the model's opset is older than some of them."""
    folder = tmp_path_factory.mktemp("formats")
    proto = chain(opset=17)
    path = save(proto, folder / "m.onnx")
    found = {}
    for precision in ("fp8", "int4", "int8_weights"):
        (folder / precision).mkdir()
        table = table_of(proto, path) if precision == "fp8" else None
        found[precision] = assign_precision(path, folder / precision, precision=precision, table=table)
    return found


@pytest.mark.parametrize(
    ("precision", "capability"),
    [("fp8", "8.9"), ("fp8", "12.0"), ("int4", "8.0"), ("int4", "12.0"), ("int8_weights", "8.0"), ("int8_weights", "12.1")],
)  # fmt: skip
def test_every_matrix_node_reads_the_format_asked_for(typed, tmp_path, precision, capability):
    plan = compile_plan(typed[precision], tmp_path, target=target(capability), profiles=[PROFILE])
    assert (plan.work.shares, plan.work.not_honoured) == ({precision: 1}, {})
    assert set(plan.work.nodes) == set(FORMATS_OF)


def test_one_row_times_fp16_weights_is_not_taken_for_fp32(tmp_path):
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], "it")], [("x", [1, 64])], [("y", [1, 64])], {"w": weights((64, 64))}
    )
    typed = assign_precision(save(proto, tmp_path / "m.onnx"), tmp_path, precision="fp16")
    plan = compile_plan(typed, tmp_path, target=target("8.9"))
    assert plan.work.nodes == {"it": "fp16"}


def test_formats_mix_in_one_engine(tmp_path):
    proto = chain()
    table = table_of(proto, save(proto, tmp_path / "m.onnx"))
    path = tmp_path / "typed.onnx"
    save_onnx(quantize(load(tmp_path / "m.onnx"), place(proto), FORMATS_OF, table).model, path)
    plan = compile_plan(path, tmp_path, target=target("8.9"), profiles=[PROFILE])
    assert plan.work.nodes == FORMATS_OF
    assert plan.precision == "fp8"
    with pytest.raises(SpecError, match="cannot do fp8"):
        compile_plan(path, tmp_path, target=target("8.6"), profiles=[PROFILE])
