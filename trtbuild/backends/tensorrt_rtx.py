"""TensorRT for RTX: builds plans for GeForce and workstation GPUs ahead of time, without a GPU.

Seen with 1.7.1: SM75, SM80, SM86, SM89, SM120, SM121. `IGNORES` lists the options that change nothing in a plan.
"""

from __future__ import annotations

from typing import Any

from trtbuild.artifacts import Gap, Target
from trtbuild.errors import BuildError

PACKAGE = "tensorrt_rtx"
DISTRIBUTIONS = ("tensorrt-rtx", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")
EXTRA = "rtx"
ENVIRONMENT = {"POLYGRAPHY_USE_TENSORRT_RTX": "1"}
NEEDS_GPU_TO_BUILD = False
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
MAGIC = (b"vtrt",)
HEADER_TARGETS = {1: "7.5", 2: "8.0", 4: "8.6", 8: "8.9", 16: "12.0", 32: "12.1"}
LOADED_BY_TRITON = False
_SAME_PLAN = "TensorRT-RTX accepts it and builds the same plan"
IGNORES = {
    "optimization_level": _SAME_PLAN,
    "max_num_tactics": _SAME_PLAN,
    "avg_timing_iterations": _SAME_PLAN,
    "tactic_sources": _SAME_PLAN,
    "tactic_dram_mib": _SAME_PLAN,
    "tiling": _SAME_PLAN,
    "tiling_l2_mib": _SAME_PLAN,
    "sparsity": _SAME_PLAN,
    "strict_nans": _SAME_PLAN,
    "distributive_independence": _SAME_PLAN,
    "timing_cache": "TensorRT-RTX times no kernels: there is nothing to pin",
}
HAS_LEAN_RUNTIME = False
NEEDS = ("ComputeCapability", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability")
REFITS_WITHOUT_GPU = False
GAPS = (  # seen with 1.7.1
    Gap(
        "7.5", "fp32", ("MatMul", "Gemm"), builds=False,
        words="TensorRT-RTX has no FP32 matrix multiplication for compute capability 7.5",
        hint="take precision fp16 for this target",
    ),
    Gap(
        "7.5", "int8", ("Conv",), builds=True,
        words="TensorRT-RTX runs INT8 convolutions in FP16 on compute capability 7.5",
        hint="take precision fp16 for this target, or accept FP16 with build.allow_precision_fallback: true",
    ),
)  # fmt: skip


def aim(trt: Any, config: Any, target: Target) -> None:
    """Builds for the target's compute capability and no other.

    Raises:
        BuildError: This TensorRT-RTX does not know the capability.
    """
    capability = getattr(trt.ComputeCapability, f"SM{target.sm}", None)
    if capability is None:
        known = [n for n in trt.ComputeCapability.__members__ if n.startswith("SM")]
        raise BuildError(
            f"this TensorRT-RTX does not build for SM{target.sm}",
            place=f"target {target.name}",
            hint=f"it has {', '.join(known)}",
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(capability, 0):
        raise BuildError(f"TensorRT-RTX refused SM{target.sm}", place=f"target {target.name}")
