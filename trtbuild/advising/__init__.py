"""Says what is worth doing about a model's speed: measured where that can be done here, estimated for the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.advising.profile import graph_profile
from trtbuild.advising.steps import WORTH, Ground, State, walk
from trtbuild.artifacts import Advice, StoredFile, Target, TargetRates
from trtbuild.backends import BACKENDS
from trtbuild.errors import SpecError, UsageError
from trtbuild.matrixops import node_precisions
from trtbuild.spec.targets import check_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

LAUNCH_SECONDS = 4e-6
"""What starting one kernel is taken for where nobody measured it: a few microseconds of the host's time."""

_SPARSE_FROM = 80  # Ampere has the first tensor cores that skip 2:4 zeros

__all__ = ["LAUNCH_SECONDS", "WORTH", "advise"]


def advise(
    model: Path | StoredFile,
    feed: Mapping[str, NDArray[Any]],
    *,
    rates: TargetRates | None = None,
    target: Target | None = None,
    precision: str = "fp32",
    latency_s: float | None = None,
    most: Mapping[str, int] = MappingProxyType({}),
    launch_s: float = LAUNCH_SECONDS,
    runs: int = 5,
) -> Advice:
    """Profiles a model here and walks through the steps that make it faster on a target, the cheapest first.

    Args:
        model: The FP32 ONNX file.
        feed: What it is profiled on; its shapes are what the estimates are for.
        rates: The target's figures; a GPU of round figures is taken without, of which only ratios mean anything.
        target: The target, for what it cannot do; nothing is refused without.
        precision: What it is built in today.
        latency_s: What a run on this feed's shapes may take, seconds.
        most: Largest size of each named axis; the batch axis is taken to 8 times the feed's where it is not there.
        launch_s: What starting a kernel takes, seconds; ``trtbuild bench`` measures the enqueue of a plan.
        runs: Runs to profile.

    Returns:
        Where the time goes, what bounds it, and every step with a verdict and its estimated effect.

    Raises:
        UsageError: The file has its precision written in it; or a latency is asked of no target.
    """
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    proto = onnxfile.load(stored.path, weights=False)
    _hold_float(proto, str(stored.path))
    if latency_s is not None and (rates is None or not rates.peak):
        raise UsageError(
            "no figures say how fast the target is", place="--latency-ms", hint="name a --target with figures"
        )
    batch, sizes = _axes(proto, feed)
    ground = Ground(
        proto, rates or TargetRates("no target", {}, None, ""), sizes, batch, most.get(batch or "", 0),
        _refused(target), _skips_zeros(target), launch_s,
    )  # fmt: skip
    now = State(precision, rows=sizes.get(batch, 1) if batch else 1)
    steps, after = walk(ground, now, latency_s)
    estimate = ground.estimate(now)
    return Advice(
        model=stored.digest,
        precision=precision,
        profile=graph_profile(stored.path, feed, runs=runs),
        estimate=estimate,
        launches=len(estimate.parts),
        launch_seconds=launch_s,
        estimated_seconds=ground.seconds(now),
        bound=ground.bound(now),
        latency_seconds=latency_s,
        estimated_met=None if latency_s is None else ground.seconds(after) <= latency_s,
        steps=steps,
        notes=_notes(ground, after, latency_s, named=rates is not None),
    )


def _hold_float(model: ModelProto, place: str) -> None:
    written = sorted(set(node_precisions(model).values()) - {"fp32"})
    if written:
        raise UsageError(
            f"its precision is written in it: {', '.join(written)}",
            place=place,
            hint="give the FP32 model it was made of; `trtbuild bench` measures this one",
        )


def _axes(model: ModelProto, feed: Mapping[str, NDArray[Any]]) -> tuple[str | None, dict[str, int]]:
    """The name of the axis that rows lie on, where it is dynamic and all inputs share it; and every axis's size."""
    tensors = onnxfile.inputs(model)
    sizes = {d: n for t in tensors for d, n in zip(t.shape, feed[t.name].shape, strict=True) if isinstance(d, str)}
    first = {t.shape[0] for t in tensors if t.shape}
    name = first.pop() if len(first) == 1 else None
    return (name if isinstance(name, str) else None), sizes


def _refused(target: Target | None) -> dict[str, str]:
    found = {}
    for precision in ("tf32", "fp16", "int8") if target else ():
        try:
            check_precision(target, precision)  # type: ignore[arg-type]
        except SpecError as error:
            found[precision] = error.message
    return found


def _skips_zeros(target: Target | None) -> bool:
    if target is None:
        return True
    return target.sm >= _SPARSE_FROM and "sparsity" not in BACKENDS.load(target.backend).IGNORES


def _notes(ground: Ground, after: State, latency: float | None, *, named: bool) -> tuple[str, ...]:
    said = [
        "the profile is measured here, in ONNX Runtime; all about the target is estimated from its datasheet",
        f"starting a kernel is taken for {ground.launch_seconds * 1e6:g} us, which nobody measured",
        "what the host does before and after the model was not measured",
    ]
    if not named:
        said.append("no target was named: only ratios of the estimates mean anything")
    if latency is not None and ground.batch and ground.seconds(after) <= latency:
        fits = _rows_within(ground, after, latency)
        said.append(f"batches of up to {fits} rows are estimated to stay within the latency, with all steps to be done")
    return tuple(said)


def _rows_within(ground: Ground, state: State, latency: float) -> int:
    """The largest power of two times the rows, within what the axis may be, that is estimated to keep the latency."""
    from dataclasses import replace

    rows, most = state.rows, ground.most_rows or state.rows * 64
    while rows * 2 <= most and ground.seconds(replace(state, rows=rows * 2)) <= latency:
        rows *= 2
    return rows
