import numpy as np
import onnx
import pytest
from onnx_text import parsed

from trtbuild.quantization import FORMATS, place, quantize_weight, write_qdq

RESIDUAL = """
g (float[n,4,8,8] x) => (float[n,4,8,8] y)
{
    [c1] a = Conv (x, w1)
    [r1] b = Relu (a)
    [c2] c = Conv (b, w2)
    SHORTCUT
    [add] s = Add (c, k)
    [r2] t = Relu (s)
    [c3] y = Conv (t, w3)
}
"""


def residual(shortcut="[id] k = Identity (x)", **changes):
    text = RESIDUAL.replace("SHORTCUT", shortcut)
    for old, new in changes.items():
        text = text.replace(old, new)
    proto = parsed(text)
    random = np.random.default_rng(0)
    for name in ("w1", "w2", "w3", "w4"):
        values = random.normal(size=(4, 4, 1, 1)).astype("f")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def test_the_summand_of_a_convolution_is_quantised_too():
    (found,) = place(residual()).summands
    assert (found.node, found.tensor, found.conv) == ("add", "k", "c2")
    assert place(residual()).tensors == ("x", "b", "t", "k")


def test_of_two_convolutions_the_later_one_adds():
    (found,) = place(residual("[c4] k = Conv (x, w4)")).summands
    assert (found.tensor, found.conv) == ("c", "c4")


@pytest.mark.parametrize(
    "proto",
    [
        residual(**{"[c3] y = Conv (t, w3)": "y = Neg (t)"}),  # the sum is not quantised again
        residual("k = Neg (c)"),  # the convolution's result is read elsewhere too
        residual(**{"=> (float[n,4,8,8] y)": "=> (float[n,4,8,8] y, float[n,4,8,8] c)"}),  # or is an output
    ],
)
def test_other_sums_stay_in_float(proto):
    assert place(proto).summands == ()


def test_no_pair_stands_between_a_convolution_and_its_relu():
    proto = residual()
    found = place(proto)
    done = write_qdq(proto, found, dict.fromkeys(found.tensors, 3.0))
    made = {o: n for n in done.graph.node for o in n.output}
    assert made[next(n for n in done.graph.node if n.name == "r1").input[0]].op_type == "Conv"
    add = next(n for n in done.graph.node if n.name == "add")
    assert [made[i].op_type for i in add.input] == ["Conv", "DequantizeLinear"]


def test_a_residual_goes_with_its_convolution():
    found = place(residual()).only({"c1", "c3"})
    assert [n.node for n in found.nodes] == ["c1", "c3"]
    assert found.summands == ()
    assert found.kept == {"c2": "asked to stay in float"}


@pytest.mark.parametrize("name", ["int8", "fp8", "int4", "int8_weights"])
@pytest.mark.parametrize("clip", [False, True])
def test_a_weight_comes_back_within_half_a_step(name, clip):
    values = np.random.default_rng(0).normal(size=(256, 6)) * np.linspace(0.1, 9, 6)
    found = quantize_weight(values, FORMATS[name], axis=1, reduced_axis=0, clip=clip)
    error = np.abs(found.values() - values)
    if name == "fp8":
        assert (error <= np.abs(values) * 2.0**-4 + found.scale[None, :] * 2.0**-10 * 1.001).all()
        return
    step = found.scale[None, :] if found.block is None else np.repeat(found.scale, found.block, axis=0)
    inside = np.abs(values) <= step * FORMATS[name].largest * (1 + 1e-6)  # the scale is float32
    assert (error[inside] <= (np.broadcast_to(step, values.shape) * 0.5001)[inside]).all()
    assert inside.all() or clip


def test_clipping_lowers_the_squared_error_of_every_channel():
    values = np.random.default_rng(0).standard_t(3, size=(512, 16))
    plain, clipped = (
        quantize_weight(values, FORMATS["int4"], axis=1, reduced_axis=0, clip=c).values() for c in (False, True)
    )
    before, after = (((v - values) ** 2).sum(axis=0) for v in (plain, clipped))
    assert (after <= before * (1 + 1e-6)).all()
    assert after.sum() < 0.9 * before.sum()


def test_blocks_lie_along_the_axis_that_is_summed_over():
    values = np.random.default_rng(0).normal(size=(256, 6))
    found = quantize_weight(values, FORMATS["int4"], axis=1, reduced_axis=0)
    assert (found.scale.shape, found.axis, found.block) == ((2, 6), 0, 128)
    odd = quantize_weight(values[:100], FORMATS["int4"], axis=1, reduced_axis=0)
    assert (odd.scale.shape, odd.axis, odd.block) == ((6,), 1, None)
