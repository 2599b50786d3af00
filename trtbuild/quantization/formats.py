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


@dataclass(frozen=True)
class NumberFormat:
    """What one matrix node's weights, and perhaps its activations, are stored in.

    Attributes:
        name: As in a spec.
        element: ONNX's name of the element type.
        largest: Largest magnitude a number of this type has; scale = amax / largest.
        activations: Whether activations are stored in it too; else it saves memory only.
        block: Weights along the reduced axis that share a scale; None: one scale an output channel.
        opset: First ONNX opset whose Q/DQ takes the element type.
    """

    name: FormatName
    element: str
    largest: float
    activations: bool
    block: int | None
    opset: int

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
        "int8": NumberFormat("int8", "INT8", 127, activations=True, block=None, opset=17),
        "fp8": NumberFormat("fp8", "FLOAT8E4M3FN", 448, activations=True, block=None, opset=19),
        "int8_weights": NumberFormat("int8_weights", "INT8", 127, activations=False, block=None, opset=17),
        "int4": NumberFormat("int4", "INT4", 7, activations=False, block=128, opset=21),
    }
)
