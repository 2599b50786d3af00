"""A Resize that TensorRT does not take becomes a product with a constant matrix for each axis.

TensorRT resizes without antialiasing, without ``exclude_outside`` and without the mode ``half_pixel_symmetric``.

Algebra: linear and cubic interpolation are linear and separable: y = A x B^T, with A [H', H] and B [W', W]. A and B are
what the node itself makes of an identity matrix along one axis, computed once in ONNX Runtime.
Axes: the last two, H and W, of an input; their sizes must be known, the others stay dynamic.

ONNX: Resize 11 to 19.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbuild.errors import InvalidOnnxError
from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Resize",)
AFTER = ("constant_nodes",)
_LARGEST = 1 << 22  # elements of both matrices


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the Resize by two products."""
    if not _is_refused(node):
        return None
    x = node.inputs[0]
    shape: Any = graph.shape(x)
    linear = node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize"
    graph.prefer(linear, "what lies outside of the image is a value of its own")
    stretched = node.attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    graph.need(stretched, "it keeps the aspect ratio")
    graph.need(shape is not None, "the rank is not known")
    graph.prefer(len(shape) >= 2, "it has one axis")
    axes = [a % len(shape) for a in node.attrs.get("axes", range(len(shape)))]
    plan: Any = _plan(node, graph, shape, axes)
    graph.need(plan is not None, "its sizes or scales are not constant")
    plane = len(shape) - 2
    graph.need(all(size == old and scale == 1 for a, old, size, scale in plan if a < plane), "it resizes other axes")
    wanted = [(a, old, size, scale) for a, old, size, scale in plan if a >= plane and not (size == old and scale == 1)]
    graph.need(all(isinstance(old, int) for _a, old, _s, _f in wanted), "the size of an axis is not known")
    graph.prefer(sum(old * size for _a, old, size, _f in wanted) <= _LARGEST, "its matrices would be large")
    graph.prefer(graph.dtype(x) == "float32", "it is not of 32-bit floats")
    by_scale = len(node.inputs) > 2 and bool(node.inputs[2].name) and graph.weight(node.inputs[2]).size > 0
    matrices = [(a, _matrix(node, graph, old, size, scale if by_scale else None)) for a, old, size, scale in wanted]

    def replace() -> None:
        value = x
        for axis, matrix in matrices:
            if axis == plane:
                value = graph.insert("MatMul", matrix, value, at=node)
            else:
                value = graph.insert("MatMul", value, np.ascontiguousarray(matrix.T), at=node)
        graph.substitute(node, value)

    return Edit("a product with a constant matrix for each axis", replace)


def _is_refused(node: Any) -> bool:
    attrs = node.attrs
    return node.attrs.get("mode", "nearest") in ("linear", "cubic") and bool(
        attrs.get("antialias")
        or attrs.get("exclude_outside")
        or attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch"
        or attrs.get("coordinate_transformation_mode") in ("half_pixel_symmetric", "tf_crop_and_resize")
    )


def _plan(node: Any, graph: GraphView, shape: Any, axes: list[int]) -> list[tuple[int, Any, int, float]] | None:
    """For each axis the node names: its size before, after, and the scale; None where that is not constant."""
    scales, sizes = (graph.constant(t) if t.name else None for t in [*node.inputs[2:4], *_nothing(node)][:2])
    if sizes is not None and sizes.size:
        known = [(a, shape[a], int(s)) for a, s in zip(axes, sizes, strict=True)]
        return [(a, old, new, new / old if isinstance(old, int) and old else 0.0) for a, old, new in known]
    if scales is None or not scales.size:
        return None
    return [
        (a, shape[a], int(np.floor(shape[a] * float(f))) if isinstance(shape[a], int) else shape[a], float(f))
        for a, f in zip(axes, scales, strict=True)
    ]


def _nothing(node: Any) -> list[Any]:
    import onnx_graphsurgeon as gs

    return [gs.Variable.empty()] * (4 - len(node.inputs))


def _matrix(node: Any, graph: GraphView, old: int, new: int, scale: float | None) -> Any:
    """[new, old]: what the node makes of an identity matrix, along the second last of four axes."""
    import onnx
    from onnx import helper, numpy_helper

    from trtbuild.onnxrun import run, session

    attrs = {k: v for k, v in node.attrs.items() if k != "axes"}
    weights = {"x": np.eye(old, dtype=np.float32)[None, None]}
    names = ["x", "", "", "sizes"] if scale is None else ["x", "", "scales"]
    if scale is None:
        weights["sizes"] = np.array([1, 1, new, old], np.int64)
    else:
        weights["scales"] = np.array([1, 1, scale, 1], np.float32)
    values = [onnx.helper.make_tensor_value_info("y", 1, [1, 1, new, old])]
    one = helper.make_graph(
        [helper.make_node("Resize", names, ["y"], **attrs)], "axis", [], values,
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    model = helper.make_model(one, opset_imports=[helper.make_opsetid("", graph.opset)], ir_version=8)
    made = None
    try:
        made = run(session(model), {})["y"]
    except InvalidOnnxError:
        graph.prefer(condition=False, reason="ONNX Runtime cannot compute its matrix")
    return np.asarray(made)[0, 0]
