import ml_dtypes
import numpy as np
import pytest
from onnx_models import model, node, weights

from trtbuild.quantization import FORMATS, fit, place, quantize_weight

INT4, FP8 = FORMATS["int4"], FORMATS["fp8"]


@pytest.mark.parametrize(
    ("length", "block"),
    [(1024, 128), (384, 128), (256, 128), (192, 64), (128, 64), (96, 32), (64, 32), (48, 16), (32, 16), (16, None), (100, None)],
)  # fmt: skip
def test_a_block_is_the_longest_that_cuts_the_axis_into_two_at_least(length, block):
    assert INT4.block(length) == block
    assert FP8.block(length) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_int4_blocks_lie_along_the_summed_axis(axis):
    w = weights((64, 64)) * np.linspace(0.1, 5, 64, dtype="f").reshape((-1, 1) if axis == 0 else (1, -1))
    done = quantize_weight(w, INT4, axis=1 - axis, reduced_axis=axis)
    assert (done.axis, done.block, done.scale.shape[axis]) == (axis, 32, 2)
    assert np.abs(done.numbers).max() == 7
    assert set(np.unique(done.numbers)) <= set(range(-7, 8))
    along = np.repeat(done.scale, 32, axis=axis)
    assert (np.abs(done.values() - w) <= along * 0.5001).all()


def test_a_negligible_block_takes_a_scale_that_fp16_holds():
    w = weights((64, 4))
    w[:32] *= 1e-9
    done = quantize_weight(w, INT4, axis=1, reduced_axis=0)
    assert done.scale.min() == np.float32(2.0**-14)
    assert np.abs(done.values() - w)[:32].max() < 1e-8
    small = quantize_weight(weights((64, 4), scale=1e-4), INT4, axis=1, reduced_axis=0)
    assert small.scale.max() < 2.0**-14  # all of it is small: nothing in it is negligible
    assert np.abs(small.numbers).max() == 7


def test_fp8_weights_lose_nothing_by_a_scale_that_fp16_holds():
    w = weights((64, 4), scale=1e-4)
    done = quantize_weight(w, FP8, axis=1, reduced_axis=0)
    assert (done.scale == np.float32(2.0**-14)).all()
    assert np.abs(done.values() - w).max() <= np.abs(w).max() / 16
    assert (done.numbers.astype(ml_dtypes.float8_e4m3fn).astype(np.float32) == done.numbers).all()


def product(op, shape, **attributes):
    x = ["n", shape[1], 8, 8] if op == "Conv" else ["n", shape[0], 8, 8] if "Conv" in op else ["n", shape[-2]]
    if attributes.get("transB"):
        x = ["n", shape[1]]
    return model([node(op, ["x", "w"], ["y"], "it", **attributes)], [("x", x)], [("y", None)], {"w": weights(shape)})


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "fits"),
    [
        ("MatMul", (64, 32), {}, "int8 fp8 int8_weights int4"),
        ("MatMul", (3, 64, 32), {}, "int8 fp8 int8_weights int4"),
        ("Gemm", (32, 64), {"transB": 1}, "int8 fp8 int8_weights int4"),
        ("MatMul", (64, 1), {}, "int8 fp8 int8_weights int4"),
        ("MatMul", (64, 13), {}, "int8 fp8"),
        ("Gemm", (13, 64), {"transB": 1}, "int8 fp8"),
        ("MatMul", (37, 32), {}, "int8 fp8"),
        ("MatMul", (20, 32), {}, "int8 fp8 int8_weights"),
        ("Conv", (64, 64, 1, 1), {}, "int8 fp8"),
        ("ConvTranspose", (64, 64, 2, 2), {}, ""),
    ],
)
def test_which_formats_do_something_for_a_node(op, shape, attributes, fits):
    proto = product(op, shape, **attributes)
    placement = place(proto)
    assert len(placement.nodes) == 1
    found = {name: fit(placement, proto, name) for name in FORMATS}
    assert [name for name in FORMATS if found[name].nodes] == fits.split()
    assert all(bool(done.kept.get("it")) != bool(done.nodes) for done in found.values())


def test_nodes_are_held_to_their_own_format():
    nodes = [node("MatMul", ["x", "w"], ["a"], "one"), node("MatMul", ["a", "w"], ["y"], "two")]
    proto = model(nodes, [("x", ["n", 20])], [("y", ["n", 20])], {"w": weights((20, 20))})
    done = fit(place(proto), proto, {"one": "int4", "two": "int8"})
    assert [n.node for n in done.nodes] == ["two"]
    assert "20 weights that are summed" in done.kept["one"]
