"""AffineGrid of a known size becomes one product with the constant base grid.

Algebra: grid[n, p] = theta[n] (x, y, 1)^T, for every place p of the image; the places are known. In three dimensions
(x, y, z, 1).
Axes: theta [N, 2, 3] or [N, 3, 4]; base grid [P, 3] or [P, 4]; result [N, H, W, 2] or [N, D, H, W, 3]. N stays dynamic.

ONNX: AffineGrid 20.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("AffineGrid",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the operator."""
    size: Any = graph.constant(node.inputs[1])
    graph.need(size is not None, "the image's size is not constant")
    sizes = [int(s) for s in size[2:]]  # H, W or D, H, W
    dtype = graph.dtype(node.inputs[0])
    corners = bool(node.attrs.get("align_corners"))
    places = [_places(s, corners=corners) for s in sizes]
    grids = np.meshgrid(*places, indexing="ij")
    base = np.stack([*[g.ravel() for g in reversed(grids)], np.ones(grids[0].size)], axis=1).astype(dtype)

    def replace() -> None:
        turned = graph.insert("Transpose", node.inputs[0], at=node, attrs={"perm": [0, 2, 1]})
        flat = graph.insert("MatMul", base, turned, at=node)
        shape = np.array([0 if len(sizes) < 2 else -1, *sizes, len(sizes)], np.int64)
        graph.substitute(node, graph.insert("Reshape", flat, shape, at=node))

    return Edit(f"a product with a constant grid of {base.shape[0]} places", replace)


def _places(size: int, *, corners: bool) -> Any:
    """Coordinates along one axis, from -1 to 1: of the elements' centres, or with the first and last on the corners."""
    if corners:
        return np.linspace(-1, 1, size) if size > 1 else np.array([-1.0])
    return (np.arange(size) * 2 + 1) / size - 1
