"""Holds a rewritten graph against the original, both in ONNX Runtime with its own optimisation off.

The outputs are always compared. For a proof of each edit, every tensor that both graphs have under one name is
compared too: an edit keeps the names of the tensors around it, so a difference shows right where it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import OptimizationProfile
from trtbuild.errors import InvalidOnnxError
from trtbuild.matrixops import tensor_shapes
from trtbuild.rewriter.rounding import Rounding, roundings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

EQUAL = 2e-5
"""Of a tensor's largest magnitude: rewrites reorder sums and nothing else."""

_LAST_PLACES = 8 * 2.0**-23  # of float32
_MARKED = 256  # tensors marked as outputs in one run
_LARGEST = 64 << 20  # bytes of a tensor that is still compared inside the graph


class Proof:
    """The original and what it computes at some sizes; made once, used for every graph held against it.

    Args:
        model: The original.
        profiles: Sizes of the dynamic axes; a few guesses are tried without.
        thorough: Whether to compare the tensors inside the graph too, and at more and odd sizes.
        folder: Where weights lie that are not in memory, for both graphs.
        feeds: What to run on; random values at those sizes without.
    """

    def __init__(
        self,
        model: ModelProto,
        profiles: Sequence[OptimizationProfile],
        *,
        thorough: bool,
        folder: Path | None = None,
        feeds: Sequence[Mapping[str, NDArray[Any]]] = (),
    ) -> None:
        import numpy as np

        from trtbuild.feeds import random_feed
        from trtbuild.onnxrun import run, session

        self.model, self.thorough, self.folder = model, thorough, folder
        self.outputs = [o.name for o in model.graph.output]
        inside = _tensors_made(model) if thorough else []
        self.reads = {name: node.input for node in model.graph.node for name in node.output}
        self.wanted: list[tuple[Mapping[str, NDArray[Any]], dict[str, NDArray[Any]]]] = []
        self.excused: list[str] = []
        self._roundings: dict[int, dict[str, Rounding]] = {}
        random = np.random.default_rng(0)
        try:
            plain = session(model, folder=folder)
        except InvalidOnnxError:  # an operator of a plugin, say
            return
        inputs = onnxfile.inputs(model)
        made = (random_feed(inputs, sizes, {}, random) for sizes in _sizes(model, profiles, thorough=thorough))
        for feed in feeds or made:
            try:
                got = run(plain, feed)
            except InvalidOnnxError:  # a size the model cannot take: not the rewrite's doing
                continue
            self.wanted.append((feed, got))
            if len(self.wanted) == (4 if thorough else 2):
                break
        if inside:
            self.wanted = [(feed, _run_marked(model, inside, feed, folder) | got) for feed, got in self.wanted]
        self.wanted = [(feed, believed) for feed, got in self.wanted if (believed := _believed(model, feed, got))]

    @property
    def ran(self) -> bool:
        """Whether the original ran at all; if not, nothing can be proved."""
        return bool(self.wanted)

    def _laid_out(self, name: str, value: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
        """A tensor inside the graph may have got another layout of the same values; an output may not."""
        inside = name not in self.outputs
        return value.reshape(wanted.shape) if inside and value.size == wanted.size else value

    def _terms(self, name: str, wanted: Mapping[str, NDArray[Any]]) -> float:
        """Largest magnitude of what a tensor's node reads, of the tensors that were looked at."""
        import numpy as np

        read = [wanted[n] for n in self.reads.get(name, ()) if n in wanted and wanted[n].dtype.kind == "f"]
        return max((float(np.abs(v[np.isfinite(v)]).max(initial=0)) for v in read), default=0.0)

    def difference(self, model: ModelProto) -> str | None:
        """The first difference of a rewritten graph from the original, in words; None when there is none.

        What differs by no more than rounding explains is no difference; ``excused`` has it in words, for each output.
        """
        from trtbuild.onnxrun import run, session

        shared = [name for name in _tensors_made(model) if any(name in wanted for _, wanted in self.wanted)]
        self.excused = []
        try:
            plain = None if self.thorough else session(model, folder=self.folder)
            for number, (feed, wanted) in enumerate(self.wanted):
                got = (
                    run(plain, feed)
                    if plain is not None
                    else _run_marked(model, [*shared, *self.outputs], feed, self.folder)
                )
                got = _believed(model, feed, got)
                found = (self._apart(number, name, got[name]) for name in got if name in wanted)
                if (first := next(filter(None, found), None)) is not None:
                    return first
        except InvalidOnnxError as error:
            return f"the rewritten graph does not run: {error.message}"
        return None

    def _apart(self, number: int, name: str, value: NDArray[Any]) -> str | None:
        """How a tensor of one run differs by more than rounding explains, in words."""
        wanted = self.wanted[number][1]
        value, terms = self._laid_out(name, value, wanted[name]), self._terms(name, wanted)
        reason = differs(wanted[name], value, terms=terms)
        if not reason:
            return None
        if not self._is_rounding(number, name, value, terms):
            return f"{'output' if name in self.outputs else 'tensor'} {name!r} {reason}"
        if name in self.outputs:
            self.excused.append(f"output {name!r} {reason}, which the rounding errors of the original explain")
        return None

    def _is_rounding(self, number: int, name: str, value: NDArray[Any], terms: float) -> bool:
        """Whether a difference is one that the original has from its own exact result; asked of few, so found late."""
        feed, wanted = self.wanted[number]
        if self.folder is not None or value.dtype != wanted[name].dtype or value.shape != wanted[name].shape:
            return False
        if number not in self._roundings:
            self._roundings[number] = roundings(self.model, feed, wanted)
        known = self._roundings[number].get(name)
        return known is not None and known.explains(value, _tolerance(wanted[name], terms))


def differs(wanted: NDArray[Any], got: NDArray[Any], *, terms: float = 0) -> str | None:
    """How one array differs from another; None when it does not.

    Args:
        wanted: The original's.
        got: The rewritten graph's.
        terms: Largest magnitude of what the array was summed from, where that is known: a sum that cancels is only as
            exact as its terms.

    Returns:
        A reason when an element differs by more than ``EQUAL`` times the largest magnitude of ``wanted`` and by more
        than eight units in the last place of ``terms``.
    """
    import numpy as np

    if wanted.dtype != got.dtype:
        return f"is {got.dtype.name} instead of {wanted.dtype.name}"
    if wanted.shape != got.shape:
        return f"has the shape {list(got.shape)} instead of {list(wanted.shape)}"
    if wanted.dtype.kind not in "fcV":
        return None if np.array_equal(wanted, got) else "has other values"
    exact, mine = wanted.astype(np.float64), got.astype(np.float64)
    if np.allclose(exact, mine, rtol=0, atol=_tolerance(wanted, terms), equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        apart = np.abs(exact - mine)
    apart = apart[np.isfinite(apart)]
    return f"differs by {float(apart.max()):.3g}" if apart.max(initial=0) > 0 else "is NaN or Inf in other places"


def _tolerance(wanted: NDArray[Any], terms: float) -> float:
    """What two results in a tensor's own precision may differ by, in its unit; 0 for whole numbers."""
    import numpy as np

    if wanted.dtype.kind not in "fcV":
        return 0.0
    exact = wanted.astype(np.float64)
    coarse = 2e-3 if wanted.dtype.itemsize == 2 else EQUAL
    scale = max(float(np.abs(exact[np.isfinite(exact)]).max(initial=0)), 1e-3)
    return max(coarse * scale, _LAST_PLACES * terms)


def _sizes(model: ModelProto, profiles: Sequence[OptimizationProfile], *, thorough: bool) -> list[dict[str, int]]:
    """Sizes of the dynamic axes to run at: the profiles' smallest and tuned ones; without profiles a few guesses."""
    axes = sorted({d for t in onnxfile.inputs(model) for d in t.shape if isinstance(d, str)})
    if not axes:
        return [{}, {}] if thorough else [{}]
    guesses = [{axis: size + number for number, axis in enumerate(axes)} for size in (2, 5, 16, 64, 224)]
    if not profiles:
        return [*guesses, dict.fromkeys(axes, 1), dict.fromkeys(axes, 7)] if thorough else guesses
    known = [{a: getattr(r, which) for a, r in p.axes.items()} for p in profiles for which in ("min", "opt")]
    if thorough:
        known += [{a: min(r.max, r.min + 1) for a, r in p.axes.items()} for p in profiles]
    return [dict(items) for items in dict.fromkeys(tuple(k.items()) for k in known)]


def _believed(
    model: ModelProto, feed: Mapping[str, NDArray[Any]], got: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What to believe of what ONNX Runtime gives: its reductions of an empty tensor leave the axis as large as it was.

    Seen with 1.31 on a CPU. So of an empty feed's results those count that have the shape which the graph infers.
    """
    if all(value.size for value in feed.values()):
        return got
    shapes = tensor_shapes(model, {name: value.shape for name, value in feed.items()})
    return {name: value for name, value in got.items() if shapes.get(name, value.shape) == value.shape}


def _tensors_made(model: ModelProto) -> list[str]:
    """Names of what the main graph's nodes make, in order."""
    return [name for node in model.graph.node for name in node.output if name]


def _run_marked(
    model: ModelProto, names: Sequence[str], feed: Mapping[str, NDArray[Any]], folder: Path | None
) -> dict[str, NDArray[Any]]:
    """The values of tensors inside a graph, some at a time so that marking everything does not run out of memory."""
    import onnx

    from trtbuild.onnxrun import run, session

    made = set(_tensors_made(model))
    types = onnxfile.element_types(model)
    own = [o.name for o in model.graph.output]
    tensors = [n for n in dict.fromkeys(names) if n in made and n not in own and types.get(n)]
    found: dict[str, NDArray[Any]] = {}
    for start in range(0, len(tensors), _MARKED) or [0]:
        part = tensors[start : start + _MARKED]
        marked = onnx.ModelProto()
        marked.CopyFrom(model)
        marked.graph.output.extend(onnx.helper.make_tensor_value_info(n, types[n], None) for n in part)
        got = run(session(marked, folder=folder), feed)
        found |= {n: v for n, v in got.items() if getattr(v, "nbytes", _LARGEST) < _LARGEST or n in own}
    return {n: found[n] for n in (*tensors, *own) if n in found}
