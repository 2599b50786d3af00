"""Tensors, profiles, targets and precisions: the nouns that every stage shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int8_weights", "int4", "best"]
"""The precisions a spec may ask for. ``int8_weights`` and ``int4`` store weights in it and compute in FP16; ``best`` is
the cheapest for each node that holds the accuracy floor."""

NodePrecision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "int8_weights", "int4"]
"""What one node computes in, or, for the last two, reads its weight in. TF32 is FP32 storage with a builder flag, so a
graph does not show it."""

QUANTIZED: tuple[Literal["int8", "fp8", "int8_weights", "int4"], ...] = ("int8", "fp8", "int8_weights", "int4")
"""Precisions that are written as Q/DQ nodes; the number formats of ``quantization`` have the same names."""

CALIBRATED: tuple[Precision, ...] = ("int8", "fp8")
"""Precisions that store activations too, and so need their ranges."""


@dataclass(frozen=True)
class TensorSpec:
    """A graph input or output.

    Attributes:
        name: Tensor name.
        dtype: NumPy's name of the element type, for example ``float32``.
        shape: One entry an axis: a size, or the name of a dynamic axis.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class AxisRange:
    """Sizes that one axis may take in an engine: smallest, the one to tune for, largest."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class OptimizationProfile:
    """One TensorRT optimisation profile, written once by axis name.

    Attributes:
        axes: Axis name to its sizes.
    """

    axes: Mapping[str, AxisRange]

    def shape(self, tensor: TensorSpec, which: Literal["min", "opt", "max"]) -> tuple[int, ...]:
        """The tensor's shape with every named axis at its ``min``, ``opt`` or ``max`` size."""
        return tuple(d if isinstance(d, int) else int(getattr(self.axes[d], which)) for d in tensor.shape)


@dataclass(frozen=True)
class Target:
    """A device to build for.

    Attributes:
        name: As the user named it, for example ``rtx4090``.
        backend: The TensorRT flavour that builds for it.
        compute_capability: ``major.minor``, for example ``8.9``.
        gpu: The device's product name; empty where only the capability is known.
        python: The interpreter whose TensorRT builds for it; empty for the one that runs trtbuild.
    """

    name: str
    backend: str
    compute_capability: str
    gpu: str = ""
    python: str = ""

    @property
    def sm(self) -> int:
        """Compute capability as one number: 8.9 is 89."""
        major, minor = self.compute_capability.split(".")
        return int(major) * 10 + int(minor)


@dataclass(frozen=True)
class Gap:
    """What a backend does not compute in some number format, on one compute capability.

    Attributes:
        compute_capability: For example ``7.5``.
        format: The format, for example ``int8``.
        operators: ONNX operators that the gap is about.
        builds: True where an engine comes out all the same and computes them in something else.
        words: What is so, to be shown.
        hint: What to do instead.
    """

    compute_capability: str
    format: str
    operators: tuple[str, ...]
    builds: bool
    words: str
    hint: str


@dataclass(frozen=True)
class TargetRates:
    """How fast a device is on paper, for estimates.

    Attributes:
        target: The target's name.
        peak: Number format to dense matrix operations a second; a multiplication and an addition are two.
        bandwidth: Bytes a second from and to its memory; None where it is not known.
        cache: Bytes of its last-level cache; 0 where it is not known.
        source: Where the figures come from.
    """

    target: str
    peak: Mapping[str, float]
    bandwidth: float | None
    source: str = ""
    cache: float = 0.0
