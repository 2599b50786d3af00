"""Products of one tensor with several weights become one product and a Split: Q, K and V, keys and values, two gates.

TensorRT-RTX runs the products as one by itself, but then gives each its own kernel for what follows. Small opset-23
exports, FP16 kernels: minilm 66 become 56, bert 25 become 23, vit 26 become 24, clip 61 become 57, t5 encoder 39 become
29 (its two gates; 39 with Q, K and V only), rt_detr 210 become 187, whisper decoder 41 become 39. The biases stay
behind the Split: merging them too loses what was won.

Algebra: x [A B C] = [x A, x B, x C]. Axes: a weight is [in, out]; they are joined along out, and so is the result's
last axis, which the Split takes apart again. Widths may differ.

ONNX: MatMul 1 to 13, Split 13 to 18.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("MatMul",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Merges the node with the other products of its first operand."""
    tensor = node.inputs[0]
    if graph.is_constant(tensor) or not _is_product(node, tensor, graph):
        return None
    found = [n for n in graph.readers(tensor) if _is_product(n, tensor, graph)]
    here = [n for n in found if graph.owns(n)] if len(found) > 1 else []
    group = [n for n in here if graph.sole_use(n.inputs[1])]
    if len(here) < 2 or node is not (group if len(group) > 1 else here)[0]:
        return None
    graph.prefer(len(group) > 1, "another node reads the weights too: they would be there twice")

    def merge() -> None:
        weight = np.concatenate([graph.weight(n.inputs[1]) for n in group], axis=1)
        widths = np.array([n.inputs[1].shape[1] for n in group], np.int64)
        product = graph.insert("MatMul", tensor, weight, at=node, name="merged")
        parts = graph.insert("Split", product, widths, at=node, attrs={"axis": -1}, outputs=len(group))
        for each, part in zip(group, parts, strict=True):
            graph.substitute(each, part)

    names = tuple(n.name for n in group[1:])
    return Edit(f"merged with {', '.join(names)}", merge, names)


def _is_product(node: Any, tensor: Any, graph: GraphView) -> bool:
    if node.op != "MatMul" or node.domain not in (None, "", "ai.onnx") or node.inputs[0] is not tensor:
        return False
    weight = node.inputs[1]
    return graph.is_constant(weight) and len(weight.shape) == 2
