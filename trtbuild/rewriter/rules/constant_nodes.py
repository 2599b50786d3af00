"""Nodes whose inputs are all constant become constants, so that later rules and Q/DQ placement see weights.

The pre-pass does this for shapes; what it never sees are the large weights, and what is computed from them alone: a
transposed weight, relative position embeddings with their LayerNorm and projection (deberta: 64 kernels become 48,
and its attentions one fused kernel each).

Algebra: the node's own, run once in ONNX Runtime with a model that holds nothing but the node.

ONNX: every operator but those that draw random numbers, hold graphs, or quantise (the pair around a weight is what
TensorRT reads its precision from). A result of more than 64 MiB that is larger than what it is made from is left
alone: a small model must not turn into a large one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtbuild.errors import InvalidOnnxError
from trtbuild.rewriter.graph import Edit, GraphView

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPS = ()  # any
AFTER = ()
_LARGEST = 64 << 20  # bytes
_NEVER = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "If", "Loop",
    "Scan", "SequenceMap", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
}  # fmt: skip


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Turns the node's outputs into weights."""
    if node.op in _NEVER or any(not graph.is_constant(t) for t in node.inputs if t.name):
        return None
    if node.op == "Dropout" and len(node.inputs) > 2:
        return None  # it may draw random numbers
    graph.need(not any(graph.is_output(t) for t in node.outputs), "the graph hands the constant out")
    if node.op == "Constant" and "value" in node.attrs:
        graph.prefer(hasattr(node.attrs["value"], "values"), "its value is sparse")
        values = [node.attrs["value"].values]
    else:
        values = _evaluate(node, graph)
        made, read = sum(v.nbytes for v in values), sum(t.values.nbytes for t in node.inputs if t.name)
        graph.prefer(made <= max(_LARGEST, read), f"its result is {made >> 20} MiB")

    def replace() -> None:
        made = [graph.new_constant(f"{t.name}_folded", v) for t, v in zip(node.outputs, values, strict=True)]
        graph.substitute(node, *made)

    return Edit("computed once, kept as a weight", replace)


def _evaluate(node: Any, graph: GraphView) -> list[NDArray[Any]]:
    import numpy as np
    import onnx_graphsurgeon as gs

    from trtbuild.onnxrun import run, session

    outputs = [gs.Variable(f"out{i}") if t.name else gs.Variable.empty() for i, t in enumerate(node.outputs)]
    inputs = [gs.Constant(f"in{i}", t.values) if t.name else gs.Variable.empty() for i, t in enumerate(node.inputs)]
    alone = gs.Node(node.op, "alone", dict(node.attrs), inputs, outputs, domain=node.domain)
    single = gs.Graph([alone], [], [t for t in outputs if t.name], opset=graph.opset)
    model = gs.export_onnx(single, do_type_check=False)
    model.ir_version = 8
    found: list[NDArray[Any]] = []
    try:
        results = run(session(model), {})
        found = [results[t.name] for t in outputs]
    except (InvalidOnnxError, KeyError):
        found = _by_reference(model)
        graph.need(found, "ONNX Runtime cannot compute it by itself")
    graph.need(all(isinstance(v, np.ndarray) for v in found), "it makes something else than tensors")
    return found


def _by_reference(model: Any) -> list[NDArray[Any]]:
    """What ONNX's own reference implementation makes of a model whose opset or types ONNX Runtime does not know."""
    from onnx.reference import ReferenceEvaluator

    try:
        return list(ReferenceEvaluator(model).run(None, {}))
    except Exception:  # noqa: BLE001  it is a help for the newest opsets, never a reason to fail
        return []
