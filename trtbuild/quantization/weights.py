"""Weights in a low-precision format: their scales, and the numbers that are stored.

Scales are symmetric: scale = amax / largest, zero point 0. amax is taken over all of a weight but one axis (the output
channels), over the whole of it, or over blocks along the axis that is summed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.quantization.formats import SMALLEST_SCALE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtbuild.quantization.formats import NumberFormat


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight in a low-precision format.

    Attributes:
        numbers: The stored numbers as floats, in the weight's shape; each times its scale is the weight's new value.
        scale: float32. A scalar; or ``[channels]``; or the weight's shape with the reduced axis divided by the block.
        axis: The axis of the channels, or the one that is cut into blocks; None for a scalar.
        block: Length of a block; None without blocks.
    """

    numbers: NDArray[np.float32]
    scale: NDArray[np.float32]
    axis: int | None
    block: int | None

    def values(self) -> NDArray[np.float32]:
        """What the numbers stand for, in the weight's unit and shape."""
        import numpy as np

        return (self.numbers * self.spread()).astype(np.float32)

    def spread(self) -> NDArray[np.float32]:
        """The scales in a shape that broadcasts with the numbers."""
        import numpy as np

        if self.axis is None:
            return self.scale
        if self.block is not None:
            return np.repeat(self.scale, self.block, axis=self.axis)
        return self.scale.reshape([-1 if i == self.axis else 1 for i in range(self.numbers.ndim)])


def quantize_weight(
    values: NDArray[np.floating],
    number_format: NumberFormat,
    *,
    axis: int | None,
    reduced_axis: int,
    clip: bool = False,
) -> QuantizedWeight:
    """Rounds a weight to a format's numbers.

    Args:
        values: The weight.
        number_format: What to store it in.
        axis: Axis of the output channels; None for one scale over all.
        reduced_axis: Axis that is summed over; blocks lie along it.
        clip: Whether each channel's amax may be lowered where that makes its squared error smaller.

    Returns:
        Its numbers and scales; blocks only where the format has them and the axis can be cut into them.
    """
    import numpy as np

    weight = np.asarray(values, np.float64)
    block = number_format.block(weight.shape[reduced_axis])
    if block is not None:
        return _blocks(weight, number_format, reduced_axis, block, clip=clip)
    rows = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    scale = _scales(rows, number_format, clip=clip)
    numbers = number_format.round(rows / scale[:, None])
    if axis is None:
        return QuantizedWeight(numbers.reshape(weight.shape).astype(np.float32), scale.reshape(()), None, None)
    moved = np.moveaxis(weight, axis, 0).shape
    back = np.moveaxis(numbers.reshape(moved), 0, axis)
    return QuantizedWeight(back.astype(np.float32), scale, axis, None)


def _blocks(
    weight: NDArray[np.float64], number_format: NumberFormat, axis: int, block: int, *, clip: bool
) -> QuantizedWeight:
    import numpy as np

    moved = np.moveaxis(weight, axis, -1)
    rows = moved.reshape(-1, block)
    scale = _scales(rows, number_format, clip=clip)
    numbers = number_format.round(rows / scale[:, None]).reshape(moved.shape)
    scales = scale.reshape(*moved.shape[:-1], moved.shape[-1] // block)
    return QuantizedWeight(
        np.moveaxis(numbers, -1, axis).astype(np.float32), np.moveaxis(scales, -1, axis), axis, block
    )


_CLIPS = 20  # candidates for a channel's amax, from 81 % to all of it


def _scales(rows: NDArray[np.float64], number_format: NumberFormat, *, clip: bool) -> NDArray[np.float32]:
    """One scale a row."""
    import numpy as np

    amax = np.abs(rows).max(axis=1)
    amax = np.where(amax > 0, amax, number_format.largest)  # a channel of zeros: any scale is right
    best = amax
    if clip:
        least = np.full(len(rows), np.inf)
        for share in 1 - np.arange(_CLIPS) / 100:
            scale = (amax * share / number_format.largest)[:, None]
            error = ((rows - number_format.round(rows / scale) * scale) ** 2).sum(axis=1)
            best = np.where(error < least, amax * share, best)
            least = np.minimum(error, least)
    exact = best / number_format.largest
    smallest = max(number_format.smallest_scale(float(exact.max(initial=0))), SMALLEST_SCALE)
    scales: NDArray[np.float32] = np.maximum(exact, smallest).astype(np.float32)
    return scales
