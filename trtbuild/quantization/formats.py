"""Low-precision number formats: which numbers they hold, and what ONNX calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FormatName = Literal["int8", "fp8", "int8_weights", "int4"]

SMALLEST_SCALE = 2.0**-126
"""float32's smallest normal number: a smaller scale becomes zero in hardware that flushes subnormals."""

_SMALLEST_HALF = 2.0**-14  # FP16's smallest normal number: from here on it holds a scale with 11 bits
_NEGLIGIBLE = 64


@dataclass(frozen=True)
class NumberFormat:
    """What one matrix node's weights, and perhaps its activations, are stored in.

    Attributes:
        name: As in a spec.
        element: ONNX's name of the element type.
        largest: Largest magnitude a number of this type has; scale = amax / largest.
        activations: Whether activations are stored in it too; else it saves memory only.
        blocks: How many weights along the reduced axis may share a scale, the longest first; none: one scale an output
            channel.
        opset: First ONNX opset whose Q/DQ takes the element type, and blocks where it has them.
    """

    name: FormatName
    element: str
    largest: float
    activations: bool
    blocks: tuple[int, ...]
    opset: int

    def block(self, length: int) -> int | None:
        """The longest block that cuts an axis into at least two; None where there is none.

        One block is a scale a channel in all but name: TensorRT-RTX 1.7.1 then expands the weight in a kernel of its
        own, before each product, instead of inside the product's.
        """
        return next((b for b in self.blocks if length % b == 0 and length > b), None)

    def smallest_scale(self, largest: float) -> float:
        """The smallest scale to store in a tensor whose largest one is ``largest``.

        A scale that FP16 holds keeps products fused and their two scales of one type. A floating-point format loses
        nothing by a larger scale. A block of INT4 does, so only blocks that are negligible beside another get one.
        """
        if self.element == "FLOAT8E4M3FN":
            return _SMALLEST_HALF
        return min(_SMALLEST_HALF, largest / _NEGLIGIBLE) if self.blocks else SMALLEST_SCALE

    def round(self, scaled: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values in units of the scale, rounded to numbers of this type and clipped to what it holds."""
        import ml_dtypes
        import numpy as np

        if self.element == "FLOAT8E4M3FN":
            clipped = np.clip(scaled, -self.largest, self.largest)
            eights: NDArray[np.floating] = np.asarray(clipped).astype(ml_dtypes.float8_e4m3fn)
            return eights.astype(np.float64)
        integers: NDArray[np.floating] = np.clip(np.rint(scaled), -self.largest, self.largest)
        return integers


FORMATS: Mapping[str, NumberFormat] = MappingProxyType(
    {
        "int8": NumberFormat("int8", "INT8", 127, activations=True, blocks=(), opset=17),
        "fp8": NumberFormat("fp8", "FLOAT8E4M3FN", 448, activations=True, blocks=(), opset=19),
        "int8_weights": NumberFormat("int8_weights", "INT8", 127, activations=False, blocks=(), opset=17),
        "int4": NumberFormat("int4", "INT4", 7, activations=False, blocks=(128, 64, 32, 16), opset=21),
    }
)

DOCUMENTED_BLOCKS = (128, 64)
"""INT4 blocks that TensorRT documents. TensorRT-RTX 1.7.1 builds every power of two from 2 to 128; below 16 the scales
cost more than two bits a weight, so those are not used."""
