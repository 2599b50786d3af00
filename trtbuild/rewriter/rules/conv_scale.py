"""A constant factor or addend after a convolution is folded into its weights and bias.

Before Q/DQ are placed: none must stand between the two, and the scales of the weights are taken from what is computed.

Algebra: (W * x + b) f = (f W) * x + f b and (W * x + b) + a = W * x + (b + a), taken in float64; a division is a
factor, a subtraction an addend, c - (W * x + b) has the factor -1.
Axes: f and a are vectors [M] along axis 1 of the result, aligned as broadcasting does it: a [N, 1, 1, 1] is none, not
even where N is M. Conv weights are [M, C/group, k...]; ConvTranspose weights are [C, M/group, k...], seen as
[group, C/group, M/group, k...].

ONNX: Conv 1 to 22, ConvTranspose 1 to 22, Mul, Div, Add, Sub 7 to 14.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Mul", "Div", "Add", "Sub")
AFTER = ("constant_nodes", "conv_batchnorm")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Folds the node into the convolution that feeds it."""
    operands = graph.with_constant(node)
    conv = graph.producer(operands[0], "Conv", "ConvTranspose") if operands else None
    if operands is None or conv is None or (node.op == "Div" and graph.is_constant(node.inputs[0])):
        return None
    tensor, constant = operands
    graph.need(graph.sole_use(tensor), "another node reads the convolution's result")
    graph.need(all(graph.is_constant(t) for t in conv.inputs[1:] if t.name), "a weight is computed at run time")
    vector = graph.along_axis(constant, 1, tensor)
    graph.need(vector is not None, "the constant varies along another axis, or the shape is not known")
    weight = graph.weight(conv.inputs[1])
    factor, addend = _factor_and_addend(node, graph, vector)
    has_bias = len(conv.inputs) > 2 and bool(conv.inputs[2].name)
    old = graph.weight(conv.inputs[2]).astype(np.float64) if has_bias else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        new_weight = (
            (_by_output(weight, conv) * _along(factor, weight, conv)).reshape(weight.shape).astype(weight.dtype)
        )
        new_bias = (old * factor + addend).astype(weight.dtype)
    finite = np.isfinite(new_weight).all() and np.isfinite(new_bias).all()
    graph.need(finite, "it divides by zero, or the weights would leave their type's range")

    def fold() -> None:
        name = conv.inputs[1].name
        weights = [graph.new_constant(f"{name}_scaled", new_weight)] if node.op in ("Mul", "Div", "Sub") else []
        weights = weights or [conv.inputs[1]]
        bias = [graph.new_constant(f"{name}_scaled_bias", new_bias)] if has_bias or addend.any() else []
        conv.inputs = [conv.inputs[0], *weights, *bias]
        graph.absorb(node, conv)

    return Edit(f"folded into {conv.name}", fold)


def _factor_and_addend(node: Any, graph: GraphView, vector: Any) -> tuple[Any, Any]:
    """The node as ``factor * y + addend``."""
    vector = vector.astype(np.float64)
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if node.op == "Sub":
        return (-one, vector) if graph.is_constant(node.inputs[0]) else (one, -vector)
    if node.op == "Div":
        with np.errstate(divide="ignore"):
            return one / vector, zero
    return (vector, zero) if node.op == "Mul" else (one, vector)


def _by_output(weight: Any, conv: Any) -> Any:
    """The weights in float64, output channels on an axis, or with the groups on two, of their own."""
    wide = weight.astype(np.float64)
    if conv.op == "Conv":
        return wide
    group = conv.attrs.get("group", 1)
    return wide.reshape(group, weight.shape[0] // group, *weight.shape[1:])


def _along(factor: Any, weight: Any, conv: Any) -> Any:
    """The factor where ``_by_output`` has the output channels."""
    kernel = [1] * (weight.ndim - 2)
    if conv.op == "Conv":
        return factor.reshape(-1, 1, *kernel)
    return factor.reshape(conv.attrs.get("group", 1), 1, -1, *kernel)
