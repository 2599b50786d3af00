"""How many elements a kernel's dynamic tensors have at its profile's opt sizes.

TensorRT prints -1 for a dynamic axis and merges axes as it likes, so a kernel's tensor says at most what divides its
number of elements. The model's own shapes at the opt sizes say which numbers can be meant: the kernel reads and writes
tensors of the nodes it names. A tensor is written by one kernel and read by others, and all of them must agree. Where
this leaves more than one number, or none, it stays unknown.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trtbuild.artifacts import EngineLayer, LayerTensor
from trtbuild.engine.layers.model import ModelAtOpt

_SAME_SHAPE, _SQUEEZED, _PADDED, _TURNED, _RESHAPED = range(5)
"""How well a shape of the model fits a kernel's tensor: axis by axis; but for axes of size one; with channels filled
up; with axes turned; with axes merged or split."""

_PADDING = 31  # channels that a layout may add
_ONNX_NAME = re.compile(r"\.\d+(?:_\d+)?_myl\d+$")  # what TensorRT puts behind the name of a tensor of the model's
_PASSING = {"Move", "Resh", "Tran", "Cast"}
"""Steps of generated kernels after which there are as many elements as before."""

_PROFILE = re.compile(r" \[profile \d+\]$")

View = tuple[str, tuple[int, ...]]
"""A tensor as a kernel sees it: its name and dimensions. Of other dimensions under the same name, those of another rank
are the same elements; those of the same rank may be a part of them."""


def elements(layers: Sequence[EngineLayer], model: ModelAtOpt) -> dict[View, int]:
    """Elements of the tensors with dynamic axes, where the kernels around them leave one number."""
    evidence = _evidence(layers, model)
    by_name: dict[str, list[View]] = {}
    for name, dims in evidence:
        by_name.setdefault(name, []).append((name, dims))
    found: dict[View, int] = {}
    for name, dims in evidence:
        same = [seen for seen in by_name[name] if seen[1] == dims or len(seen[1]) != len(dims)]
        own = model.shapes.get(_PROFILE.sub("", name))
        count = math.prod(own) if own is not None else _agreed([said for seen in same for said in evidence[seen]])
        if count is not None and count % max(1, math.prod(d for d in dims if d > 0)) == 0:
            found[name, dims] = count
    _spread(layers, found)
    return found


def _evidence(layers: Sequence[EngineLayer], model: ModelAtOpt) -> dict[View, list[Mapping[int, int]]]:
    """What each kernel around a tensor, and its name, say of its number of elements."""
    said: dict[View, list[Mapping[int, int]]] = {}
    for layer in layers:
        for tensors, candidates in _candidates(layer, model):
            for tensor in (t for t in tensors if t.dynamic):
                fits = next((fits for names in candidates if (fits := _fitting(tensor, names, model))), {})
                named = _fitting(tensor, (_ONNX_NAME.sub("", tensor.name),), model)
                said.setdefault(view(tensor), []).extend((fits or _broadcast(layer, tensor, model), named))
    return said


def view(tensor: LayerTensor) -> View:
    """The tensor by name and dimensions."""
    return tensor.name, tensor.dims


def _spread(layers: Sequence[EngineLayer], found: dict[View, int]) -> None:
    """Adds what follows from the numbers found, and takes away what contradicts it."""
    for layer in (*layers, *reversed(layers)):
        for seen, count in (*_passed_on(layer, found), *_of_rows(layer, found)):
            found.setdefault(seen, count)
    beside = [pair for layer in layers for pair in _beside(layer, found)]
    for seen, count in beside:
        found.setdefault(seen, count)
    for seen in {seen for seen, count in beside if found[seen] != count}:
        del found[seen]


def _candidates(
    layer: EngineLayer, model: ModelAtOpt
) -> Iterable[tuple[tuple[LayerTensor, ...], tuple[list[str], ...]]]:
    """The tensors a kernel writes and reads, each with the model's tensors they may be, the likelier ones first.

    What leaves a kernel is read by a node outside of it. What comes into one may be the result of a matrix node that
    it names as well, since it scales that: so all that its nodes read counts. A fused attention keeps its scores.
    """
    own = set(layer.onnx_nodes)
    writes = [t for node in layer.onnx_nodes for t in model.writes.get(node, ())]
    reads = [t for node in layer.onnx_nodes for t in model.reads.get(node, ())]
    leaving = [t for t in writes if not model.readers.get(t) or model.readers[t] - own]
    if layer.role == "attention":
        reads = [t for t in reads if t not in set(writes)]
    return (layer.outputs, (leaving, writes)), (layer.inputs, (reads,))


def _fitting(tensor: LayerTensor, names: Sequence[str], model: ModelAtOpt) -> dict[int, int]:
    """Numbers of elements a kernel's tensor may have by some of the model's, to how well the best of those fits.

    Where ONNX infers no shape for one of them, that one may be meant: then only a shape that is the same axis by axis
    counts.
    """
    shapes = {(model.shapes[name], model.dynamic.get(name)) for name in names if name in model.shapes}
    doubtful = any(name not in model.shapes for name in names)
    found: dict[int, int] = {}
    for count, fit in filter(None, (_fit(tensor.dims, shape, dynamic) for shape, dynamic in shapes)):
        if fit == _SAME_SHAPE or not doubtful:
            found[count] = min(fit, found.get(count, fit))
    return found


def _fit(dims: Sequence[int], shape: Sequence[int], dynamic: Sequence[bool | None] | None) -> tuple[int, int] | None:
    """Elements that a tensor has if it is one of the model's of this shape, and how well that fits; None: it is not.

    Args:
        dims: The tensor's dimensions, -1 for dynamic axes.
        shape: The shape in the model, at opt sizes.
        dynamic: Whether each of the model's axes is; None where that is not known.
    """
    fixed = [d for d in dims if d >= 0]
    known = [None] * len(shape) if dynamic is None or len(dynamic) != len(shape) else list(dynamic)
    if len(shape) != len(dims):
        squeezed = _without_ones(dims, shape, known)
        if squeezed is not None or 1 in fixed:
            return squeezed
        sure = math.prod(s for s, is_dynamic in zip(shape, known, strict=True) if not is_dynamic)
        return None if not fixed or sure % math.prod(fixed) else (math.prod(shape), _RESHAPED)
    pairs = list(zip(dims, shape, strict=True))
    if all(is_dynamic in (None, d < 0) for d, is_dynamic in zip(dims, known, strict=True)):
        filled = [(d, s) for d, s in pairs if d not in (-1, s)]
        if not filled:
            return math.prod(shape), _SAME_SHAPE
        if len(filled) == 1 and filled[0][1] < filled[0][0] <= filled[0][1] + _PADDING:
            return math.prod(s if d < 0 else d for d, s in pairs), _PADDED
    must = Counter(s for s, is_dynamic in zip(shape, known, strict=True) if is_dynamic is False)
    may = Counter(s for s, is_dynamic in zip(shape, known, strict=True) if is_dynamic is not True)
    return None if must - Counter(fixed) or Counter(fixed) - may else (math.prod(shape), _TURNED)


def _without_ones(dims: Sequence[int], shape: Sequence[int], dynamic: Sequence[bool | None]) -> tuple[int, int] | None:
    """As ``_fit``, for ranks that differ by axes of size one: ``[-1, 1, 384]`` is ``[batch, 384]``."""
    narrow = [d for d in dims if d != 1]
    kept = [(s, is_dynamic) for s, is_dynamic in zip(shape, dynamic, strict=True) if s != 1 or is_dynamic is not False]
    if len(narrow) != len(kept) or not narrow:
        return None
    fits = all(is_dynamic in (None, d < 0) and d in (-1, s) for d, (s, is_dynamic) in zip(narrow, kept, strict=True))
    return (math.prod(shape), _SQUEEZED) if fits else None


def _broadcast(layer: EngineLayer, tensor: LayerTensor, model: ModelAtOpt) -> dict[int, int]:
    """The elements of an attention's mask whose shape ONNX does not infer: its dynamic axes are those of the scores."""
    if layer.role != "attention":
        return {}
    written = (name for node in layer.onnx_nodes if node not in model.macs for name in model.writes.get(node, ()))
    shapes = {model.shapes[name] for name in written if len(model.shapes.get(name, ())) == len(tensor.dims)}
    fitting = [s for s in shapes if all(d in (-1, 1, n) for d, n in zip(tensor.dims, s, strict=True))]
    return {math.prod(n if d < 0 else d for d, n in zip(tensor.dims, s, strict=True)): _RESHAPED for s in fitting}


def _agreed(evidence: Sequence[Mapping[int, int]]) -> int | None:
    """The one number that all kernels around a tensor agree on, the best fit first; None where none stands out."""
    said = [numbers for numbers in evidence if numbers]
    common = set.intersection(*(set(numbers) for numbers in said)) if said else set()
    for fit in (_SAME_SHAPE, _SQUEEZED, _PADDED, _TURNED, _RESHAPED):
        fitting = {count for count in common if min(numbers[count] for numbers in said) <= fit}
        if fitting:
            return fitting.pop() if len(fitting) == 1 else None
    return None


def _passed_on(layer: EngineLayer, found: Mapping[View, int]) -> Iterator[tuple[View, int]]:
    """What a kernel only moves has as many elements after it as before."""
    if layer.operations and set(layer.operations) <= _PASSING and len(layer.inputs) == len(layer.outputs) == 1:
        for one, other in ((layer.inputs[0], layer.outputs[0]), (layer.outputs[0], layer.inputs[0])):
            count = found.get(view(one), one.elements)
            if count is not None and other.dynamic:
                yield view(other), count


def _of_rows(layer: EngineLayer, found: Mapping[View, int]) -> Iterator[tuple[View, int]]:
    """A product with a constant matrix writes as many rows as it reads: ``[-1, 64]`` becomes ``[-1, 256]``."""
    weight = any(len(t.dims) == 2 and min(t.dims) > 1 for t in layer.constants)
    sides = [t for t in (*layer.inputs, *layer.outputs) if len(t.dims) == 2 and t.dims[0] < 0 < t.dims[1]]
    rows = {found[view(t)] // t.dims[1] for t in sides if view(t) in found}
    if layer.role == "matrix" and weight and len(rows) == 1:
        count = rows.pop()
        yield from ((view(t), count * t.dims[1]) for t in sides)


def _beside(layer: EngineLayer, found: Mapping[View, int]) -> Iterator[tuple[View, int]]:
    """Sizes of one a row, such as the means of a normalisation: ``[-1, 1]`` beside ``[-1, 384]`` of known size."""
    tensors = (*layer.inputs, *layer.outputs)
    for tensor in tensors:
        rows = set()
        for other in tensors:
            if tensor.dynamic and len(other.dims) == len(tensor.dims) and view(other) in found:
                pairs = [(d, o) for d, o in zip(tensor.dims, other.dims, strict=True) if d != o]
                if pairs and all(d == 1 and o > 1 for d, o in pairs):
                    rows.add(found[view(other)] // math.prod(o for _, o in pairs))
        if len(rows) == 1:
            yield view(tensor), rows.pop()
