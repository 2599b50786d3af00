"""Faults planted one at a time: verify fails, debug names the node, and the reduced model fails too."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_models import cnn, model, node, random_feed, save, weights

from trtbuild import onnxfile
from trtbuild.calibration import calibrate
from trtbuild.debugging import debug
from trtbuild.precision import assign_precision
from trtbuild.verification import Rule, verify


def block():
    """A transformer block's parts: two projections, a product of both, a norm's power, Softmax, a residual."""
    nodes = [
        node("MatMul", ["x", "wq"], ["q"], "query"),
        node("MatMul", ["x", "wk"], ["k"], "key"),
        node("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"], "scores"),
        node("Softmax", ["s"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "x"], ["a"], "attend"),
        node("MatMul", ["a", "wo"], ["o"], "project"),
        node("Sub", ["o", "x"], ["r"], "residual"),
        node("Pow", ["r", "two"], ["sq"], "square"),
        node("ReduceMean", ["sq"], ["mean"], "mean", axes=[-1], keepdims=1),
        node("Sqrt", ["mean"], ["root"], "root"),
        node("Div", ["r", "root"], ["n"], "divide"),
        node("MatMul", ["n", "w1"], ["y"], "head"),
    ]
    width = 16
    parameters = {name: weights((width, width), seed, 0.3) for seed, name in enumerate(("wq", "wk", "wo", "w1"))}
    shape = ["n", 6, width]
    return model(nodes, [("x", shape)], [("y", shape)], parameters | {"two": np.float32(2)}, opset=17)


def energy_cnn():
    """A CNN with a difference, a power and a head whose weight is square: what the faults need."""
    nodes = [
        node("Conv", ["x", "k1"], ["c1"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu"),
        node("Conv", ["r1", "k2"], ["c2"], "second", pads=[1, 1, 1, 1]),
        node("Sub", ["c2", "r1"], ["d"], "difference"),
        node("Pow", ["d", "two"], ["sq"], "square"),
        node("GlobalAveragePool", ["sq"], ["p"], "pool"),
        node("Sqrt", ["p"], ["root"], "root"),
        node("Flatten", ["root"], ["f"], "flatten"),
        node("MatMul", ["f", "w"], ["y"], "head"),
    ]
    parameters = {
        "k1": weights((4, 2, 3, 3), 1, 0.3), "k2": weights((4, 4, 3, 3), 6, 0.3), "w": weights((4, 4), 8),
        "two": np.float32(2),
    }  # fmt: skip
    return model(nodes, [("x", ["n", 2, 6, 6])], [("y", ["n", 4])], parameters, opset=17)


def feed_of(proto, seed=5):
    return random_feed(proto, seed, n=2)


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """Both models in FP32, FP16 and INT8."""
    made = {}
    for name, proto in (("cnn", cnn(opset=22)), ("energy", energy_cnn()), ("block", block())):
        folder = tmp_path_factory.mktemp(name)
        path = save(proto, folder / "m.onnx")
        table = calibrate(path, [random_feed(proto, 100 + i, n=4) for i in range(8)], method="minmax")
        made[name] = {"fp32": path}
        for precision in ("fp16", "int8"):
            (folder / precision).mkdir()
            done = assign_precision(path, folder / precision, precision=precision, table=table)
            made[name][precision] = done.model.path
        made[name]["feed"] = feed_of(proto)
    return made


def weight_of(proto, name):
    return next(t for t in proto.graph.initializer if t.name == name)


def replaced(proto, name, array):
    weight_of(proto, name).CopyFrom(numpy_helper.from_array(array, name))


def by_name(proto, name):
    return next(n for n in proto.graph.node if n.name == name)


def scale_times_10(proto, reader):
    """The activation scale of the node's first input."""
    maker = {t: n for n in proto.graph.node for t in n.output}
    found = by_name(proto, reader)
    tensor = found.input[0]
    while maker[tensor].op_type != "DequantizeLinear":
        tensor = maker[tensor].input[0]
    dequantize = maker[tensor]
    quantize = maker[dequantize.input[0]]
    scale = numpy_helper.to_array(weight_of(proto, quantize.input[1]))
    proto.graph.initializer.append(numpy_helper.from_array(scale * 10, "planted"))
    quantize.input[1] = dequantize.input[1] = "planted"


def all_in_half(proto):
    """Every tensor in FP16, the square of a large activation too: what a converter without ranges does."""
    for tensor in list(proto.graph.initializer):
        replaced(proto, tensor.name, numpy_helper.to_array(tensor).astype(np.float16))
    first, last = proto.graph.node[0], proto.graph.node[-1]
    nodes = list(proto.graph.node)
    for each in nodes:
        for index, name in enumerate(each.input):
            each.input[index] = "x16" if name == "x" else name
    last.output[0] = "y16"
    del proto.graph.node[:]
    proto.graph.node.append(node("Cast", ["x"], ["x16"], "into", to=10))
    proto.graph.node.extend(nodes)
    proto.graph.node.append(node("Cast", ["y16"], ["y"], "back", to=1))
    assert first.input[0] == "x16"


CASES = {
    "transposed weight": (
        "block", "fp32", lambda p: replaced(p, "wo", np.ascontiguousarray(weights((16, 16), 2, 0.3).T)),
        "project", "other weight", "transposed",
    ),
    "swapped input": (
        "block", "fp32", lambda p: by_name(p, "residual").input.__setitem__(slice(2), ["x", "o"]), "residual",
        "swapped inputs", "another order",
    ),
    "another tensor": (
        "block", "fp32", lambda p: by_name(p, "residual").input.__setitem__(1, "a"), "residual", "swapped inputs", "'a'",
    ),
    "nan weight": (
        "block", "fp32", lambda p: replaced(p, "w1", np.full((16, 16), np.nan, np.float32)), "head", "bad weight", "NaN",
    ),
    "scale": ("block", "int8", lambda p: scale_times_10(p, "project"), "project", "bad scale", "of its range"),
    "cnn scale": ("cnn", "int8", lambda p: scale_times_10(p, "conv2"), "conv2", "bad scale", "of its range"),
    "cnn weight": (
        "cnn", "fp32", lambda p: replaced(p, "k2", weights((6, 4, 3, 3), 77, 0.3)), "conv2", "other weight", "another",
    ),
    "cnn transposed weight": (
        "energy", "fp32", lambda p: replaced(p, "w", np.ascontiguousarray(weights((4, 4), 8).T)), "head", "other weight",
        "transposed",
    ),
    "cnn swapped input": (
        "energy", "fp32", lambda p: by_name(p, "pool").input.__setitem__(0, "d"), "pool", "swapped inputs", "'d'",
    ),
    "cnn nan weight": (
        "energy", "fp32", lambda p: replaced(p, "k2", np.full((4, 4, 3, 3), np.nan, np.float32)), "second", "bad weight",
        "NaN",
    ),
    "wrong operator": (
        "cnn", "fp32", lambda p: setattr(by_name(p, "relu"), "op_type", "Tanh"), "relu", "other operators", "Tanh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_verify_fails_debug_names_the_node_and_the_reduced_model_fails(case, typed, tmp_path):
    name, precision, plant, culprit, cause, words = CASES[case]
    files = typed[name]
    broken = onnxfile.load(files[precision])
    plant(broken)
    path = tmp_path / "broken.onnx"
    onnx.save(broken, path)
    sound = debug(files["fp32"], files[precision], files["feed"])
    rule, bound = Rule("cosine", min=0.999), None
    if precision == "int8":
        rule, bound = Rule("sqnr", min=sound.output_db - 1), sound.output_db - 1

    assert not verify(files["fp32"], path, [files["feed"]], rule=rule).passed
    found = debug(files["fp32"], path, files["feed"], bound_db=bound, reduced=tmp_path / "reduced")

    worst = found.suspects[0]
    assert (worst.node, worst.cause) == (culprit, cause)
    assert words in worst.explanation
    assert found.first is not None
    if cause == "bad scale":
        assert found.advice[0].startswith(f"calibration: {{method: mse}}  # bad scales at {culprit}")
    reduced = onnxfile.load(tmp_path / "reduced" / "subject.onnx")
    assert len(reduced.graph.node) <= 10
    with np.load(tmp_path / "reduced" / "inputs" / "000.npz") as arrays:
        feed = dict(arrays)
    again = verify(
        tmp_path / "reduced" / "reference.onnx", tmp_path / "reduced" / "subject.onnx", [feed],
        rule=Rule("sqnr", min=found.bound_db),
    )  # fmt: skip
    assert not again.passed


LARGE = {
    "block": (block, "wo", weights((16, 16), 2, 0.3) * 800),
    "cnn": (energy_cnn, "k2", weights((4, 4, 3, 3), 6, 0.3) * 800),
}


@pytest.mark.parametrize("network", LARGE)
def test_an_overflowing_power_is_named_with_the_range(network, tmp_path):
    make, weight, value = LARGE[network]
    proto = make()
    replaced(proto, weight, value)
    half = onnx.ModelProto()
    half.CopyFrom(proto)
    all_in_half(half)
    right, wrong = save(proto, tmp_path / "a.onnx"), save(half, tmp_path / "b.onnx")
    feed = feed_of(proto)
    assert not verify(right, wrong, [feed], rule=Rule("cosine", min=0.9)).passed
    found = debug(right, wrong, feed, reduced=tmp_path / "reduced")
    worst = found.suspects[0]
    assert (worst.node, worst.cause) == ("square", "overflow")
    assert "beyond 65504, the largest that FP16 holds" in worst.explanation
    assert found.advice[0].startswith('precision_overrides: {"square": fp32}')
    assert len(onnxfile.load(tmp_path / "reduced" / "subject.onnx").graph.node) <= 10


def test_what_is_right_has_no_first_tensor_and_nothing_to_reduce(typed, tmp_path):
    files = typed["block"]
    found = debug(files["fp32"], files["fp32"], files["feed"], reduced=tmp_path / "reduced")
    assert (found.first, found.suspects, found.reduced) == (None, (), None)
    assert (found.output_db, found.output_cosine) == (999, pytest.approx(1))
    assert "nothing was reduced" in found.notes[-1]


def test_int8_without_a_fault_is_told_which_node_costs_most(typed):
    files = typed["cnn"]
    found = debug(files["fp32"], files["int8"], files["feed"])
    assert found.suspects
    assert found.advice[0].startswith("precision_overrides: {")
    assert found.suspects[0].healed_db > found.output_db


def test_a_small_budget_gives_the_same_figures(typed):
    files = typed["block"]
    whole = debug(files["fp32"], files["int8"], files["feed"])
    parts = debug(files["fp32"], files["int8"], files["feed"], budget_mb=0.001)
    assert parts == whole
