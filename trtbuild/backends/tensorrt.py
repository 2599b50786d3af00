"""TensorRT 10 and 11: builds plans for the GPU of the machine it runs on.

It needs that GPU, its driver, and the `tensorrt` package, whose libraries come from NVIDIA's own index. The build path
is the one TensorRT-RTX takes; on a GPU it has not been run by us.
"""

from __future__ import annotations

from typing import Any

from trtbuild.artifacts import Gap, Target
from trtbuild.errors import MissingDependencyError

PACKAGE = "tensorrt"
DISTRIBUTIONS = ("tensorrt",)
EXTRA = "gpu"
ENVIRONMENT: dict[str, str] = {}
NEEDS_GPU_TO_BUILD = True
CAPABILITIES = None
MAGIC = (b"ptrt", b"ftrt")
HEADER_TARGETS: dict[int, str] = {}
LOADED_BY_TRITON = True
IGNORES: dict[str, str] = {}
HAS_LEAN_RUNTIME = True
NEEDS: tuple[str, ...] = ()
REFITS_WITHOUT_GPU = True  # it is never without one
GAPS: tuple[Gap, ...] = ()  # none is known to us: it has not been run


def aim(trt: Any, config: Any, target: Target) -> None:  # noqa: ARG001
    """Checks that the GPU of this machine is the target: TensorRT builds for the device it runs on.

    Raises:
        MissingDependencyError: The GPU has another compute capability.
    """
    from trtbuild.device import compute_capabilities

    present = compute_capabilities()
    if target.compute_capability not in present:
        raise MissingDependencyError(
            f"this machine's GPUs are of compute capability {', '.join(present) or 'none'}, "
            f"the target is {target.compute_capability}",
            place=f"target {target.name}",
            hint="TensorRT builds on the GPU it builds for: run this on the target machine",
        )
