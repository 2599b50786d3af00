"""What does not fit FP16: tensors by their measured ranges, constants by their numbers.

FP16 holds 65504 at most, is coarser below 6.1e-5 and ends at 6e-8. A tensor fits when it was seen within half of that
largest number: other inputs than the calibration's reach further, and kernels may add up in FP16 on the way
(Torch-TensorRT has ``use_fp32_acc`` against that). NVIDIA's AutoCast draws the line at 512 by default. A tensor that
ends below 7.6e-6 has fewer than 7 bits left, less than BF16, and does not fit either.

A tensor that does not fit is made and read in FP32: its Cast to FP16 would be Inf, or zero. Attention masks are the
exception: what only a Softmax reads may end at -30000 instead of -3.4e38, for the exponential of both is zero. Not at
-65504: a logit of -16 makes that -Inf, and a row of nothing but -Inf is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtbuild.precision.lowering.float_graph import MOVES, FloatGraph

if TYPE_CHECKING:
    from onnx import NodeProto

LARGEST = 65504.0
BF16_LARGEST = 3.3895313892515355e38
HEADROOM = 2.0
SMALLEST_NORMAL = 2.0**-14
COARSE = 2.0**-24 * 128
"""Largest |x| below which a whole tensor keeps fewer than 7 bits."""

VANISHES = 2.0**-25
"""What is at most this large rounds to zero."""

MASK_FLOOR = -30000.0
"""Takes the place of a mask's large negative numbers: two such masks and a logit still add up within FP16."""

_LOGITS = 10000.0  # a mask of -30000 hides logits up to this
_MASK_VALUES = {"Softmax": 0, "Attention": 3}  # operator to the input at which a large negative number means "nothing"
_BOUNDS = {"Min", "Max", "Clip"}
_MULTIPLIES = {"Mul", "Div", "MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"}
_MEANS = {"ReduceMean", "GlobalAveragePool", "AveragePool"}


@dataclass
class Fit:
    """What does not fit.

    Attributes:
        wide: Tensor that is made and read in FP32 to the reason.
        keep: Node that stays in FP32 to the reason.
        floors: Tensors and constants that may be cut off at ``MASK_FLOOR``.
        notes: What fits, but badly.
        weight_notes: The same of constants, by name: it counts for those that are lowered.
    """

    wide: dict[str, str] = field(default_factory=dict)
    keep: dict[str, str] = field(default_factory=dict)
    floors: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    weight_notes: dict[str, str] = field(default_factory=dict)


def find(graph: FloatGraph) -> Fit:
    """Holds every tensor and constant against FP16."""
    fit = Fit()
    for name in graph.ranges:
        if graph.is_float(name) and name not in graph.weights:
            _measured(graph, name, fit)
    for node in graph.model.graph.node:
        for index, name in enumerate(node.input):
            if name in graph.magnitudes:
                _constant(graph, node, index, fit)
        _reduction(graph, node, fit)
    for name, size in graph.magnitudes.items():
        _note_constant(graph, name, size.amax, fit, nan=size.nan)
    return fit


def _measured(graph: FloatGraph, name: str, fit: Fit) -> None:
    low, high = graph.ranges[name]
    amax = max(-low, high)
    if amax > LARGEST / HEADROOM:
        if high <= LARGEST / HEADROOM and masks(graph, name):
            fit.floors.add(name)
        else:
            fit.wide[name] = f"{name} reaches {amax:.3g}; FP16 ends at 65504 and half of that is kept free"
    elif 0 < amax < COARSE:
        fit.wide[name] = f"{name} ends at {amax:.3g}, where FP16 has fewer than 7 bits"
    elif 0 < low < COARSE and any(_divides(node, name) for node in graph.readers.get(name, ())):
        fit.wide[name] = f"{name} divides and falls to {low:.3g}, where FP16 has fewer than 7 bits"
    elif 0 < amax < SMALLEST_NORMAL:
        fit.notes.append(f"{name} ends at {amax:.3g}, below FP16's normal numbers")


def _divides(node: NodeProto, name: str) -> bool:
    return (node.op_type == "Div" and node.input[1] == name) or node.op_type in ("Reciprocal", "Log")


def _constant(graph: FloatGraph, node: NodeProto, index: int, fit: Fit) -> None:
    name, size = node.input[index], graph.magnitudes[node.input[index]]
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return  # a scale: the form of the pair is chosen with it
    if size.amax > LARGEST:
        if node.op_type in _BOUNDS:
            return  # nothing in FP16 is beyond it: clamped, it bounds the same
        if size.most <= LARGEST and _makes_mask(graph, node, index):
            fit.floors.add(name)
        else:
            fit.keep.setdefault(node.name, f"its constant {name} reaches {size.amax:.3g}; FP16 ends at 65504")
            fit.floors.update(out for out in node.output if masks(graph, out))  # (mask - 1) * 1e9
    elif 0 < size.amax < COARSE and node.op_type in _MULTIPLIES:
        fit.keep.setdefault(node.name, f"its constant {name} ends at {size.amax:.3g}, where FP16 has fewer than 7 bits")


def _note_constant(graph: FloatGraph, name: str, amax: float, fit: Fit, *, nan: bool) -> None:
    import numpy as np

    if nan:
        fit.weight_notes[name] = f"weight {name!r} holds NaN"
    if 0 < amax < SMALLEST_NORMAL:
        fit.weight_notes[name] = f"weight {name!r} ends at {amax:.3g}, below FP16's normal numbers"
    elif amax:
        numbers = graph.values(name)
        lost = np.count_nonzero((numbers != 0) & (numbers <= VANISHES) & (numbers >= -VANISHES)) / numbers.size
        if lost > 0.01:
            fit.weight_notes[name] = f"{lost:.0%} of weight {name!r} rounds to zero in FP16"


def _reduction(graph: FloatGraph, node: NodeProto, fit: Fit) -> None:
    """A mean is a sum first, and TensorRT's parser itself warns of Reduce layers that overflow in FP16."""
    if node.op_type not in (*_MEANS, "ReduceSum") or not graph.is_float(node.input[0]):
        return
    result, source = graph.ranges.get(node.output[0]), graph.ranges.get(node.input[0])
    if node.op_type == "AveragePool":
        window = next((a.ints for a in node.attribute if a.name == "kernel_shape"), ())
        count: int | None = math.prod(window)
    else:
        count = graph.elements_per_result(node)
    if count is None or (node.op_type == "ReduceSum" and result is not None) or (result or source) is None:
        return
    low, high = result or source or (0.0, 0.0)
    total = max(-low, high) * count
    if total > LARGEST / HEADROOM:
        said = f"the sum over {count} elements may reach {total:.3g}; FP16 ends at 65504 and half of that is kept free"
        fit.keep.setdefault(node.name, said)


def _makes_mask(graph: FloatGraph, node: NodeProto, index: int) -> bool:
    """Whether a node turns a large negative constant into a mask; a factor of it is 0 or 1."""
    if node.op_type == "Mul":
        other = graph.ranges.get(node.input[1 - index], (0.0, 1.0))
        if other[0] < 0 or other[1] > 1:
            return False
    elif not _hands_on(graph, node, node.input[index]):
        return False
    return all(masks(graph, name) for name in node.output if name)


def masks(graph: FloatGraph, name: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether all that becomes of a tensor's large negative numbers is a Softmax's zero."""
    readers = graph.readers.get(name, [])
    if name in graph.outputs or not readers or name in seen:
        return False
    return all(
        _is_masked_by(node, name)
        or (_hands_on(graph, node, name) and all(masks(graph, out, seen | {name}) for out in node.output if out))
        for node in readers
    )


def _is_masked_by(node: NodeProto, name: str) -> bool:
    place = _MASK_VALUES.get(node.op_type)
    return [i for i, tensor in enumerate(node.input) if tensor == name] == [place]


def _hands_on(graph: FloatGraph, node: NodeProto, name: str) -> bool:
    """Whether a node's result is large and negative where this input is, and right elsewhere."""
    others = [other for other in node.input if other != name]
    if node.op_type in MOVES:
        return bool(node.input[0] == name) or node.op_type == "Concat"
    if node.op_type == "Where":
        return bool(node.input[0] != name)
    if node.op_type in ("Add", "Min"):
        return all(high <= _LOGITS for _low, high in _ends(graph, others))
    if node.op_type in ("Mul", "Div") and node.input[0] == name and len(others) == 1:
        factor = graph.scalar(others[0])
        scale = None if factor is None or factor <= 0 else (factor if node.op_type == "Mul" else 1 / factor)
        return scale is not None and 1 / 16 <= scale <= 2
    return False


def _ends(graph: FloatGraph, names: list[str]) -> Iterator[tuple[float, float]]:
    for name in names:
        if name in graph.ranges:
            yield graph.ranges[name]
        elif name in graph.magnitudes:
            yield graph.magnitudes[name].least, graph.magnitudes[name].most
