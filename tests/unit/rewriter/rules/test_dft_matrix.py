import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import parsed
from rewriting import apply, holds


def transform(size, parts, bins, *, rank=3, attributes="", length=None, opset=17, copy=False):
    shape = f"n,{size},{parts}" if rank == 3 else f"n,{size},4,{parts}"
    made = f"n,{bins},2" if rank == 3 else f"n,{bins},4,2"
    weights = f"<int64 length = {{{length}}}>" if length else ""
    same = "l = Identity(length)" if copy else ""
    read = "x, l" if copy else "x, length" if length else "x"
    return parsed(
        f"g (float[{shape}] x) => (float[{made}] y) {weights} {{ {same} y = DFT <{attributes}> ({read}) }}", opset=opset
    )


@given(st.integers(2, 33), st.sampled_from([1, 2]), st.booleans(), st.sampled_from([3, 4]))
@settings(max_examples=40, deadline=None)
def test_the_transform_is_one_product(size, parts, inverse, rank):
    proto = transform(size, parts, size, rank=rank, attributes=f"axis: int = 1, inverse: int = {int(inverse)}")
    after = holds(proto, "dft_matrix", sizes=[{"n": 2}])
    assert after.ops.count("MatMul") == 1
    assert "DFT" not in after.ops


@given(st.integers(2, 33), st.integers(2, 33))
@settings(max_examples=30, deadline=None)
def test_the_real_transform_pads_and_cuts(size, length):
    proto = transform(size, 1, length // 2 + 1, attributes="axis: int = 1, onesided: int = 1", length=length)
    assert holds(proto, "dft_matrix", sizes=[{"n": 2}]).rules == ["dft_matrix"]


@pytest.mark.parametrize("axis", [1, 2, -2])
def test_the_axis_as_an_input(axis):
    proto = parsed(
        f"g (float[2,6,5,1] x) => (float[2,6,5,2] y) <int64 axis = {{{axis}}}> {{ y = DFT (x, , axis) }}", opset=20
    )
    assert holds(proto, "dft_matrix").rules == ["dft_matrix"]


def test_doubles_are_left():
    proto = parsed("g (double[2,6,1] x) => (double[2,6,2] y) { y = DFT <axis: int = 1> (x) }", opset=17)
    assert apply(proto, "dft_matrix").reasons == ["it is not of 32-bit floats"]


def of_unknown_rank():
    return parsed(
        "g (float[n,m,2] x) => (float y) "
        "{ s = Squeeze(x) c = DFT <axis: int = 1> (s) y = ReduceSum <keepdims: int = 0> (c) }",
        opset=17,
    )


GUARDS = {
    "the rank is not known": of_unknown_rank,
    "its length or its axis is not constant": lambda: transform(
        6, 1, 8, attributes="axis: int = 1", length=8, copy=True
    ),
    "the size of the signal's axis is not known": lambda: transform("m", 1, "m", attributes="axis: int = 1"),
}
