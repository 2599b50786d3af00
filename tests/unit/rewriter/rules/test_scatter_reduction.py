import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_text import parsed
from rewriting import apply

KINDS = st.sampled_from(["add", "mul", "max", "min"])


def agree(proto, feed):
    done = apply(proto, "scatter_reduction")
    assert done.rules == ["scatter_reduction"], done.reasons
    wanted, got = run(proto, feed)["y"], run(done.model, feed)["y"]
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)
    assert apply(done.model, "scatter_reduction").rules == []


@given(st.data(), KINDS, st.integers(0, 2), st.sampled_from(["float", "int32", "int64"]))
@settings(max_examples=40, deadline=None)
def test_elements(data, kind, axis, element):
    shape = [3, 4, 2]
    updates = [*shape]
    updates[axis] = data.draw(st.integers(1, 5))
    write = lambda v: ",".join(map(str, v))  # noqa: E731
    proto = parsed(
        f"g ({element}[{write(shape)}] x, int64[{write(updates)}] i, {element}[{write(updates)}] u) "
        f'=> ({element}[{write(shape)}] y) {{ y = ScatterElements <axis: int = {axis}, reduction: string = "{kind}"> (x, i, u) }}',
    )
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = {"float": "f4"}.get(element, element)
    agree(
        proto,
        {
            "x": (random.normal(size=shape) * 3).astype(dtype),
            "i": random.integers(-shape[axis], shape[axis], updates),  # twice the same, and from the end
            "u": (random.normal(size=updates) * 3).astype(dtype),
        },
    )


@given(st.data(), KINDS, st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_nd(data, kind, depth):
    shape, number = [3, 4, 2], data.draw(st.integers(1, 6))
    left = shape[depth:]
    write = lambda v: ",".join(map(str, v))  # noqa: E731
    proto = parsed(
        f"g (float[3,4,2] x, int64[{number},{depth}] i, float[{write([number, *left])}] u) => (float[3,4,2] y) "
        f'{{ y = ScatterND <reduction: string = "{kind}"> (x, i, u) }}',
    )
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    places = np.stack([random.integers(-s, s, number) for s in shape[:depth]], axis=-1)
    values = random.normal(size=(number, *left)).astype("f4")
    agree(proto, {"x": random.normal(size=shape).astype("f4"), "i": places, "u": values})


def elements(batch="3", updates="3"):
    return parsed(
        f"g (float[{batch},4] x, int64[{updates},2] i, float[{updates},2] u) => (float[{batch},4] y) "
        '{ y = ScatterElements <axis: int = 1, reduction: string = "add"> (x, i, u) }',
    )


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_one_that_overwrites_is_left(op):
    proto = parsed(f"g (float[3,4] x, int64[1,2] i, float[1] u) => (float[3,4] y) {{ y = {op} (x, i, u) }}")
    if op == "ScatterND":
        assert apply(proto, "scatter_reduction").rules == []


GUARDS = {
    "a size is not known": lambda: elements("n", "n"),
    "the updates do not cover the other axes": lambda: elements("3", "2"),
}
