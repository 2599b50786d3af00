"""How fast: latencies by phase, the state of the GPU around them, advice on profiles, the speed gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trtbuild.device import GpuState

Phase = Literal["host_to_device", "compute", "device_to_host", "enqueue"]
"""Parts of a call on a GPU. ``enqueue`` is the CPU's time to submit the work; it overlaps the others."""

PHASES: tuple[Phase, ...] = ("host_to_device", "compute", "device_to_host", "enqueue")

End = Literal["min", "opt", "max", "given"]
"""Where in its profile a measurement was taken; ``given`` for shapes that were asked for."""


Kind = Literal["plan", "onnx", "other"]
"""What a subject is."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, over many.

    Attributes:
        p50: The median.
        p90: 90th percentile; percentiles interpolate linearly, as NumPy's do.
        p95: 95th percentile.
        p99: 99th percentile; of few runs it is close to ``max``.
        mean: Mean.
        min: The fastest call.
        max: The slowest call.
        spread: Interquartile range over the median, a share: 0.1 says that half of the calls lie within some 5 % of
            the median to each side.
        runs: Calls counted.
    """

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    min: float
    max: float
    spread: float
    runs: int


@dataclass(frozen=True)
class Timing:
    """One subject at one set of shapes.

    Attributes:
        subject: What ran, for example ``plan sm89`` or ``onnx fp32 (ONNX Runtime, CPU)``.
        shapes: Input name to shape.
        latency: Milliseconds a call, from inputs in host memory to outputs in host memory.
        throughput: Rows of the first axis a second, at the median.
        items: Product of the sizes of the profile's axes: what "an item" is in a comparison of shapes.
        profile: Number of the profile the shapes are from; None for shapes that were given.
        end: Where in the profile.
        axis: The one axis that is at this end while the others are at opt; None where all are at it.
        phases: Parts of the call, where the subject can tell them apart.
        ratio: Median of the baseline over this one's at the same shapes: above 1 is faster than the baseline.
        device: What it ran on: ``CPU``, or the GPU's name.
        kind: ``plan``, ``onnx`` (in ONNX Runtime), or ``other``: a callable of the caller's.
    """

    subject: str
    shapes: Mapping[str, tuple[int, ...]]
    latency: Latency
    throughput: float
    items: int = 1
    profile: int | None = None
    end: End = "given"
    axis: str | None = None
    phases: Mapping[Phase, Latency] = field(default_factory=dict)
    ratio: float | None = None
    device: str = "CPU"
    kind: Kind = "other"

    @property
    def compute(self) -> Latency:
        """The GPU's own part of the call; the whole call where there is no such part."""
        return self.phases.get("compute", self.latency)


@dataclass(frozen=True)
class ProfileAdvice:
    """A profile that is much slower an item at one end than at opt, and the split to try.

    Attributes:
        subject: What was measured.
        profile: Number of the profile.
        end: The slow end.
        axis: The axis to split; None where several vary and no measurement tells them apart.
        times: How many times slower an item is there than at opt.
        paste: The spec's ``profiles`` with the split; empty without an axis.
        said: The advice in words, with what it rests on.
    """

    subject: str
    profile: int
    end: End
    axis: str | None
    times: float
    paste: str
    said: str


@dataclass(frozen=True)
class Benchmark:
    """Measurements taken side by side in one run.

    Attributes:
        timings: One row a subject and shape.
        gpu: Name of the GPU the plans ran on; None when none did.
        notes: Says so when plans were not run, and what disturbed the run.
        baseline: The subject that ratios are against.
        states: The GPU before, warm and after; empty without one.
        advice: Profiles worth splitting.
    """

    timings: tuple[Timing, ...]
    gpu: str | None
    notes: tuple[str, ...] = ()
    baseline: str | None = None
    states: tuple[GpuState, ...] = ()
    advice: tuple[ProfileAdvice, ...] = ()


@dataclass(frozen=True)
class SpeedResult:
    """An engine beside its FP16 sibling at the opt shapes of one profile.

    Attributes:
        target: The target's name.
        profile: Number of the profile.
        engine_ms: Median of the engine's compute time, milliseconds.
        sibling_ms: Median of the FP16 sibling's.
        margin: Share by which the engine may be slower and still count as equal.
    """

    target: str
    profile: int
    engine_ms: float
    sibling_ms: float
    margin: float

    @property
    def passed(self) -> bool:
        """Whether the engine is no slower than its sibling, give or take the margin."""
        return self.engine_ms <= self.sibling_ms * (1 + self.margin)


@dataclass(frozen=True)
class SpeedGate:
    """Whether quantised engines are worth it: none may be slower than the same model in FP16.

    Attributes:
        results: One a target and profile that were measured.
        allowed: True when the spec accepts slower engines.
        note: Why the gate was not applied, in part or at all; empty when it was applied to every plan.
    """

    results: tuple[SpeedResult, ...] = ()
    allowed: bool = False
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing measured stands against it."""
        return self.allowed or all(result.passed for result in self.results)
