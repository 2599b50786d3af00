"""What rounding alone may make of a graph: a second opinion where a rewritten graph differs from the original.

A graph may be ill-conditioned: a LayerNorm of nearly equal numbers divides rounding errors by nearly nothing, a Greater
near its threshold falls to either side. There any other order of the same sums differs, and so does the original from
the exact result. So the original is computed in double precision by ONNX's reference evaluator, once as it is, and
several times with every tensor moved at random by up to one unit in the last place of its own type. A rewritten graph
that is about as near to the exact result as these are is as good as the original.

Whole numbers are not moved: counts, masks and zeros are exact in any precision.

Source: Parker, Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic, 1997.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.errors import InvalidOnnxError
from trtbuild.matrixops import axis_sizes, multiply_accumulates, tensor_bytes
from trtbuild.rewriter.jitter import jittered

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, TensorProto

FACTOR = 4
"""How many times the largest error seen of the original a rewritten graph may be off: few samples miss the largest."""

_SAMPLES = 8
_TRUSTED = 1e-3  # of the largest magnitude: farther apart, either rounding says why, or evaluator or runtime is wrong
_LARGEST = 1 << 30  # bytes: the evaluator holds all tensors at once, and its convolutions several times
_MOST_WORK = 200_000_000  # multiply-accumulates of a run: the evaluator computes convolutions slowly
_DOMAIN = "trtbuild.rounding"
_UNITS = {1: 2.0**-23, 10: 2.0**-10, 16: 2.0**-7}  # last places of ONNX's FLOAT, FLOAT16 and BFLOAT16


@dataclass(frozen=True)
class Rounding:
    """What one tensor of the original is, but for rounding.

    Attributes:
        ways: The tensor as it was found, apart by the way that the graph's conditions fell: an If near its threshold
            takes either branch, and what lies between the two is neither. The first of the first is the exact one.
    """

    ways: tuple[tuple[NDArray[Any], ...], ...]

    @property
    def error(self) -> NDArray[Any]:
        """The largest error found, for each element, in the tensor's unit."""
        import numpy as np

        with np.errstate(invalid="ignore"):
            apart = [np.abs(each - way[0]) for way in self.ways for each in way]
        return np.asarray(np.max([np.where(np.isfinite(a), a, 0.0) for a in apart], axis=0))

    @property
    def largest(self) -> float:
        """The largest error of the original itself anywhere in the tensor, where it is small everywhere; else 0.

        An element's own error may be small by chance. Where some element is ill-conditioned, its error says nothing of
        the others.
        """
        worst = float(self.error.max(initial=0))
        return worst if worst <= _TRUSTED * max(_magnitude(way[0]) for way in self.ways) else 0.0

    def explains(self, got: NDArray[Any], tolerance: float) -> bool:
        """Whether values differ from the original's by no more than rounding.

        Args:
            got: The values, in the layout of the original.
            tolerance: What they may differ by in any case.

        Returns:
            For numbers with a fraction, whether, for one of the ways, each is within ``tolerance`` and ``FACTOR`` times
            ``error`` or ``largest``. For others, whether each is one that was found.
        """
        import numpy as np

        if self.ways[0][0].dtype.kind != "f":
            return bool(np.any([got == each for way in self.ways for each in way], axis=0).all())
        mine, most = got.astype(np.float64), tolerance + FACTOR * np.maximum(self.error, self.largest)
        return any(_within(mine, way[0], most) for way in self.ways)


def _within(mine: NDArray[Any], exact: NDArray[Any], most: NDArray[Any]) -> bool:
    import numpy as np

    with np.errstate(invalid="ignore"):
        near = np.abs(mine - exact) <= most
    return bool((near | (mine == exact) | (np.isnan(mine) & np.isnan(exact))).all())  # infinities have no distance


def roundings(
    model: ModelProto, feed: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]
) -> dict[str, Rounding]:
    """What rounding may make of a graph's tensors.

    Args:
        model: The original, its weights in memory.
        feed: Its inputs.
        wanted: What ONNX Runtime made of the tensors asked for.

    Returns:
        Those of ``wanted`` that the reference evaluator can be asked about, but for those where it and ONNX Runtime are
        farther apart than rounding explains. Where it lacks an operator or the graph is too large for it, FP32 outputs
        as ``jitter`` finds them.
    """
    import numpy as np

    try:
        runs = _runs(model, feed, wanted)
    except Exception:  # noqa: BLE001  the evaluator lacks much and says so in many ways
        runs = []
    if not runs:
        return _moved_in_runtime(model, feed, wanted)
    ways: dict[tuple[bool, ...], list[dict[str, NDArray[Any]]]] = {}
    for run in runs:
        ways.setdefault(tuple(bool(v) for v in run.values() if v.dtype == bool and v.size == 1), []).append(run)
    found: dict[str, Rounding] = {}
    for name, value in wanted.items():
        own = value.astype(np.float64) if value.dtype.kind in "fV" else value
        if not all(_alike(run.get(name), own) for run in runs):
            continue
        made = [tuple(run[name] for run in way) for way in ways.values()]
        if Rounding(tuple(made)).explains(own, _TRUSTED * _magnitude(made[0][0])):
            found[name] = Rounding(_with_own(made, own))
    return found


def _moved_in_runtime(
    model: ModelProto, feed: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]
) -> dict[str, Rounding]:
    """A cruder opinion where the evaluator has none: of the outputs, with one error for all elements of each."""
    import numpy as np

    try:
        runs = jittered(model, feed)
    except InvalidOnnxError:
        return {}
    found = {}
    for name, value in wanted.items():
        if value.dtype != np.float32 or not all(_alike(run.get(name), value) for run in runs):
            continue
        own = value.astype(np.float64)
        most = max(_magnitude(run[name].astype(np.float64) - own) for run in runs)
        if most <= _TRUSTED * _magnitude(own):  # farther, and a real difference would hide in it
            found[name] = Rounding(((own, own + most),))
    return found


def _alike(made: NDArray[Any] | None, own: NDArray[Any]) -> bool:
    return made is not None and made.shape == own.shape and made.dtype.kind == own.dtype.kind


def _with_own(ways: list[tuple[NDArray[Any], ...]], own: NDArray[Any]) -> tuple[tuple[NDArray[Any], ...], ...]:
    """Puts ONNX Runtime's values with the way that they are nearest to."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        apart = [_magnitude(own - way[0]) if own.dtype.kind == "f" else 0.0 for way in ways]
    nearest = apart.index(min(apart))
    return tuple((*way, own) if number == nearest else way for number, way in enumerate(ways))


def _magnitude(values: NDArray[Any]) -> float:
    import numpy as np

    return float(np.abs(values[np.isfinite(values)]).max(initial=0)) if values.dtype.kind == "f" else 0.0


def _units(model: ModelProto) -> dict[str, float]:
    """The unit in the last place of each tensor with a fraction, of its magnitude."""
    return {name: _UNITS[kind] for name, kind in onnxfile.element_types(model).items() if kind in _UNITS}


def _in_double(model: ModelProto) -> ModelProto:
    """A copy that computes in double precision: the evaluator takes types from the values, not from declarations."""
    import onnx

    double = onnx.ModelProto()
    double.CopyFrom(model)
    inside = list(onnxfile.graphs(double.graph))
    for tensor in (t for graph in inside for t in graph.initializer):
        _widen(tensor)
    for node in (n for each in (*inside, *double.functions) for n in each.node):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in _UNITS:
                attribute.i = onnx.TensorProto.DOUBLE
    return double


def _widen(tensor: TensorProto) -> None:
    """Puts a tensor into double precision, in place."""
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type in _UNITS:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def _runs(
    model: ModelProto, feed: Mapping[str, NDArray[Any]], wanted: Collection[str]
) -> list[dict[str, NDArray[Any]]]:
    """The exact run, then those with every tensor moved; of each the tensors ``wanted``, and which way conditions fell.

    Nothing where the tensors, all of which the evaluator holds at once, would take more than ``_LARGEST`` bytes, or the
    matrix work more than ``_MOST_WORK``.
    """
    import numpy as np
    from onnx.reference import ReferenceEvaluator

    shapes = {name: value.shape for name, value in feed.items()}
    if 2 * sum(tensor_bytes(model, shapes).values()) > _LARGEST:
        return []
    if sum(multiply_accumulates(model, axis_sizes(model, shapes)).values()) > _MOST_WORK:
        return []
    moved = _Mover()

    def run(evaluator: ReferenceEvaluator, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with np.errstate(all="ignore"):
            made = dict(evaluator.run(None, dict(values), intermediate=True))
        arrays = {name: np.asarray(v) for name, v in made.items() if isinstance(v, (np.ndarray, np.generic))}
        return {name: v for name, v in arrays.items() if name in wanted or (v.dtype == bool and v.size == 1)}

    double, units = _in_double(model), _units(model)
    wide = {name: v.astype(np.float64) if v.dtype.kind in "fV" else v for name, v in feed.items()}
    operators = _operators(moved)
    runs = [run(ReferenceEvaluator(double, new_ops=operators), wide)]
    _mark(double, units)
    moving = ReferenceEvaluator(double, new_ops=operators)
    for number in range(_SAMPLES):
        moved.begin(number)
        runs.append(run(moving, {n: moved(v, units[n]) if n in units else v for n, v in wide.items()}))
    return runs


def _operators(moved: _Mover) -> list[Any]:
    """What the evaluator lacks."""
    import numpy as np
    from onnx.reference.op_run import OpRun

    class Move(OpRun):
        op_domain = _DOMAIN

        def _run(self, values: NDArray[Any], unit: float) -> tuple[NDArray[Any]]:
            return (moved(values, unit),)

    class GatherElements(OpRun):  # the evaluator's own refuses indices of fewer rows than the data
        def _run(self, data: NDArray[Any], indices: NDArray[Any], axis: int) -> tuple[NDArray[Any]]:
            rows = tuple(slice(None if a == axis % data.ndim else n) for a, n in enumerate(indices.shape))
            return (np.take_along_axis(data[rows], indices, axis),)

    return [Move, GatherElements]


class _Mover:
    """Moves values at random; every second run to the other side, so that what lies on a threshold falls both ways."""

    def begin(self, number: int) -> None:
        """Begins a run."""
        import numpy as np

        self.random = np.random.default_rng(number // 2)
        self.side = 1 - 2 * (number % 2)

    def __call__(self, values: NDArray[Any], unit: float) -> NDArray[Any]:
        """The values, those that are no whole numbers moved by up to ``unit`` of their magnitude."""
        import numpy as np

        part = 1 + self.side * unit * self.random.uniform(-1, 1, values.shape)
        return np.asarray(np.where(values == np.rint(values), values, values * part))


def _mark(model: ModelProto, units: Mapping[str, float]) -> None:
    """Puts a Move after every node that makes one of the tensors in ``units``, in place."""
    from onnx import helper

    nodes = list(model.graph.node)
    model.opset_import.add(domain=_DOMAIN, version=1)
    del model.graph.node[:]
    for node in nodes:
        moves = []
        for index, name in enumerate(node.output):
            if name in units:
                node.output[index] = f"{name} as made"
                moves.append(helper.make_node("Move", [node.output[index]], [name], domain=_DOMAIN, unit=units[name]))
        model.graph.node.extend([node, *moves])
