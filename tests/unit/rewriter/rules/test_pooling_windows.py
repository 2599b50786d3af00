import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor
from rewriting import apply, difference, holds


def pooling(op="MaxPool", shape=("n", 2, 9, 8), result=("n", 2, None, None), opset=19, **attributes):
    return model(
        [node(op, ["x"], ["y"], "pool", **attributes)], [("x", list(shape))], [("y", list(result))], opset=opset
    )


@given(st.data(), st.sampled_from(["MaxPool", "AveragePool", "LpPool"]))
@settings(max_examples=60, deadline=None)
def test_slices_give_the_same(data, op):
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    attributes = {
        "kernel_shape": kernel,
        "dilations": data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)),
        "strides": data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)),
        "pads": [data.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)],
    }
    if op != "LpPool":  # ONNX Runtime's LpPool takes no ceil_mode
        attributes["ceil_mode"] = data.draw(st.integers(0, 1))
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
        assume(not (attributes["ceil_mode"] and attributes["count_include_pad"]))  # versions of ONNX Runtime differ
    if op == "LpPool":
        attributes["p"] = data.draw(st.integers(1, 4))
    assume(max(attributes["dilations"]) > 1)
    after = holds(pooling(op, **attributes), "pooling_windows", sizes=[{"n": 2}])
    assert op not in after.ops


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_dynamic_sizes_stay_dynamic(op):
    proto = pooling(op, ("n", 2, "h", "w"), ("n", 2, None, None), kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1])
    after = apply(proto, "pooling_windows")
    assert after.rules == ["pooling_windows"]
    sizes = [{"n": 1, "h": 9, "w": 8}, {"n": 2, "h": 12, "w": 7}]
    assert difference(proto, after.model, sizes) is None


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(auto):
    proto = pooling("LpPool", opset=18, kernel_shape=[3, 2], p=3, strides=[2, 2], auto_pad=auto)
    assert holds(proto, "pooling_windows", sizes=[{"n": 2}]).rules == ["pooling_windows"]


@pytest.mark.parametrize(
    "attributes", [{"op": "MaxPool"}, {"op": "LpPool", "p": 2}, {"op": "AveragePool", "pads": [1] * 4}]
)
def test_what_tensorrt_takes_is_left(attributes):
    assert apply(pooling(kernel_shape=[2, 2], **attributes), "pooling_windows").rules == []


def with_indices():
    outputs = [("y", ["n", 2, None, None]), tensor("i", ["n", 2, None, None], TensorProto.INT64)]
    pool = node("MaxPool", ["x"], ["y", "i"], "pool", kernel_shape=[2, 2], dilations=[2, 2])
    return model([pool], [("x", ["n", 2, 9, 8])], outputs)


def of_unknown_rank():
    nodes = [
        node("Squeeze", ["x"], ["s"], "squeeze"),
        node("MaxPool", ["s"], ["p"], "pool", kernel_shape=[2, 2], dilations=[2, 2]),
        node("ReduceMax", ["p"], ["y"], "top", keepdims=0),
    ]
    return model(nodes, [("x", ["n", 2, "h", "w"])], [("y", [])])


def dynamic(op, **attributes):
    return pooling(op, ("n", 2, "h", "w"), kernel_shape=[2, 2], dilations=[2, 2], **attributes)


GUARDS = {
    "the rank is not known": of_unknown_rank,
    "its indices are read": with_indices,
    "the average leaves padding out and the size is not known": lambda: dynamic("AveragePool", pads=[1, 1, 1, 1]),
    "ceil_mode, and the size of an axis is not known": lambda: dynamic("MaxPool", ceil_mode=1, strides=[2, 2]),
    "auto_pad, and the size of an axis is not known": lambda: dynamic("MaxPool", auto_pad="SAME_UPPER"),
}
