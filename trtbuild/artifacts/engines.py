"""The plan, and what its kernels run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trtbuild.artifacts.estimates import Estimate
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
        plugins: Copies of the plug-in libraries that were loaded; what runs the plan loads them first.
        reproducible: Whether a second build, in another process, gave the same bytes; None where there was none.
        estimate: Its time on its target from datasheet rates; None where the kernels or the figures are not known.
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
    plugins: tuple[StoredFile, ...] = ()
    reproducible: bool | None = None
    estimate: Estimate | None = None

    @property
    def not_ready(self) -> str:
        """Why nothing can run or serve this plan here as it is; empty when it can."""
        if self.options.get("strip_weights"):
            return "it was built without its weights (build.strip_weights) and has to be refitted first"
        if self.options.get("runtime_platform", "same_as_build") != "same_as_build":
            return f"it was built for {self.options['runtime_platform']} (build.runtime_platform)"
        return ""
