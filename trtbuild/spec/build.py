"""The ``build`` block of a spec: every option of the engine build, and what its default means."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from trtbuild.artifacts import BuildOptions
from trtbuild.artifacts.options import HardwareCompatibility, Refit, RuntimePlatform, TilingLevel, Verbosity


class BuildSpec(BaseModel):
    """Options of the engine build. What a backend cannot honour is an error, what it ignores a warning."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    allow_precision_fallback: bool = Field(
        False,
        description="Accept a plan whose matrix work does not all run in the precision asked for; by default that is "
        "an error.",
    )
    timeout_s: float = Field(3600, gt=0, description="Seconds after which a build is stopped; an hour by default.")
    memory_limit_mib: PositiveInt | None = Field(
        None,
        description="MiB of this machine's memory that the builder's process may hold of its own; no limit by default.",
    )
    check_reproducible: bool = Field(
        False,
        description="Build every plan a second time, in another process, and say whether the bytes are the same; it "
        "takes twice as long.",
    )
    workspace_mib: PositiveInt | None = Field(
        None,
        description="Device memory that a kernel may take for scratch, MiB; by default all the GPU has. Less rules "
        "kernels out, and a limit no kernel fits in fails the build.",
    )
    tactic_dram_mib: PositiveInt | None = Field(
        None,
        description="Device memory for trying kernels, MiB; TensorRT's own choice by default. Lower it to build on a "
        "GPU that others use.",
    )
    tactic_shared_memory_kib: PositiveInt | None = Field(
        None, description="Shared memory a block of a kernel may take, KiB; by default all that the GPU allows."
    )
    optimization_level: int | None = Field(
        None,
        ge=0,
        le=5,
        description="How many kernels the builder tries, 0 (quick build) to 5 (slow build, at best a faster engine); "
        "TensorRT's own, 3, by default. TensorRT-RTX ignores it.",
    )
    max_num_tactics: PositiveInt | None = Field(
        None, description="Kernels tried for a layer at most: bounds a build's time; TensorRT's own choice by default."
    )
    avg_timing_iterations: PositiveInt | None = Field(
        None,
        description="Runs that each trial's time is averaged over; 1 by default. More make a slower build that finds "
        "the same kernels more often.",
    )
    tactic_sources: list[str] | None = Field(
        None,
        description="Libraries whose kernels are tried beside TensorRT's own: edge_mask_convolutions, "
        "jit_convolutions, on TensorRT 10 also cublas, cublas_lt, cudnn; TensorRT's own choice by default, [] for "
        "none.",
    )
    tiling: TilingLevel | None = Field(
        None,
        description="How hard the builder looks for tilings over several layers that keep data in the level-2 cache; "
        "TensorRT's own, none, by default. TensorRT 10.16 and later.",
    )
    tiling_l2_mib: PositiveInt | None = Field(
        None, description="Level-2 cache that a tiling may count on, MiB; by default what TensorRT finds."
    )
    max_aux_streams: int | None = Field(
        None,
        ge=0,
        description="CUDA streams that one execution may take beside its own; TensorRT's own choice by default. 0 "
        "takes the least memory.",
    )
    timing_cache: str = Field(
        "shared",
        description="shared (the default): kernels timed once are not timed again, in a file of the user's cache for "
        "each TensorRT version and GPU. off: all are timed in each build. Or a file, relative to the spec: it is read "
        "and never written, and a kernel that is not in it is an error, so two builds take the same kernels.",
    )
    hardware_compatibility: HardwareCompatibility = Field(
        "none",
        description="Other GPUs that the plan shall run on, at some cost in speed: ampere_plus, or other models of "
        "the same_compute_capability (TensorRT 10.16 and later); by default none but the one it is built for.",
    )
    version_compatible: bool = Field(
        False,
        description="Whether later releases of the same major version shall load the plan; by default only the "
        "release that built it. Triton wants --backend-config=tensorrt,version-compatible=true for such a plan.",
    )
    exclude_lean_runtime: bool | None = Field(
        None,
        description="Whether a version-compatible plan leaves out the runtime that loads it, which then has to be "
        "installed where it runs; by default only where the backend has none to put in (tensorrt_rtx).",
    )
    runtime_platform: RuntimePlatform = Field(
        "same_as_build",
        description="Operating system that the plan runs on; by default the one it is built on. windows_amd64 needs "
        "TensorRT 10.16 or later on Linux, and cannot be served here.",
    )
    refit: Refit = Field(
        "none",
        description="Which weights may be put into the plan later: identical (the same, into a stripped plan) or "
        "any, which costs fusions (and in TensorRT 11.3.0, by its release notes, can lose the bias of a matrix "
        "product); by default none.",
    )
    strip_weights: bool = Field(
        False,
        description="Write the plan without the weights that a refit brings back. For `trtbuild compile`: Triton "
        "cannot refit a plan.",
    )
    weight_streaming: bool = Field(
        False,
        description="Whether weights may stay on the host and be streamed in, for models larger than the GPU's "
        "memory; how much, is said when the plan runs.",
    )
    sparsity: bool = Field(
        False, description="Whether kernels for weights with two zeros in each four are tried (Ampere and later)."
    )
    strict_nans: bool = Field(
        False, description="Whether NaN goes through every layer as IEEE 754 says; by default a kernel may lose it."
    )
    distributive_independence: bool = Field(
        False, description="Whether a row's result may not depend on its place in the batch; by default it may."
    )
    dla_core: int | None = Field(
        None,
        ge=0,
        description="Deep learning accelerator of a Jetson to build for, at one size of each axis; by default the GPU.",
    )
    dla_gpu_fallback: bool = Field(
        False,
        description="Whether a layer that the accelerator cannot run goes to the GPU; by default it fails the build.",
    )
    dla_sram_kib: PositiveInt | None = Field(
        None, description="The accelerator's managed SRAM for a network, KiB, a power of two; TensorRT's by default."
    )
    dla_local_dram_mib: PositiveInt | None = Field(
        None, description="The accelerator's memory for tensors, MiB, a power of two; TensorRT's own, 1024, by default."
    )
    dla_global_dram_mib: PositiveInt | None = Field(
        None, description="The accelerator's memory for weights, MiB, a power of two; TensorRT's own, 512, by default."
    )
    plugins: list[str] = Field(
        default_factory=list,
        description="Plug-in libraries (.so) to load before the model is parsed, relative to the spec. What runs the "
        "plan has to load them too: Triton with --backend-config=tensorrt,plugins=FILE.",
    )
    profiling_verbosity: Verbosity = Field(
        "detailed",
        description="What the plan tells of its layers; detailed by default, for that is how the precision they run "
        "in is checked. Less needs allow_precision_fallback.",
    )

    @model_validator(mode="after")
    def _fit_each_other(self) -> BuildSpec:
        said = self.options(Path()).contradiction()
        if said is not None:
            raise ValueError(said)
        return self

    def options(self, folder: Path) -> BuildOptions:
        """The frozen value that the compile stage takes.

        Args:
            folder: Where relative paths start.
        """
        values = self.model_dump()
        values["plugins"] = tuple(str(folder / plugin) for plugin in self.plugins)
        values["tactic_sources"] = None if self.tactic_sources is None else tuple(self.tactic_sources)
        if self.timing_cache not in ("shared", "off"):
            values["timing_cache"] = str(folder / self.timing_cache)
        return BuildOptions(**values)
