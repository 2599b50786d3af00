"""What is worth doing about a model's speed, in which order, and what it is estimated to bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtbuild.artifacts.estimates import Estimate

Bottleneck = Literal["compute", "memory", "launch"]
"""What a run waits for: the arithmetic, the memory, or the host that starts kernel after kernel."""

StepVerdict = Literal["do", "done", "skip", "not needed"]
"""Worth doing; in the spec already; not worth it, or not to be had; the latency asked for is met before it."""


@dataclass(frozen=True)
class TimeShare:
    """Time spent in one node, operator or module, measured.

    Attributes:
        name: The node's name, the operator, or the module's path.
        seconds: Of one run.
        share: Of the time of all nodes, 0 to 1.
        nodes: How many nodes it is.
    """

    name: str
    seconds: float
    share: float
    nodes: int


@dataclass(frozen=True)
class GraphProfile:
    """Where the time goes in ONNX Runtime on this machine, graph optimisation off; measured.

    Attributes:
        provider: The execution provider that ran it.
        runs: Runs that were taken the median of, after one to warm up.
        seconds: Sum over the nodes.
        nodes: Every node, the longest first.
        operators: By operator.
        modules: By the module path in the nodes' names.
    """

    provider: str
    runs: int
    seconds: float
    nodes: tuple[TimeShare, ...]
    operators: tuple[TimeShare, ...]
    modules: tuple[TimeShare, ...]


@dataclass(frozen=True)
class AdvisedStep:
    """One thing that can be done.

    Attributes:
        name: ``tf32``, ``cuda graphs``, ``batching``, ``fp16``, ``int8``, ``sparsity`` or ``distillation``.
        verdict: Whether to do it.
        why: In a sentence.
        how: Lines of the spec, or commands; empty where it is not worth doing.
        estimated_seconds_before: A run before it, with all steps to be done that come before; estimated.
        estimated_seconds: A run with it; None where nothing says.
        rows: Rows of that run; another number than before only for batching.
    """

    name: str
    verdict: StepVerdict
    why: str
    how: tuple[str, ...] = ()
    estimated_seconds_before: float | None = None
    estimated_seconds: float | None = None
    rows: int = 1


@dataclass(frozen=True)
class Advice:
    """Where a model's time goes and what to do about it.

    Attributes:
        model: Digest of the ONNX file.
        precision: What it is taken to be in now.
        profile: Measured here.
        estimate: Roofline of the target, of the model as it is now.
        launches: Kernels of that estimate.
        launch_seconds: What starting one is taken for; nobody measured it.
        estimated_seconds: A run now: the longer of the roofline's time and all launches.
        bound: What that waits for.
        latency_seconds: What was asked for; None where nothing was.
        estimated_met: Whether the steps to be done are estimated to reach it; None where nothing was asked.
        steps: In the order from the cheapest to the dearest.
        notes: What a reader should know.
    """

    model: str
    precision: str
    profile: GraphProfile
    estimate: Estimate
    launches: int
    launch_seconds: float
    estimated_seconds: float
    bound: Bottleneck
    latency_seconds: float | None
    estimated_met: bool | None
    steps: tuple[AdvisedStep, ...]
    notes: tuple[str, ...] = ()

    @property
    def next(self) -> AdvisedStep | None:
        """The cheapest step that is worth doing."""
        return next((s for s in self.steps if s.verdict == "do"), None)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size of each named axis."""
        return self.estimate.sizes
