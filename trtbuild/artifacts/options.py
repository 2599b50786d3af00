"""What can be asked of an engine's build beside its target, its profiles and its precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from trtbuild.content import file_digest

TilingLevel = Literal["none", "fast", "moderate", "full"]
HardwareCompatibility = Literal["none", "ampere_plus", "same_compute_capability"]
RuntimePlatform = Literal["same_as_build", "windows_amd64"]
Refit = Literal["none", "identical", "any"]
Verbosity = Literal["detailed", "layer_names_only", "none"]

_NOT_IN_THE_PLAN = {"timeout_s", "memory_limit_mib"}
"""Options that stop a build or let it go on: a plan that is there is the same plan with any value of them."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of an engine's build; the keys of a spec's ``build`` block, where each is explained.

    None leaves a setting to TensorRT. Paths are absolute.

    Attributes:
        allow_precision_fallback: Take a plan whose kernels do not all honour the graph's precision.
        timeout_s: Seconds after which the build is stopped.
        memory_limit_mib: Memory of its own that the builder's process may hold on the host, MiB.
        check_reproducible: Whether a second build, in another process, shows if the bytes are the same.
        workspace_mib: Device memory for a kernel's scratch, MiB.
        tactic_dram_mib: Device memory while kernels are tried, MiB.
        tactic_shared_memory_kib: Shared memory a block of a kernel may take, KiB.
        optimization_level: 0 to 5: how many kernels are tried.
        max_num_tactics: Kernels tried for a layer at most.
        avg_timing_iterations: Runs that each trial's time is averaged over.
        tactic_sources: Libraries whose kernels are tried, in lower case; () for none of them.
        tiling: How hard the builder looks for tilings over several layers.
        tiling_l2_mib: Level-2 cache that a tiling may count on, MiB.
        max_aux_streams: Streams that an execution may take beside its own.
        timing_cache: ``shared``, ``off``, or a file that is read and never written.
        hardware_compatibility: Other GPUs that the plan shall run on.
        version_compatible: Whether later TensorRT releases of the same major version shall load the plan.
        exclude_lean_runtime: Whether a version-compatible plan leaves out the runtime that loads it; None: where the
            backend has none to put in.
        runtime_platform: Operating system that the plan runs on.
        refit: Which weights may be put into the plan later: ``identical`` ones, or ``any``.
        strip_weights: Whether the plan is written without the weights that a refit brings back.
        weight_streaming: Whether weights may stay on the host and be streamed in as they are needed.
        sparsity: Whether kernels for 2:4 sparse weights are tried.
        strict_nans: Whether NaN goes through every layer as IEEE 754 says.
        distributive_independence: Whether a row's result may not depend on its place in the batch.
        dla_core: Deep learning accelerator to build for; None: the GPU.
        dla_gpu_fallback: Whether a layer that the accelerator cannot run goes to the GPU.
        dla_sram_kib: The accelerator's managed SRAM, KiB.
        dla_local_dram_mib: Its memory for tensors between layers, MiB.
        dla_global_dram_mib: Its memory for weights, MiB.
        plugins: Plug-in libraries to load before the model is parsed.
        profiling_verbosity: What the plan tells of its layers.
    """

    allow_precision_fallback: bool = False
    timeout_s: float = 3600
    memory_limit_mib: int | None = None
    check_reproducible: bool = False
    workspace_mib: int | None = None
    tactic_dram_mib: int | None = None
    tactic_shared_memory_kib: int | None = None
    optimization_level: int | None = None
    max_num_tactics: int | None = None
    avg_timing_iterations: int | None = None
    tactic_sources: tuple[str, ...] | None = None
    tiling: TilingLevel | None = None
    tiling_l2_mib: int | None = None
    max_aux_streams: int | None = None
    timing_cache: str = "shared"
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False
    exclude_lean_runtime: bool | None = None
    runtime_platform: RuntimePlatform = "same_as_build"
    refit: Refit = "none"
    strip_weights: bool = False
    weight_streaming: bool = False
    sparsity: bool = False
    strict_nans: bool = False
    distributive_independence: bool = False
    dla_core: int | None = None
    dla_gpu_fallback: bool = False
    dla_sram_kib: int | None = None
    dla_local_dram_mib: int | None = None
    dla_global_dram_mib: int | None = None
    plugins: tuple[str, ...] = ()
    profiling_verbosity: Verbosity = "detailed"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> BuildOptions:
        """Options from their JSON values, without pydantic: the worker process may have none."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in document.items()}
        return cls(**values)

    @property
    def pinned_cache(self) -> Path | None:
        """The timing cache that is read and never written, where one is named."""
        return None if self.timing_cache in ("shared", "off") else Path(self.timing_cache)

    def asked(self) -> dict[str, Any]:
        """The options that differ from their defaults, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(_DEFAULTS, name)}

    def parameters(self) -> dict[str, Any]:
        """JSON values of all that can change the plan, for a key: a file by its content, whatever it is called."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_IN_THE_PLAN}
        if self.pinned_cache is not None:
            found["timing_cache"] = file_digest(self.pinned_cache)
        sources = self.tactic_sources
        found["tactic_sources"] = None if sources is None else sorted(sources)
        found["plugins"] = [file_digest(Path(plugin)) for plugin in self.plugins]
        return found

    def contradiction(self) -> str | None:
        """The first pair of options that cannot be had together, and what to write; None when all fit."""
        dla = [n for n in self.asked() if n.startswith("dla_") and n != "dla_core"]
        if self.strip_weights and self.refit == "none":
            return "strip_weights takes out what a refit brings back; add   refit: identical   or   refit: any"
        if self.exclude_lean_runtime is not None and not self.version_compatible:
            return "exclude_lean_runtime is about version-compatible plans; add   version_compatible: true"
        if self.tiling_l2_mib is not None and self.tiling in (None, "none"):
            return "tiling_l2_mib limits the search for tilings; add   tiling: fast, moderate or full"
        if dla and self.dla_core is None:
            return f"{', '.join(dla)}: nothing is built for an accelerator; add   dla_core: 0"
        if self.profiling_verbosity != "detailed" and not self.allow_precision_fallback:
            hidden = f"profiling_verbosity {self.profiling_verbosity} hides which precision the layers run in"
            return f"{hidden}; accept that with   allow_precision_fallback: true"
        return None


_DEFAULTS = BuildOptions()
