"""The factor on an attention's keys or scores goes to queries that have one already, or that another product reads.

TensorRT-RTX runs products of one tensor as one: the queries with the keys, and with DeBERTa's relative positions. The
scores then come out of a part of a larger product, and the attention is no fused kernel any more. Whether it does so
hangs on the order of the nodes; queries with a factor of their own are another tensor in every order. DeBERTa-v2 of two
layers, FP16 kernels: 39 become 30, and 0 fused attentions 2. Without another product nothing is won.

Algebra: Q (c K)' = c (Q K') = (c Q) K', for one number c. Axes: those of Q; c adds none.

ONNX: MatMul 1 to 13, Mul and Div 7 to 14, Transpose 1 to 25.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPS = ("MatMul",)
AFTER = ("constant_nodes", "attention_op", "qkv_heads")


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Brings the factor of a product to its first operand."""
    query, key = node.inputs
    if graph.is_constant(query) or graph.is_constant(key):
        return None
    own = _own_factor(query, graph)
    if own is None and not _shared(query, node, graph):
        return None
    turns, turned = _before_turns(key, graph)
    on_keys, on_scores = graph.producer(turned, "Mul", "Div"), graph.only_reader(node.outputs[0], "Mul", "Div")
    step = on_keys if _operands(on_keys, graph) else on_scores
    operands = _operands(step, graph)
    if step is None or operands is None:
        return None
    tensor, constant = operands
    rank = graph.rank(tensor)
    graph.need(constant.size == 1, "the factor is more than one number")
    graph.need(rank is not None and constant.ndim <= rank, "the factor adds an axis, or the rank is not known")
    graph.need(np.issubdtype(constant.dtype, np.floating), "a quotient of integers is cut off")
    between = () if step is on_scores else (step, *turns)
    graph.prefer(all(graph.sole_use(n.outputs[0]) for n in between), "another node reads the keys with their factor")

    def move() -> None:
        bare, before = (query, 1.0) if own is None else own
        factor = np.array(before * _factor(step, constant), constant.dtype)
        queries = graph.insert("Mul", bare, factor, at=step, name="of_queries")
        keys = key if step is on_scores else tensor
        for turn in between[1:]:
            keys = graph.insert("Transpose", keys, at=turn, attrs=dict(turn.attrs))
        graph.substitute(step if step is on_scores else node, graph.insert("MatMul", queries, keys, at=node))

    return Edit(f"the factor of {step.name} goes to the first operand", move, (step.name,))


def _operands(step: Any, graph: GraphView) -> tuple[Any, NDArray[Any]] | None:
    """The tensor and the constant of a Mul or Div; None where it divides a constant, or divides by zero."""
    found = None if step is None else graph.with_constant(step)
    if found is not None and step.op == "Div" and (graph.is_constant(step.inputs[0]) or not found[1].all()):
        return None
    return found


def _factor(step: Any, constant: NDArray[Any]) -> float:
    """What a Mul or Div by one number multiplies by."""
    number = float(constant.reshape(()).astype(np.float64))
    return 1 / number if step.op == "Div" else number


def _own_factor(query: Any, graph: GraphView) -> tuple[Any, float] | None:
    """The queries without the number they are multiplied by for this product alone, and that number; None without."""
    step = graph.producer(query, "Mul", "Div")
    operands = _operands(step, graph)
    if operands is None or not graph.sole_use(query):
        return None
    tensor, constant = operands
    rank = graph.rank(tensor)
    one = constant.size == 1 and rank is not None and constant.ndim <= rank
    return (tensor, _factor(step, constant)) if one and np.issubdtype(constant.dtype, np.floating) else None


def _shared(tensor: Any, node: Any, graph: GraphView) -> bool:
    """Whether another product reads the tensor as its first operand."""
    others = [
        n for n in graph.readers(tensor) if n is not node and n.op == "MatMul" and n.domain in (None, "", "ai.onnx")
    ]
    return any(n.inputs[0] is tensor for n in others)


def _before_turns(tensor: Any, graph: GraphView) -> tuple[list[Any], Any]:
    """The Transposes that make a tensor, the first one first, and what goes into them."""
    turns: list[Any] = []
    turn = graph.producer(tensor, "Transpose")
    while turn is not None:
        turns.insert(0, turn)
        tensor = turn.inputs[0]
        turn = graph.producer(tensor, "Transpose")
    return turns, tensor
