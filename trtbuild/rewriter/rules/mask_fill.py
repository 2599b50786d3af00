"""Scores to which 0 or -inf is added are filled with -inf where the mask says so.

Exporters turn a mask into Where(mask, 0, -inf) and add that. TensorRT-RTX then counts and gathers what is not masked
before it begins, in seven kernels more (TorchScript exports, FP16 kernels: bert 29 become 22, minilm 62 become 55); a
Where of the scores goes into the attention's kernel. Nor is the lowest number added to a score in FP16, where the sum
may be -inf. Where the numbers of kernels were equal before, they stay so.

Algebra: s + 0 = s and s - inf = -inf, for a score s that is finite. The lowest finite number takes in what is added to
it: s + lowest = lowest for |s| < 2^102 in FP32. Axes: Where is broadcast as Add is.

ONNX: Add 7 to 14, Where 9 to 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Add",)
AFTER = ("constant_nodes", "where_not", "attention_op")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Fills where the mask was added."""
    for scores, mask in (tuple(node.inputs), tuple(reversed(node.inputs))):
        choice = graph.producer(mask, "Where")
        masked = None if choice is None else _masked_branch(choice, graph)
        if choice is not None and masked is not None and not graph.is_constant(scores):
            return _fill(node, scores, choice, masked, graph)
    return None


def _fill(node: Any, scores: Any, choice: Any, masked: int, graph: GraphView) -> Edit:
    condition, lowest, zero = choice.inputs[0], choice.inputs[masked], choice.inputs[3 - masked]
    graph.prefer(graph.only_reader(node.outputs[0], "Softmax") is not None, "it is no Softmax that reads the sum")
    ranks = [graph.rank(t) for t in (condition, scores, lowest)]
    graph.need(len(zero.shape) <= max(r or 0 for r in ranks), "the zero adds an axis, or the ranks are not known")
    branches = (scores, lowest) if masked == 2 else (lowest, scores)

    def fill() -> None:
        graph.substitute(node, graph.insert("Where", condition, *branches, at=node, name="filled"))

    return Edit(f"filled where {choice.name} asks for it", fill)


def _masked_branch(choice: Any, graph: GraphView) -> int | None:
    """Which input of a Where is -inf or the lowest number, the other one being 0; None where they are not."""
    first, second = (graph.scalar(t) for t in choice.inputs[1:3])
    kind = graph.dtype(choice.inputs[1])
    if first is None or second is None or kind is None or not np.issubdtype(kind, np.floating):
        return None
    lowest = float(np.finfo(kind).min)
    return 2 if first == 0 and second <= lowest else 1 if second == 0 and first <= lowest else None
