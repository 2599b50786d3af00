import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor, weights
from rewriting import apply, holds

FORMS = ("div", "reciprocal", "one over", "power", "negative power", "scaled first")


def primitives(
    shape=("n", 3, 8),
    axes=(-1,),
    *,
    second=None,
    form="div",
    square="pow",
    gamma=(8,),
    beta=(8,),
    swapped=False,
    opset=17,
    outputs=("y",),
    island=False,
    kind=np.float32,
):
    """LayerNorm as exporters write it; ``second`` are the axes of the second mean where they differ."""
    inner = "x32" if island else "x"
    work = np.float32 if island else kind
    parameters = {"two": work(2), "eps": work(1e-5), "half": work(0.5), "minus": work(-0.5), "one": work(1)}
    nodes = [node("Cast", ["x"], ["x32"], to=TensorProto.FLOAT)] if island else []

    def average(source, result, over):
        if opset < 18:
            return node("ReduceMean", [source], [result], axes=list(over))
        parameters[f"axes_{result}"] = np.array(over)
        return node("ReduceMean", [source, f"axes_{result}"], [result])

    nodes += [average(inner, "m", axes), node("Sub", [inner, "m"], ["d"])]
    again = node("Cast", ["d"], ["d2"], to=TensorProto.FLOAT)
    nodes += [node("Pow", ["d", "two"], ["s"])] if square == "pow" else [node("Mul", ["d", "d"], ["s"])]
    nodes += [average("s", "v", second or axes), node("Add", ["eps", "v"] if swapped else ["v", "eps"], ["ve"])]
    if form in ("power", "negative power"):
        nodes.append(node("Pow", ["ve", "half" if form == "power" else "minus"], ["r"]))
    else:
        nodes.append(node("Sqrt", ["ve"], ["r"]))
    if form == "reciprocal":
        nodes += [node("Reciprocal", ["r"], ["i"]), node("Mul", ["d", "i"], ["norm"])]
    elif form == "one over":
        nodes += [again, node("Div", ["one", "r"], ["i"]), node("Mul", ["i", "d2"], ["norm"])]
    elif form == "negative power":
        nodes.append(node("Mul", ["r", "d"], ["norm"]))
    elif form == "scaled first":
        parameters["first"] = weights((8,), 9).astype(work)
        nodes += [node("Mul", ["first", "d"], ["g0"]), node("Div", ["g0", "r"], ["norm"])]
    else:
        nodes.append(node("Div", ["d", "r"], ["norm"], "divide"))
    last = "norm"
    if island:
        nodes.append(node("Cast", [last], ["low"], to=TensorProto.FLOAT16))
        last = "low"
    for word, op, size in (("gamma", "Mul", gamma), ("beta", "Add", beta)):
        if size is not None:
            parameters[word] = weights(size, 5).astype(np.float16 if island else kind)
            nodes.append(node(op, [word, last] if swapped else [last, word], [f"with_{word}"]))
            last = f"with_{word}"
    nodes.append(node("Neg", [last], ["y"]))
    low = TensorProto.FLOAT16 if island or kind is np.float16 else TensorProto.FLOAT
    kinds = {"m": [*shape[:2], 1], "s": list(shape)}
    results = [tensor(o, kinds.get(o, list(shape)), low) for o in outputs]
    used = {i for n in nodes for i in n.input}
    return model(
        nodes, [tensor("x", list(shape), low)], results, {k: v for k, v in parameters.items() if k in used}, opset=opset
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_one_operator_with_its_scale_and_bias(form):
    done = holds(primitives(form=form), "layer_norm", "norm_scale")
    assert done.ops == ["LayerNormalization", "Neg"]
    assert len(done.model.graph.node[0].input) == 3


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from([("n", 3, 8), (2, 8), ("n", "m", 5, 8), (8,)]),
    count=st.integers(1, 2),
    form=st.sampled_from(FORMS),
    square=st.sampled_from(["pow", "mul"]),
    gamma=st.sampled_from([None, (8,), (1,), ()]),
    beta=st.sampled_from([None, (8,), (1, 8), ()]),
    swapped=st.booleans(),
    positive=st.booleans(),
    opset=st.sampled_from([17, 18, 20, 23]),
    outputs=st.sampled_from([("y",), ("y", "s")]),
)
def test_property(shape, count, form, square, gamma, beta, swapped, positive, opset, outputs):
    rank = len(shape)
    count = min(count, rank)
    if rank == 1 and beta == (1, 8):
        beta = (8,)
    axes = tuple(range(rank - count, rank)) if positive else tuple(range(-count, 0))
    proto = primitives(
        shape, axes, form=form, square=square, gamma=gamma, beta=beta, swapped=swapped, opset=opset, outputs=outputs
    )
    done = holds(proto, "layer_norm", "norm_scale")
    known = all(isinstance(d, int) for d in shape[rank - count :])
    assert ("LayerNormalization" in done.ops) == known, done.reasons


def test_a_cast_island_keeps_its_casts():
    done = holds(primitives(island=True), "layer_norm", "norm_scale")
    assert done.ops == ["Cast", "LayerNormalization", "Cast", "Mul", "Add", "Neg"]


@pytest.mark.parametrize("outputs", [("y", "m"), ("y", "s"), ("y", "norm")])
def test_a_part_that_is_read_elsewhere_stays(outputs):
    done = holds(primitives(outputs=outputs), "layer_norm")
    assert "LayerNormalization" in done.ops


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("over", [-1, 1])
def test_an_rms_norm_of_what_is_centred_is_a_layer_norm(axis, over):
    nodes = [
        node("ReduceMean", ["x", "axes"], ["m"]),
        node("Sub", ["x", "m"], ["d"]),
        node("RMSNormalization", ["d", "scale"], ["z"], axis=axis, epsilon=1e-3),
        node("Add", ["z", "bias"], ["y"]),
    ]
    parameters = {"axes": np.array([over]), "scale": weights(8, 1), "bias": weights(8, 2)}
    done = holds(
        model(nodes, [("x", ["n", 3, 8])], [("y", ["n", 3, 8])], parameters, opset=23), "layer_norm", "norm_scale"
    )
    assert ("LayerNormalization" in done.ops) == (over == -1)


def test_what_it_covers_is_told():
    (edit,) = apply(primitives(), "layer_norm").done.applied
    assert edit.node == "divide"
    assert len(edit.covers) == 6
    assert edit.made == ("divide_LayerNormalization",)


@pytest.mark.parametrize("change", ["product", "keepdims", "other"])
def test_something_else_is_left_alone(change):
    proto = primitives(gamma=None, beta=None)
    made = {n.output[0]: n for n in proto.graph.node}
    if change == "product":
        made["norm"].op_type = "Mul"
    elif change == "keepdims":
        proto = primitives((8, 8), (-1,), gamma=None, beta=None)
        next(n for n in proto.graph.node if n.output[0] == "v").attribute.append(
            node("x", [], ["o"], keepdims=0).attribute[0]
        )
    else:
        made["d"].input[0] = "m"
        made["d"].input[1] = "x"
    assert holds(proto, "layer_norm").done.applied == ()


def as_fp16(proto, x):
    """The output computed as TensorRT does in FP16: every operator in that type, LayerNormalization inside in FP32."""
    from onnx import numpy_helper

    low = np.float16
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    values = {k: v.astype(low) if v.dtype.kind == "f" else v for k, v in values.items()} | {"x": x.astype(low)}
    plain = {
        "Sub": np.subtract, "Add": np.add, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Sqrt": np.sqrt,
        "Neg": np.negative, "Reciprocal": np.reciprocal,
    }  # fmt: skip
    for each in proto.graph.node:
        read = [values[i] for i in each.input]
        options = {a.name: a for a in each.attribute}
        if each.op_type == "ReduceMean":
            result = read[0].mean(tuple(options["axes"].ints), dtype=np.float32, keepdims=True)
        elif each.op_type == "LayerNormalization":
            assert options["axis"].i == -1
            wide = read[0].astype(np.float32)
            d = wide - wide.mean(-1, keepdims=True)
            result = d / np.sqrt((d * d).mean(-1, keepdims=True) + options["epsilon"].f) * read[1]
        else:
            result = plain[each.op_type](*read)
        values[each.output[0]] = np.asarray(result).astype(low)
    return values["y"].astype(np.float64)


@pytest.mark.parametrize("deviation", [100, 300])
def test_at_a_large_deviation_fp16_is_right_after_the_rewrite_and_zero_before(deviation):
    proto = primitives((4, 3, 768), gamma=(768,), beta=None)
    after = apply(proto, "layer_norm", "norm_scale").model
    x = np.random.default_rng(0).normal(size=(4, 3, 768)) * deviation
    d = x - x.mean(-1, keepdims=True)
    exact = -d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * weights(768, 5)
    with np.errstate(over="ignore"):
        before, now = as_fp16(proto, x), as_fp16(after, x)
    assert (before == 0).all()
    assert np.abs(now - exact).max() < 2e-3 * np.abs(exact).max()


GUARDS = {
    "the two means are taken over different axes": lambda: primitives(second=(-2, -1)),
    "it normalises over axes that are not the last": lambda: primitives(axes=(1,)),
    "LayerNormalization came with opset 17": lambda: primitives(opset=13),
    "the size of a normalised axis is not known": lambda: primitives(("n", 3, "c"), gamma=None, beta=None),
}
