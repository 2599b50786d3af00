import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor, weights
from rewriting import apply, holds

FORMS = ("reciprocal", "one over", "negative power", "div")


def primitives(
    shape=("n", 3, 8), axes=(-1,), *, form="reciprocal", square="pow", weight=(8,), swapped=False, low=False, opset=23,
    outputs=("y",), product=False,
):  # fmt: skip
    """RMSNorm as Llama (``low``: in FP16, with Casts around the FP32 part) and T5 write it; x may be a product."""
    parameters = {"two": np.float32(2), "eps": np.float32(1e-6), "minus": np.float32(-0.5), "one": np.float32(1)}
    nodes = [node("Mul", ["in", "in"] if product else ["in", "one"], ["x"])] if product else []
    first = "x" if product else "in"
    x = again = first
    if low:  # exporters cast twice: the square's operand and the product's
        nodes += [node("Cast", [first], [f"x{i}"], to=TensorProto.FLOAT) for i in (1, 2)]
        x, again = "x1", "x2"
    nodes += [node("Pow", [x, "two"], ["s"])] if square == "pow" else [node("Mul", [x, x], ["s"])]
    if opset < 18:
        nodes.append(node("ReduceMean", ["s"], ["v"], axes=list(axes)))
    else:
        parameters["axes"] = np.array(axes)
        nodes.append(node("ReduceMean", ["s", "axes"], ["v"]))
    nodes.append(node("Add", ["eps", "v"] if swapped else ["v", "eps"], ["ve"]))
    if form == "negative power":
        nodes.append(node("Pow", ["ve", "minus"], ["i"]))
    else:
        nodes.append(node("Sqrt", ["ve"], ["r"]))
    if form == "reciprocal":
        nodes.append(node("Reciprocal", ["r"], ["i"]))
    if form == "one over":
        nodes.append(node("Div", ["one", "r"], ["i"]))
    if form == "div":
        nodes.append(node("Div", [again, "r"], ["norm"], "last"))
    else:
        nodes.append(node("Mul", ["i", again] if swapped else [again, "i"], ["norm"], "last"))
    last = "norm"
    if low:
        nodes.append(node("Cast", ["norm"], ["h"], to=TensorProto.FLOAT16))
        last = "h"
    if weight is not None:
        parameters["weight"] = weights(weight, 3).astype(np.float16 if low else np.float32)
        nodes.append(node("Mul", ["weight", last] if swapped else [last, "weight"], ["scaled"]))
        last = "scaled"
    nodes.append(node("Neg", [last], ["y"]))
    kind = TensorProto.FLOAT16 if low else TensorProto.FLOAT
    used = {i for n in nodes for i in n.input}
    results = [tensor(o, list(shape), TensorProto.FLOAT if o == "norm" else kind) for o in outputs]
    kept = {k: v for k, v in parameters.items() if k in used}
    return model(nodes, [tensor("in", list(shape), kind)], results, kept, opset=opset)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([("n", 3, 8), (2, 8), ("n", "m", 5, 8), (8,)]),
    count=st.integers(1, 2),
    form=st.sampled_from(FORMS),
    square=st.sampled_from(["pow", "mul"]),
    weight=st.sampled_from([None, (8,), (1,), ()]),
    swapped=st.booleans(),
    positive=st.booleans(),
    outputs=st.sampled_from([("y",), ("y", "norm")]),
    product=st.booleans(),
)
def test_property(shape, count, form, square, weight, swapped, positive, outputs, product):
    rank = len(shape)
    count = min(count, rank)
    axes = tuple(range(rank - count, rank)) if positive else tuple(range(-count, 0))
    proto = primitives(
        shape, axes, form=form, square=square, weight=weight, swapped=swapped, outputs=outputs, product=product
    )
    done = holds(proto, "rms_norm", "norm_scale")
    known = all(isinstance(d, int) for d in shape[rank - count :])
    assert ("RMSNormalization" in done.ops) == known, done.reasons


@pytest.mark.parametrize("form", FORMS)
def test_the_half_precision_form_keeps_the_casts_around_it(form):
    done = holds(primitives(form=form, low=True), "rms_norm")
    assert done.ops == ["Cast", "RMSNormalization", "Cast", "Mul", "Neg"]


def test_a_centred_tensor_is_a_layer_norm():
    proto = primitives(("n", 8))
    proto.graph.node.insert(0, node("ReduceMean", ["x0", "axes"], ["m"]))
    proto.graph.node.insert(1, node("Sub", ["x0", "m"], ["in"]))
    proto.graph.input[0].name = "x0"
    done = holds(proto, "rms_norm", "layer_norm", "norm_scale")
    assert done.ops == ["LayerNormalization", "Neg"]


def test_a_norm_is_declined_once():
    assert [d.node for d in apply(primitives(opset=20), "rms_norm").done.declined] == ["last"]


def test_a_power_other_than_two_is_left_alone():
    proto = primitives()
    next(t for t in proto.graph.initializer if t.name == "two").CopyFrom(
        model([], [], [], {"two": np.float32(4)}).graph.initializer[0]
    )
    assert holds(proto, "rms_norm").done.applied == ()


GUARDS = {
    "RMSNormalization came with opset 23": lambda: primitives(opset=20),
    "it normalises over axes that are not the last": lambda: primitives(axes=(1,)),
    "the size of a normalised axis is not known": lambda: primitives(("n", 3, "c"), weight=None),
}
