"""Reshape, InstanceNormalization, Reshape back becomes GroupNormalization.

That is how torch's exporters write GroupNorm below opset 21.

Algebra: x of shape [N, C, d...] seen as [N, G, rest] and normalised over the rest is x normalised over C / G channels
and d...; the rule ``norm_scale`` takes up the factor and the bias that follow.
Axes: InstanceNormalization's scale and bias have an entry a group, [G]; repeated C / G times they have one a channel,
[C].

ONNX: GroupNormalization 21 (the one of opset 18 takes a scale by group and is deprecated); Reshape 5 to 24,
InstanceNormalization 6 to 22.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Dim, Edit, GraphView

OPS = ("Reshape",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Puts the operator in the place of the three that end in the node."""
    norm = graph.producer(node.inputs[0], "InstanceNormalization")
    split = graph.producer(norm.inputs[0], "Reshape") if norm is not None else None
    if norm is None or split is None:
        return None
    x, grouped = split.inputs[0], graph.shape(split.outputs[0])
    shape = graph.shape(x)
    if shape is None or grouped is None or len(shape) < 3 or not isinstance(shape[1], int):
        return None
    channels, groups = shape[1], grouped[1]
    if not isinstance(groups, int):
        return None
    graph.need(_same_batch(shape, grouped), "the first Reshape changes the batch")
    graph.need(channels % groups == 0, "a group ends inside a channel")
    graph.need(_goes_back(graph, node, x), "the second Reshape does not bring the shape back")
    graph.need(all(graph.is_constant(t) for t in norm.inputs[1:3]), "its scale is computed at run time")
    graph.need(graph.opset >= 21, "GroupNormalization by channel came with opset 21")

    def replace() -> None:
        scale, bias = (np.repeat(graph.weight(t), channels // groups) for t in norm.inputs[1:3])
        attributes = {"num_groups": groups, "epsilon": norm.attrs.get("epsilon", 1e-5)}
        made = graph.insert("GroupNormalization", x, scale, bias, at=node, attrs=attributes)
        graph.substitute(node, made)

    return Edit(f"GroupNormalization of {groups} groups", replace, (split.name, norm.name))


def _goes_back(graph: GraphView, node: Any, x: Any) -> bool:
    """Whether a Reshape gives its result the shape of ``x``."""
    taken = graph.producer(node.inputs[1], "Shape")
    if taken is not None and taken.inputs[0] is x and not {"start", "end"} & {k for k, v in taken.attrs.items() if v}:
        return True
    after, before = graph.shape(node.outputs[0]), graph.shape(x)
    if after is None or before is None or len(after) != len(before):
        return False
    differ = [pair for pair in zip(after, before, strict=True) if pair[0] is None or pair[0] != pair[1]]
    return len(differ) <= 1  # both have the same number of elements, so one axis follows from the others


def _same_batch(shape: tuple[Dim, ...], grouped: tuple[Dim, ...]) -> bool:
    if shape[0] is not None and shape[0] == grouped[0]:
        return True
    rest = [d for d in (*shape[1:], *grouped[1:]) if isinstance(d, int)]
    known = len(rest) == len(shape) + len(grouped) - 2
    return known and math.prod(rest[: len(shape) - 1]) == math.prod(rest[len(shape) - 1 :])
