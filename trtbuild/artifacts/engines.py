"""The plan, what its kernels run in, and how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trtbuild.artifacts.files import StoredFile
from trtbuild.artifacts.layers import EngineLayers
from trtbuild.artifacts.tensors import OptimizationProfile, Precision, Target, TensorSpec


@dataclass(frozen=True)
class PrecisionShare:
    """Which share of the matrix work runs in which precision, weighted by multiply-accumulates.

    Attributes:
        shares: Precision word to a share between 0 and 1; they add up to 1 with ``unknown``.
        nodes: Matrix node name to the precision its kernel runs in; ``unknown`` where no kernel names the node.
        not_honoured: Matrix node name to (asked, got) where the kernel's precision is not the one asked for.
    """

    shares: Mapping[str, float]
    nodes: Mapping[str, str]
    not_honoured: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class EnginePlan:
    """A TensorRT plan and everything known about it without running it.

    Attributes:
        plan: The plan file.
        onnx: Digest of the typed ONNX that was compiled.
        target: What it was built for.
        backend_version: Version of the TensorRT that built it.
        precision: What the spec asked for.
        inputs: Inputs, dynamic axes by name.
        outputs: Outputs.
        profiles: Optimisation profiles in the plan's order.
        layers: The kernels read back from the build log, or from the inspector.
        work: Shares of the matrix work by precision.
        log: The builder's messages, warnings and up.
        warnings: Options that this backend ignores, and the builder's own warnings worth a person's time.
        options: The build options that were asked for, by name; files by their digests.
        timing_cache: The times of kernels that this build went by, where its backend takes any: what a later build
            can be pinned to.
        reproducible: Whether a second build, in another process, gave the same bytes; None where there was none.
    """

    plan: StoredFile
    onnx: str
    target: Target
    backend_version: str
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profiles: tuple[OptimizationProfile, ...]
    layers: EngineLayers
    work: PrecisionShare
    log: StoredFile
    warnings: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    timing_cache: StoredFile | None = None
    reproducible: bool | None = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call, over many."""

    p50: float
    p95: float
    p99: float
    mean: float
    runs: int


@dataclass(frozen=True)
class Timing:
    """One subject at one set of shapes.

    Attributes:
        subject: What ran, for example ``plan sm89`` or ``onnx fp32 (ONNX Runtime, CPU)``.
        shapes: Input name to shape.
        latency: Milliseconds a call.
        throughput: Rows of the first axis a second.
    """

    subject: str
    shapes: Mapping[str, tuple[int, ...]]
    latency: Latency
    throughput: float


@dataclass(frozen=True)
class Benchmark:
    """Measurements taken side by side in one run.

    Attributes:
        timings: One row a subject and shape.
        gpu: Name of the GPU the plans ran on; None when none did.
        notes: Says so when plans were not run.
    """

    timings: tuple[Timing, ...]
    gpu: str | None
    notes: tuple[str, ...] = ()
