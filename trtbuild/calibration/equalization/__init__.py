"""Exact FP32 rewrites that leave less error in low precision: the equalize step of calibration.

Some samples fit (channel ranges, thresholds), others judge. A transform is kept only where the judging samples' SQNR
rises, and only where the FP32 outputs stay what they were: factors are rounded to powers of two, so that no FP32
result is rounded otherwise than before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import EqualizedOnnx, StoredFile, TriedTransform
from trtbuild.calibration.equalization.branches import close_unused, open_branches
from trtbuild.calibration.equalization.channels import ChannelMap, shapes_on
from trtbuild.calibration.equalization.components import Component, components
from trtbuild.calibration.equalization.observation import Observation, observe
from trtbuild.calibration.table import METHODS
from trtbuild.errors import FeedError
from trtbuild.feeds import Sample, parts
from trtbuild.quantization import Fidelity, place, write_qdq
from trtbuild.quantization.names import name_nodes
from trtbuild.registry import Registry

if TYPE_CHECKING:
    from types import ModuleType

    from onnx import ModelProto

    from trtbuild.quantization import Placement

TRANSFORMS = Registry("trtbuild.calibration.equalization.transforms", "transform")
DEFAULT = ("smoothing", "cross_layer", "branch_smoothing")
"""Tried in this order."""
WORTH_DB = 0.1
"""A transform that brings less than this is not kept: a few samples cannot tell it from chance."""
EXACT = 1e-6
"""Largest difference of an FP32 output, as a share of its range. Factors are powers of two, so it is 0 as a rule."""
_PROVED = 4  # judging samples on which the FP32 outputs are compared
_LOCAL = 0.97  # noise that a component may keep of what it had, by the estimate, to be scaled at all


def equalize(
    model: StoredFile | Path | str,
    samples: Iterable[Any],
    workdir: Path | str,
    *,
    transforms: Sequence[str] = DEFAULT,
    method: str = "mse",
    on_transform: Callable[[str], None] = lambda _name: None,
) -> EqualizedOnnx:
    """Balances the channels of a model for low precision; the function stays the same.

    Args:
        model: The rewritten FP32 ONNX; only read.
        samples: Calibration samples; every fourth row judges, the others fit.
        workdir: Folder for the result, ``equalized.onnx``.
        transforms: Which to try, in order; ``()`` tries none.
        method: How thresholds are chosen while trying: one that works on histograms, so not ``auto``.
        on_transform: Called with each transform's name before it is tried.

    Returns:
        The model, and what was tried.

    Raises:
        UsageError: There is no such transform or method.
        FeedError: There are too few samples to fit with some and judge with others.
        ModelError: A quantised activation turns NaN or Inf.
    """
    METHODS.load(method)
    loaded = [(name, TRANSFORMS.load(name)) for name in transforms]
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    folder = Path(workdir)
    proto = onnxfile.load(stored.path)
    name_nodes(proto)
    if not loaded or not place(proto).nodes:
        return EqualizedOnnx(onnxfile.save(proto, folder / "equalized.onnx"), (), 0)
    fit, judge = parts(samples, onnxfile.inputs(proto))  # a reader's part is read again for each pass, not held
    trial = _Trial(proto, stored, fit, judge, folder, method)
    tried = []
    for name, module in loaded:
        on_transform(name)
        tried.append(trial.of(name, module))
    return EqualizedOnnx(
        model=onnxfile.save(trial.model, folder / "equalized.onnx"),
        tried=tuple(tried),
        judged_on=trial.judged_on,
        notes=tuple(trial.notes),
    )


class _Trial:
    """The best model so far, and how a change of it is judged."""

    def __init__(
        self,
        model: ModelProto,
        stored: StoredFile,
        fit: Iterable[Sample],
        judge: Iterable[Sample],
        folder: Path,
        method: str,
    ) -> None:
        first, judges = next(iter(fit), None), list(judge)
        if first is None:
            raise FeedError(
                "one sample is too few: some fit, others judge", place="calibration", hint="give the reader more rows"
            )
        self.model, self.fit, self.folder, self.method = model, fit, folder, method
        self.probe = first.feed
        self.placement = place(model)
        self.fidelity = Fidelity(model, judges)
        self.exact = Fidelity(model, judges[:_PROVED])
        self.judged_on = sum(s.rows for s in judges)
        self.seen = observe(stored, fit, self.placement, method)
        self.best_db = self._judged(model, self.placement, self.seen)
        self.notes: list[str] = []

    def of(self, name: str, transform: ModuleType) -> TriedTransform:
        """Tries one transform and keeps it where it helps."""
        channels = ChannelMap(self.model, shapes_on(self.model, self.probe))
        placement, seen = self.placement, self.seen
        opened: dict[str, str] = {}
        if hasattr(transform, "OPENS"):
            model, opened = open_branches(channels, placement, transform.OPENS)
            channels = ChannelMap(model, shapes_on(model, self.probe))
            placement, seen = place(model), seen.also_at(opened)
        found = components(channels, placement, seen)
        factors: dict[int, float] = {}
        nodes = 0
        for component in found:
            best = self._best(component, transform.candidates)
            if best is not None:
                factors |= dict(zip(component.roots, best.tolist(), strict=True))
                nodes += len(component.readers)
        change = f"scales {len(factors)} channels that {nodes} of {len(self.placement.nodes)} quantised nodes read"
        before = self.best_db
        if not factors:
            return TriedTransform(name, "nothing it could improve", before, before, kept=False)
        changed = channels.apply(factors)
        close_unused(changed, opened)
        placement = place(changed)
        difference = self._difference(changed)
        if difference > EXACT:
            self.notes.append(f"{name}: FP32 outputs moved by {difference:.1e} of their range, so it was dropped")
            return TriedTransform(name, change, before, before, kept=False)
        seen = observe(onnxfile.save(changed, self.folder / "trial.onnx"), self.fit, placement, self.method)
        (self.folder / "trial.onnx").unlink()
        after = self._judged(changed, placement, seen)
        kept = after >= before + WORTH_DB
        if kept:
            self.model, self.placement, self.seen, self.best_db = changed, placement, seen, after
        return TriedTransform(name, change, before, after, kept)

    def _best(self, component: Component, candidates: Callable[[Component], Iterable[Any]]) -> Any:
        """The factors with the least estimated noise; None where none is better than leaving things alone."""
        import numpy as np

        least = _LOCAL * component.noise(np.ones(len(component.roots)), self.method)
        best = None
        for proposed in candidates(component):
            factors = np.exp2(np.rint(np.log2(proposed)))
            noise = component.noise(factors, self.method)
            if noise < least:
                best, least = factors, noise
        return best

    def _judged(self, model: ModelProto, placement: Placement, seen: Observation) -> float:
        return self.fidelity.sqnr_db(write_qdq(model, placement, seen.amax))

    def _difference(self, model: ModelProto) -> float:
        """Largest difference of an FP32 output on the judging samples, as a share of that output's range."""
        shares = []
        for each in self.exact.of(model):
            low, high = each.reference_range
            shares.append(float("inf") if each.nonfinite else each.max_abs / max(high - low, 1e-30))
        return max(shares, default=0.0)
