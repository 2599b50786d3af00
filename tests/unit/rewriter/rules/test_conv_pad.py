import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node, ops, tensor, weights
from rewriting import holds


def padded(
    pads=(0, 0, 1, 2, 0, 0, 3, 1), *, dims=2, value=None, mode=None, axes=None, opset=18, computed=(), outputs=("y",), size=6,
    batch="n", conv=None,
):  # fmt: skip
    """Pad and Conv; pads, value and axes are attributes where the opset has them so."""
    parameters = {"pads": np.array(pads), "k": weights((4, 2, *[3] * dims), 1, 0.3)}
    parameters |= {} if value is None else {"value": np.float32(value)}
    parameters |= {} if axes is None else {"axes": np.array(axes)}
    options = {"mode": mode} if mode else {}
    if opset < 11:
        options |= {"pads": list(pads)} | ({} if value is None else {"value": float(value)})
        first = node("Pad", ["x"], ["p"], "pad", **options)
    else:
        reads = ["x", "pads", "value" if value is not None else "", "axes" if axes is not None else ""]
        while not reads[-1]:
            reads.pop()
        first = node("Pad", reads, ["p"], "pad", **options)
    nodes = [first, node("Conv", ["p", "k"], ["y"], "conv", **(conv or {}))]
    used = {i for n in nodes for i in n.input}
    kinds = [tensor(c, list(parameters[c].shape), 7 if parameters[c].dtype == np.int64 else 1) for c in computed]
    kept = {k: v for k, v in parameters.items() if k in used and k not in computed}
    unknown = [None] * (dims + 2)
    inputs = [tensor("x", [batch, 2, *[size] * dims]), *kinds]
    return model(nodes, inputs, [tensor(o, unknown) for o in outputs], kept, opset=opset)


@settings(max_examples=30, deadline=None)
@given(
    dims=st.integers(1, 3),
    opset=st.sampled_from([10, 11, 13, 18, 21]),
    value=st.sampled_from([None, 0.0]),
    options=st.sampled_from(
        [
            {},
            {"auto_pad": "VALID"},
            {"strides": 2},
            {"dilations": 2},
            {"pads": True},
            {"auto_pad": "NOTSET", "pads": True},
        ]
    ),
    outputs=st.sampled_from([("y",), ("y", "p")]),
    data=st.data(),
)
def test_property(dims, opset, value, options, outputs, data):
    sizes = st.lists(st.integers(0, 3), min_size=dims, max_size=dims)
    begin, end = data.draw(sizes), data.draw(sizes)
    attributes = {k: [v] * dims if k in ("strides", "dilations") else v for k, v in options.items()}
    if "pads" in attributes:
        attributes["pads"] = data.draw(sizes) + data.draw(sizes)
    axes, pads = None, [0, 0, *begin, 0, 0, *end]
    if opset >= 18 and data.draw(st.booleans()):
        axes, pads = [2 + i if i % 2 else i - dims for i in range(dims)], begin + end
    proto = padded(
        pads,
        dims=dims,
        opset=opset,
        value=value,
        axes=axes,
        outputs=outputs,
        conv=attributes,
    )
    done = holds(proto, "conv_pad")
    assert done.ops == (["Pad", "Conv"] if "p" in outputs else ["Conv"])


def test_another_reader_keeps_the_pad():
    proto = padded()
    proto.graph.node.append(node("Relu", ["p"], ["z"]))
    proto.graph.output.append(tensor("z", [None] * 4))
    assert sorted(holds(proto, "conv_pad").ops) == ["Conv", "Pad", "Relu"]


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_another_mode_is_left_alone(mode):
    assert ops(holds(padded(mode=mode), "conv_pad").model) == ["Pad", "Conv"]


def test_a_value_that_is_computed_is_left_alone():
    assert ops(holds(padded(value=0, computed=("value",)), "conv_pad").model) == ["Pad", "Conv"]


GUARDS = {
    "it pads with something else than zeros": lambda: padded(value=1),
    "its pads are computed at run time": lambda: padded(axes=(2, 3), pads=(1, 1, 1, 1), computed=("pads",), batch=2),
    "it pads the batch or the channels": lambda: padded((1, 0, 0, 0, 0, 0, 0, 0)),
    "it cuts something off": lambda: padded((0, 0, -1, 0, 0, 0, 0, 0)),
    "the convolution's pads depend on the size": lambda: padded(conv={"auto_pad": "SAME_UPPER"}),
}
