"""The compile stage: one strongly typed ONNX becomes one plan for one target, in a worker process.

Names are looked up on first use: the worker process imports modules of this package with a Python that may have
nothing but TensorRT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtbuild.engine.compiling import compile as compile  # noqa: A004
    from trtbuild.engine.compiling import typed_from_file as typed_from_file
    from trtbuild.engine.requirements import hold_available as hold_available
    from trtbuild.engine.requirements import hold_options as hold_options

__all__ = ["compile", "hold_available", "hold_options", "typed_from_file"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'trtbuild.engine' has no attribute {name!r}")
    from trtbuild.engine import compiling, requirements

    return getattr(requirements if name.startswith("hold_") else compiling, name)
