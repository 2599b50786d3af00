"""What tensor cores compute in, by compute capability: the one place that says so.

Sources, looked up in November 2026:

- NVIDIA's TensorRT 8 support matrix: 7.5 has INT8 and FP16 tensor cores and no TF32; 8.0, 8.6 and 8.7 have all three.
- Mojo's ``mma_nvidia`` and TransformerEngine's support matrix: BF16 and TF32 from 8.0, FP8 from 8.9, FP4 from 10.0.
- Model Optimizer's support matrix: FP8 on Ada and later, FP4 on Blackwell and later, INT4 weights on Ampere and later.
- NVIDIA's blogs on Turing, Ampere and Hopper: Turing and Ampere have INT4 tensor cores, Hopper's table has no such row;
  the L40 datasheet has one for Ada. After 8.9 INT4 is a way to store weights.
- Real builds with TensorRT-RTX 1.7.1 of each format for each of its six capabilities agree (``bench/ENGINES.md``).
"""

from __future__ import annotations

from collections.abc import Mapping

from trtbuild.artifacts import Precision

_NEWEST = 9999
TENSOR_CORES: Mapping[str, tuple[int, int]] = {
    "tf32": (80, _NEWEST), "bf16": (80, _NEWEST), "fp16": (70, _NEWEST), "int8": (75, _NEWEST), "fp8": (89, _NEWEST),
    "int4": (75, 89), "fp4": (100, _NEWEST),
}  # fmt: skip
"""Number format to the first and the last compute capability whose tensor cores multiply it; 8.9 is 89."""

OLDEST = 75
"""The oldest compute capability that trtbuild's backends build for."""

FIRST: Mapping[str, int] = {
    "fp32": OLDEST, "fp16": OLDEST, "int8": OLDEST, "int8_weights": OLDEST, "best": OLDEST,
    "tf32": 80, "bf16": 80, "int4": 80, "fp8": 89, "fp4": 100,
}  # fmt: skip
"""First compute capability that a graph in a precision can be built for. INT4 weights need a builder that unpacks them:
TensorRT-RTX refuses them for 7.5, Model Optimizer names Ampere."""

_SECOND_CHOICE: Mapping[str, tuple[Precision, ...]] = {
    "fp8": ("int8", "fp16"), "fp4": ("int8", "fp16"), "int4": ("int8_weights", "int8"), "bf16": ("fp16", "int8"),
    "tf32": ("fp16", "int8"),
}  # fmt: skip


def tensor_core_formats(sm: int) -> tuple[str, ...]:
    """The number formats that the tensor cores of a compute capability multiply.

    Args:
        sm: Compute capability as one number: 8.9 is 89.
    """
    return tuple(name for name, (first, last) in TENSOR_CORES.items() if first <= sm <= last)


def instead(sm: int, precision: str) -> str:
    """What to write instead of a precision that a compute capability cannot do."""
    if sm < OLDEST:
        return "trtbuild's backends begin at 7.5 (Turing)"
    first = FIRST[precision]
    others = " or ".join(_SECOND_CHOICE.get(precision, ("fp16", "int8")))
    return f"take precision {others}; {precision} begins at compute capability {first // 10}.{first % 10}"
