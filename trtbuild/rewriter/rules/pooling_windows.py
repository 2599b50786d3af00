"""A pooling with dilations, or an LpPool of a higher norm, is taken over slices.

TensorRT pools without dilations, and knows the norms L1 and L2 only.

Algebra: the window is a box, so its maximum (sum) is taken along one axis after the other; along an axis it is the
maximum (sum) of k slices of the padded input, slice i starting at i * dilation with the stride as its step. An average
is the sum divided by the number of elements that count: with ``count_include_pad`` those of the padding too, but never
what ``ceil_mode`` adds beyond it. LpPool is the p-th root of the sum of abs(x)^p.
Axes: input [N, C, d1, d2, ...]; kernel, dilations and strides have one entry for each of d1, d2, ...; pads are all
beginnings, then all ends. Dynamic d stay dynamic where neither ``ceil_mode`` nor ``auto_pad=SAME`` needs their size.

ONNX: MaxPool 10 to 22, AveragePool 19 to 22, LpPool 18 to 22.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("MaxPool", "AveragePool", "LpPool")
AFTER = ("constant_nodes",)
_MOST_SLICES = 64  # along one axis
_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Window:
    """The window along one axis: ``extra`` is what ceil_mode adds after the padding."""

    axis: int
    kernel: int
    dilation: int
    stride: int
    before: int
    after: int
    extra: int

    @property
    def reach(self) -> int:
        """Elements from the window's first to its last, both included."""
        return (self.kernel - 1) * self.dilation + 1


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Replaces the pooling by slices and a maximum or sum for each axis."""
    kernel = list(node.attrs.get("kernel_shape", ()))
    dilations = list(node.attrs.get("dilations", [1] * len(kernel)))
    norm = node.attrs.get("p", 2) if node.op == "LpPool" else None
    if all(d == 1 for d in dilations) and norm in (None, 1, 2):
        return None
    shape = graph.shape(node.inputs[0])
    graph.need(shape is not None, "the rank is not known")
    graph.need(not _indices_are_read(node, graph), "its indices are read")
    graph.prefer(graph.opset >= 11, "Pad takes its sizes as an input from opset 11 on")
    graph.prefer(max(kernel) <= _MOST_SLICES, f"its window has more than {_MOST_SLICES} elements along an axis")
    graph.prefer(str(graph.dtype(node.inputs[0])) in ("float32", "float16"), "it is not of floats")
    windows = _windows(node, graph, list(shape or ())[2:], kernel, dilations)
    excluded = node.op == "AveragePool" and not node.attrs.get("count_include_pad")
    partial = any(w.extra or (excluded and (w.before or w.after)) for w in windows)
    sizes = [graph.shape(node.inputs[0])[w.axis] for w in windows]  # type: ignore[index]
    if node.op == "AveragePool" and partial:
        graph.need(all(isinstance(s, int) for s in sizes), "the average leaves padding out and the size is not known")
    return Edit(
        f"taken over slices, a window of {kernel} with dilations {dilations}",
        lambda: _replace(node, graph, windows, sizes, excluded=excluded),
    )


def _indices_are_read(node: Any, graph: GraphView) -> bool:
    return any(t.outputs or graph.is_output(t) for t in node.outputs[1:])


def _windows(node: Any, graph: GraphView, sizes: list[Any], kernel: list[int], dilations: list[int]) -> list[_Window]:
    number = len(kernel)
    strides = list(node.attrs.get("strides", [1] * number))
    pads = list(node.attrs.get("pads", [0] * (2 * number)))
    auto = node.attrs.get("auto_pad", "NOTSET")
    ceil = bool(node.attrs.get("ceil_mode", 0)) and auto not in ("SAME_UPPER", "SAME_LOWER")
    known = all(isinstance(s, int) for s in sizes)
    graph.need(known or not (ceil and max(strides) > 1), "ceil_mode, and the size of an axis is not known")
    graph.need(known or auto not in ("SAME_UPPER", "SAME_LOWER"), "auto_pad, and the size of an axis is not known")
    found = []
    for i in range(number):
        before, after, extra = pads[i], pads[i + number], 0
        reach = (kernel[i] - 1) * dilations[i] + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            missing = max(0, (-(-sizes[i] // strides[i]) - 1) * strides[i] + reach - sizes[i])
            before = missing // 2 if auto == "SAME_UPPER" else missing - missing // 2
            after = missing - before
        elif auto == "VALID":
            before = after = 0
        if ceil and strides[i] > 1:
            padded = sizes[i] + before + after
            last = -(-(padded - reach) // strides[i])
            if last * strides[i] >= sizes[i] + before:  # a window must begin in the input or in the padding before it
                last -= 1
            extra = max(0, last * strides[i] + reach - padded)
        found.append(_Window(i + 2, kernel[i], dilations[i], strides[i], before, after, extra))
    return found


def _replace(node: Any, graph: GraphView, windows: list[_Window], sizes: list[Any], *, excluded: bool) -> None:
    value = node.inputs[0]
    dtype = graph.dtype(value)
    norm = node.attrs.get("p", 2)
    if node.op == "LpPool":
        value = graph.insert("Pow", graph.insert("Abs", value, at=node), np.array(norm, dtype), at=node)
    fill = np.array(-np.inf if node.op == "MaxPool" else 0, dtype)
    value = _padded(node, graph, value, windows, fill)
    for window in windows:
        slices = [_slice(node, graph, value, window, i) for i in range(window.kernel)]
        if len(slices) > 1:
            value = graph.insert("Max" if node.op == "MaxPool" else "Sum", *slices, at=node)
        else:
            value = slices[0]
    if node.op == "AveragePool":
        value = graph.insert("Div", value, _counts(windows, sizes, excluded=excluded).astype(dtype), at=node)
    if node.op == "LpPool":
        value = graph.insert("Pow", value, np.array(1 / norm, dtype), at=node)
    graph.substitute(node, value)


def _padded(node: Any, graph: GraphView, value: Any, windows: list[_Window], fill: Any) -> Any:
    before, after = [w.before for w in windows], [w.after + w.extra for w in windows]
    if not any((*before, *after)):
        return value
    return graph.insert("Pad", value, np.array([0, 0, *before, 0, 0, *after], np.int64), fill, at=node)


def _slice(node: Any, graph: GraphView, value: Any, window: _Window, number: int) -> Any:
    start, left = number * window.dilation, (window.kernel - 1 - number) * window.dilation
    one = [np.array([n], np.int64) for n in (start, -left if left else _TO_THE_END, window.axis, window.stride)]
    return graph.insert("Slice", value, *one, at=node)


def _counts(windows: list[_Window], sizes: list[Any], *, excluded: bool) -> Any:
    """How many elements of each window count: one number, or an array over the output's axes."""
    counted = []
    for window, size in zip(windows, sizes, strict=True):
        if not isinstance(size, int) or not (window.extra or (excluded and (window.before or window.after))):
            counted.append(np.array([window.kernel]))
            continue
        inside = np.ones(size + window.before + window.after + window.extra, np.int64)
        inside[len(inside) - window.extra :] = 0
        if excluded:
            inside[: window.before] = 0
            inside[window.before + size :] = 0
        starts = range(0, len(inside) - window.reach + 1, window.stride)
        counted.append(np.array([inside[s : s + window.reach : window.dilation].sum() for s in starts]))
    total = np.array(1)
    for number, count in enumerate(counted):
        total = total * count.reshape(-1, *[1] * (len(counted) - 1 - number))
    return total if prod(total.shape) > 1 else total.reshape(())
