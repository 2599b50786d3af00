"""Random ONNX graphs for hypothesis: pieces that rewrite rules look for, with the traps that rules fall into.

The traps: tensors inside a pattern that the graph hands out or that others read too, weights shared by several nodes,
constants whose shape fits more than one axis ([N, 1, 1, 1] with N = C), groups, axes of size 0 and 1, dynamic axes,
names that look like the rewriter's own, or like nothing one would write.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

HOSTILE = ["", "/", "x_folded", "x_folded_1", "Conv_const", "ü mlaut", "a b", "0", "_out", "y\n", "'", "%s{}", "con"]


class Builder:
    """A graph in the making; shapes are the sizes at hand, and ``batch`` marks axis 0 where it is dynamic."""

    def __init__(self, draw, opset, batch, dynamic):
        self.draw, self.opset, self.batch, self.dynamic = draw, opset, batch, dynamic
        self.nodes, self.inputs, self.weights, self.shapes = [], [], {}, {}
        self.random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.number = 0

    def name(self, word):
        self.number += 1
        odd = self.draw(st.sampled_from(HOSTILE)) if self.draw(st.integers(0, 9)) == 0 else ""
        return f"{odd}{word}{self.number}"

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    def chance(self, one_in):
        return self.draw(st.integers(1, one_in)) == 1

    def input(self, shape):
        name = self.name("in")
        dims = ["n", *shape[1:]] if self.dynamic else list(shape)
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        self.shapes[name] = tuple(shape)
        return name

    def weight(self, shape, low=None, kind=np.float32):
        """A new weight; now and then one that is there already."""
        shape = tuple(shape)
        same = [k for k, v in self.weights.items() if v.shape == shape and v.dtype == kind and low is None]
        if same and self.chance(4):
            return self.pick(*same)
        name = self.name("w")
        values = self.random.normal(size=shape).astype(kind)
        self.weights[name] = np.abs(values) + low if low is not None else values
        return name

    def fixed(self, values, kind=np.int64):
        name = self.name("c")
        self.weights[name] = np.asarray(values, kind)
        return name

    def add(self, op, reads, shape, outputs=1, **attributes):
        made = [self.name("t") for _ in range(outputs)]
        label = "" if self.chance(6) else self.name("n")
        self.nodes.append(helper.make_node(op, reads, made, label, **attributes))
        for name, size in zip(made, shape if outputs > 1 else [shape], strict=True):
            self.shapes[name] = tuple(size)
        return made if outputs > 1 else made[0]

    def scalar(self, value):
        return self.fixed(np.full(self.pick((), (1,), (1, 1)), value, np.float32), np.float32)

    def either(self, op, a, b, shape):
        return self.add(op, [a, b] if self.chance(2) else [b, a], shape)


def broadcast(b, shape):
    """A constant that does not make a tensor of that shape larger, along an axis that is not always the obvious one."""
    options = [(), (1,), shape[-1:], (1,) * len(shape)]
    for axis, size in enumerate(shape):
        if axis or not b.dynamic:
            options.append(tuple(size if i == axis else 1 for i in range(len(shape))))
            options.append(tuple(size if i == axis else 1 for i in range(axis, len(shape))))
    if len(shape) == 4:
        options.append((1, shape[1], 1, 1))
        options.append((shape[1], 1, 1))
    return b.weight(b.pick(*[o for o in options if math.prod(o) > 0 or 0 in shape]))


def conv(b, x):
    n, c, h, w = b.shapes[x]
    group = b.pick(1, 1, c) if c else 1
    m = group * b.pick(1, 2, 3)
    m = n if b.chance(4) and n and not n % group else m
    k = b.pick(1, 1, 2, 3)
    pads = [0, 0, 0, 0]
    if b.chance(3):
        front, back = b.pick(0, 1), b.pick(0, 1)
        value = b.pick(0.0, 0.0, 1.0)
        batch = b.pick(0, 0, 0, 1) if not b.dynamic else 0
        amounts = b.fixed([batch, 0, front, 0, 0, 0, 0, back])
        reads = [x, amounts, b.fixed(value, np.float32)] if value or b.chance(2) else [x, amounts]
        n, h, w = n + batch, h + front, w + back
        x = b.add(
            "Pad", reads, (n, c, h, w), mode=b.pick("constant", "constant", "edge") if min(h, w) > 1 else "constant"
        )
        pads = b.pick([0, 0, 0, 0], [1, 0, 0, 1])
    h2, w2 = h + pads[0] + pads[2] - k + 1, w + pads[1] + pads[3] - k + 1
    if min(h2, w2, c) < 1:
        return x
    reads = [x, b.weight((m, c // group, k, k))] + ([b.weight((m,))] if b.chance(2) else [])
    y = b.add("Conv", reads, (n, m, h2, w2), group=group, pads=pads)
    shape = (n, m, h2, w2)
    for _ in range(b.pick(0, 1, 2)):
        kind = b.pick("bn", "Mul", "Add", "Sub", "Div")
        if kind == "bn":
            y = b.add("BatchNormalization", [y, *(b.weight((m,)) for _ in range(3)), b.weight((m,), low=0.5)], shape)
        elif kind == "Div":
            y = b.add("Div", [y, b.weight(b.pick((m, 1, 1), (1, m, 1, 1), (1,)), low=0.5)], shape)
        elif kind == "Sub":
            y = b.either("Sub", y, broadcast(b, shape), shape)
        else:
            y = b.either(kind, y, broadcast(b, shape), shape)
    return y


def layer_norm(b, x):
    shape = b.shapes[x]
    if not shape[-1]:
        return x
    ones = (*shape[:-1], 1)

    def mean(t):
        if b.opset >= 18:
            return b.add("ReduceMean", [t, b.fixed([-1])], ones)
        return b.add("ReduceMean", [t], ones, axes=[b.pick(-1, len(shape) - 1)])

    centred = b.add("Sub", [x, mean(x)], shape)
    square = (
        b.add("Pow", [centred, b.scalar(b.pick(2.0, 2.0, 2.0, 3.0))], shape)
        if b.chance(2)
        else b.add("Mul", [centred, centred], shape)
    )
    shifted = b.either("Add", mean(square), b.scalar(b.pick(1e-5, 1e-2, 10.0)), ones)
    if b.nodes[-1].op_type == "Pow":
        return shifted
    root = b.add("Sqrt", [shifted], ones)
    y = b.add("Div", [centred, root], shape)
    if b.chance(2):
        y = b.either("Mul", y, broadcast(b, shape), shape)
    if b.chance(2):
        y = b.either("Add", y, broadcast(b, shape), shape)
    return y


def gelu(b, x):
    shape = b.shapes[x]
    inner = b.add("Div", [x, b.scalar(b.pick(math.sqrt(2), math.sqrt(2), 1.5))], shape)
    one = b.either("Add", b.add("Erf", [inner], shape), b.scalar(b.pick(1.0, 1.0, 2.0)), shape)
    if b.chance(2):
        return b.either("Mul", b.either("Mul", x, one, shape), b.scalar(0.5), shape)
    return b.either("Mul", b.either("Mul", x, b.scalar(0.5), shape), one, shape)


def silu(b, x):
    shape = b.shapes[x]
    return b.either("Mul", x, b.add("Sigmoid", [x], shape), shape)


def siblings(b, x):
    """Products of one tensor with several weights, as queries, keys and values are made."""
    *lead, d = b.shapes[x]
    if not d:
        return x
    made = []
    for _ in range(b.pick(1, 2, 3)):
        width = b.pick(d, d, 2)
        y = b.add("MatMul", [x, b.weight((d, width))], (*lead, width))
        if b.chance(2):
            y = b.either("Add", y, b.weight((width,)), (*lead, width))
        made.append(y)
    total = sum(b.shapes[y][-1] for y in made)
    return b.add("Concat", made, (*lead, total), axis=-1) if len(made) > 1 and b.chance(2) else made[-1]


def attention(b, x):
    shape = b.shapes[x]
    if len(shape) != 3 or not all(shape[1:]):
        return x
    n, s, d = shape
    h = b.pick(*[k for k in (1, 2) if d % k == 0])
    dims = [0, 0, h, d // h]
    parts = []
    for _ in range(3):
        y = b.add("MatMul", [x, b.weight((d, d))], shape)
        y = b.add("Reshape", [y, b.fixed(dims)], (n, s, h, d // h)) if n else y
        parts.append(y)
    if not n:
        return parts[0]
    q, v = (b.add("Transpose", [t], (n, h, s, d // h), perm=[0, 2, 1, 3]) for t in (parts[0], parts[2]))
    k = b.add("Transpose", [parts[1]], (n, h, d // h, s), perm=[0, 2, 3, 1])
    scale = b.scalar(1 / math.sqrt(d // h))
    if b.chance(2):
        q = b.either("Mul", q, scale, (n, h, s, d // h))
        k = b.either("Mul", k, scale, (n, h, d // h, s)) if b.chance(2) else k
    scores = b.add("MatMul", [q, k], (n, h, s, s))
    if b.chance(3):
        scores = b.add(b.pick("Mul", "Div"), [scores, scale], (n, h, s, s))
    if b.chance(2):
        mask = b.fixed(np.tril(np.ones((1, 1, s, s))), bool)
        if b.chance(2):
            scores = b.add("Where", [mask, scores, b.scalar(b.pick(-1e9, -np.inf, -10000.0))], (n, h, s, s))
        else:
            scores = b.either("Add", scores, b.weight(b.pick((1, 1, s, s), (s, s), (h, 1, 1))), (n, h, s, s))
    p = b.add("Softmax", [scores], (n, h, s, s), axis=b.pick(-1, -1, 3, 2))
    y = b.add("MatMul", [p, v], (n, h, s, d // h))
    y = b.add("Transpose", [y], (n, s, h, d // h), perm=[0, 2, 1, 3])
    return b.add("Reshape", [y, b.fixed([0, 0, d])], shape)


def reshape(b, x):
    shape = b.shapes[x]
    kind = b.pick("Transpose", "Flatten", "Unsqueeze", "Identity", "Cast", "Dropout", "Slice")
    if kind == "Transpose" and len(shape) > 2:
        order = [0, *b.draw(st.permutations(range(1, len(shape))))]
        return b.add("Transpose", [x], tuple(shape[i] for i in order), perm=order)
    if kind == "Flatten":
        return b.add("Flatten", [x], (shape[0], math.prod(shape[1:])), axis=1)
    if kind == "Unsqueeze" and len(shape) < 4:
        return b.add("Unsqueeze", [x, b.fixed([1])], (shape[0], 1, *shape[1:]))
    if kind == "Cast":
        wide = b.add("Cast", [x], shape, to=TensorProto.DOUBLE)
        return b.add("Cast", [wide], shape, to=TensorProto.FLOAT)
    if kind == "Slice" and shape[-1] > 1:
        return b.add("Slice", [x, b.fixed([0]), b.fixed([shape[-1] - 1]), b.fixed([-1])], (*shape[:-1], shape[-1] - 1))
    return b.add(kind if kind in ("Identity", "Dropout") else "Identity", [x], shape)


def pool(b, x):
    n, c, h, w = b.shapes[x]
    if min(h, w) < 1:
        return x
    if b.chance(2):
        return b.add("AveragePool", [x], (n, c, 1, 1), kernel_shape=[h, w])
    pads = b.pick([0, 0, 0, 0], [0, 0, 1, 1])
    k = b.pick(1, min(h, w))
    size = [h + pads[2] - k + 1, w + pads[3] - k + 1]
    return (
        b.add("AveragePool", [x], (n, c, *size), kernel_shape=[k, k], pads=pads if k > 1 else [0, 0, 0, 0])
        if (k > 1 or not any(pads))
        else x
    )


def elementwise(b, x):
    shape = b.shapes[x]
    kind = b.pick("Relu", "Neg", "Sigmoid", "Tanh", "Mul", "Add", "other", "shape")
    if kind == "other":
        same = [t for t, s in b.shapes.items() if s == shape]
        return b.either(b.pick("Add", "Mul"), x, b.pick(*same), shape)
    if kind == "shape":
        sizes = b.add("Shape", [x], (len(shape),))
        return b.add("Reshape", [x, sizes], shape)
    if kind in ("Mul", "Add"):
        return b.either(kind, x, broadcast(b, shape), shape)
    return b.add(kind, [x], shape)


def branch(b, x):
    """An If that reads the tensor, and a weight, from outside."""
    shape = b.shapes[x]
    w = b.weight(b.pick((1,), shape[-1:]))
    branches = {}
    for word, op in (("then_branch", "Add"), ("else_branch", "Mul")):
        inside, out = b.name("i"), b.name("o")
        nodes = [helper.make_node(op, [x, w], [inside], b.name("n")), helper.make_node("Relu", [inside], [out], "")]
        branches[word] = helper.make_graph(
            nodes, word, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, [None] * len(shape))]
        )
    total = b.add("ReduceSum", [x], (), keepdims=0)
    condition = b.add("Greater", [total, b.scalar(0.0)], ())
    if b.weights[b.nodes[-1].input[1]].ndim:
        condition = b.add("Reshape", [condition, b.fixed(np.zeros(0))], ())
    return b.add("If", [condition], shape, **branches)


ANY = (layer_norm, gelu, silu, siblings, attention, reshape, elementwise, elementwise, branch)
PLANES = (conv, conv, conv, pool)


@st.composite
def graphs(draw):
    """A model and the size of its dynamic axis ``n`` to run it at; the model's values are seeded."""
    opset = draw(st.sampled_from([17, 18, 20, 21, 23]))
    batch = draw(st.sampled_from([1, 2, 3, 2, 3, 0]))
    b = Builder(draw, opset, batch, dynamic=draw(st.booleans()))
    c = b.pick(1, 2, 3, 4, batch or 1)
    shape = b.pick((batch, c, 4, 5), (batch, c, 3, 3), (batch, 3, 4), (batch, 4))
    x = b.input(shape)
    for _ in range(draw(st.integers(1, 6))):
        choices = (*ANY, *(PLANES * 2 if len(b.shapes[x]) == 4 else ()))
        x = b.pick(*choices)(b, x)
        if len(b.shapes) > 2 and b.chance(5):  # go on from an earlier tensor: a second branch
            x = b.pick(*[t for t, s in b.shapes.items() if s and s[:1] == (batch,)] or [x])
    made = [t for node in b.nodes for t in node.output if b.shapes[t] and b.shapes[t][:1] == (batch,)]
    handed = list(dict.fromkeys([*made[-1:], *(t for t in made if b.chance(8))])) or [x]
    if handed == [x] and x not in made:
        handed = [b.add("Identity", [x], b.shapes[x])]
    floats = dict.fromkeys(handed, TensorProto.FLOAT)
    for node in b.nodes:
        if node.op_type == "Cast" and node.output[0] in floats:
            floats[node.output[0]] = node.attribute[0].i
        if node.op_type == "Shape" and node.output[0] in floats:
            floats[node.output[0]] = TensorProto.INT64
        if node.op_type == "Greater" and node.output[0] in floats:
            floats[node.output[0]] = TensorProto.BOOL
    dims = {t: ["n", *b.shapes[t][1:]] if b.dynamic and floats[t] != TensorProto.INT64 else b.shapes[t] for t in handed}
    outputs = [helper.make_tensor_value_info(t, kind, dims[t]) for t, kind in floats.items()]
    read = {name for node in b.nodes for name in _reads(node)}
    weights = [numpy_helper.from_array(v, k) for k, v in b.weights.items() if k in read]
    graph = helper.make_graph(b.nodes, "g", b.inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), batch


def _reads(node: onnx.NodeProto):
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)
