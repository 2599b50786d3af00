"""Why TensorRT gave no plan, and the lever to pull."""

from __future__ import annotations

from trtbuild.artifacts import Target
from trtbuild.engine.log import Log
from trtbuild.errors import BuildError

_CAUSES = (
    ("out of memory", "narrow the profile's max sizes, or lower build.workspace_mib"),
    ("OutOfMemory", "narrow the profile's max sizes, or lower build.workspace_mib"),
    ("could not find any implementation", "often memory: raise build.workspace_mib, or narrow the profile's max sizes"),
    ("not supported by a dedicated kernel", "export with an opset below 23: --set model.opset=20"),
    ("FP32 GEMM is not supported", "this GPU has no FP32 matrix kernels here: take precision fp16"),
)


def build_error(log: Log, target: Target) -> BuildError:
    """The error for a build that gave no plan, from what TensorRT logged."""
    words = "\n".join(log.errors()).lower()
    hint = next((h for word, h in _CAUSES if word.lower() in words), "the lines are TensorRT's own, the cause first")
    return BuildError(f"TensorRT did not build the engine:\n    {log.said()}", place=f"target {target.name}", hint=hint)
