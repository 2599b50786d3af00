from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import parsed
from rewriting import holds


def product(shape="n,5", axis=1, attributes="", copy=False):
    same = "a = Identity(axis)" if copy else ""
    return parsed(
        f"g (float[{shape}] x) => (float[{shape}] y) <int64 axis = {{{axis}}}> "
        f"{{ {same} y = CumProd {attributes} (x, {'a' if copy else 'axis'}) }}",
        opset=26,
        ir=11,
    )


@given(st.integers(1, 9), st.integers(0, 1), st.integers(0, 1), st.sampled_from([1, -1]))
@settings(max_examples=30, deadline=None)
def test_products_with_shifted_copies(size, exclusive, reverse, axis):
    attributes = f"<exclusive: int = {exclusive}, reverse: int = {reverse}>"
    after = holds(product(f"n,{size}", axis, attributes), "cumprod", sizes=[{"n": 3}])
    assert "CumProd" not in after.ops


def of_unknown_rank():
    return parsed(
        "g (float[n,m] x) => (float y) <int64 axis = {1}> "
        "{ s = Squeeze(x) c = CumProd (s, axis) y = ReduceSum <keepdims: int = 0> (c) }",
        opset=26,
        ir=11,
    )


GUARDS = {
    "its axis is not constant": lambda: product("3,5", copy=True),
    "the rank is not known": of_unknown_rank,
    "the size of the axis is not known": lambda: product("n,m"),
}
