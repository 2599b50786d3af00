import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node
from rewriting import apply, holds


def resize(shape=("n", 2, 6, 5), *, sizes=None, scales=None, copy=False, opset=19, **attributes):
    read = ["x", "", "", "sizes"] if sizes else ["x", "", "scales"]
    weights = {"sizes": np.array(sizes, np.int64)} if sizes else {"scales": np.array(scales, np.float32)}
    nodes = [node("Resize", [*read[:-1], "copied" if copy else read[-1]], ["y"], "resize", **attributes)]
    if copy:
        nodes.insert(0, node("Identity", [read[-1]], ["copied"], "copy"))
    result = [*shape[:1], *[None] * (len(shape) - 1)]
    return model(nodes, [("x", list(shape))], [("y", result)], weights, opset=opset)


@given(st.sampled_from(["linear", "cubic"]), st.floats(0.3, 2.5), st.floats(0.3, 2.5))
@settings(max_examples=30, deadline=None)
def test_antialiasing_is_two_products(mode, tall, wide):
    proto = resize(("n", 2, 16, 12), scales=[1, 1, tall, wide], mode=mode, antialias=1)
    after = holds(proto, "resize_matrix", sizes=[{"n": 2}])
    assert "Resize" not in after.ops


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["linear", "cubic"]))
@settings(max_examples=20, deadline=None)
def test_by_sizes(tall, wide, mode):
    proto = resize((1, 2, 16, 12), sizes=[1, 2, tall, wide], mode=mode, antialias=1)
    assert "Resize" not in holds(proto, "resize_matrix").ops


def test_only_the_axes_it_names():
    proto = resize((1, 2, 16, 12), sizes=[7, 9], mode="linear", antialias=1, axes=[2, 3])
    assert holds(proto, "resize_matrix").ops == ["MatMul", "MatMul"]


@pytest.mark.parametrize("mode", ["align_corners", "half_pixel_symmetric"])
def test_coordinates(mode):
    proto = resize(
        (1, 2, 8, 8), scales=[1, 1, 0.6, 1.7], mode="linear", antialias=1, coordinate_transformation_mode=mode
    )
    assert apply(proto, "resize_matrix").rules in ([], ["resize_matrix"])
    if apply(proto, "resize_matrix").rules:
        holds(proto, "resize_matrix")


def test_what_tensorrt_takes_is_left():
    assert apply(resize(scales=[1, 1, 2, 2], mode="linear"), "resize_matrix").rules == []


def of_unknown_rank():
    nodes = [
        node("Squeeze", ["x"], ["s"], "squeeze"),
        node("Resize", ["s", "", "scales"], ["r"], "resize", mode="linear", antialias=1),
        node("ReduceSum", ["r"], ["y"], "sum", keepdims=0),
    ]
    weights = {"scales": np.array([1, 1, 0.5, 0.5], np.float32)}
    return model(nodes, [("x", ["n", "c", 8, 8])], [("y", [])], weights, opset=19)


def of_a_volume():
    return resize(
        (1, 1, 4, 4, 4), scales=[1, 1, 2, 2, 2], mode="linear", coordinate_transformation_mode="half_pixel_symmetric"
    )


def keeping_the_aspect():
    return resize(
        (1, 2, 6, 4), sizes=[12, 12], mode="linear", axes=[2, 3], keep_aspect_ratio_policy="not_larger", antialias=1
    )


GUARDS = {
    "it keeps the aspect ratio": keeping_the_aspect,
    "the rank is not known": of_unknown_rank,
    "its sizes or scales are not constant": lambda: resize(
        (1, 2, 8, 8), scales=[1, 1, 0.5, 0.5], copy=True, mode="linear", antialias=1
    ),
    "it resizes other axes": of_a_volume,
    "the size of an axis is not known": lambda: resize(
        ("n", 2, "h", 8), scales=[1, 1, 0.5, 0.5], mode="linear", antialias=1
    ),
}
