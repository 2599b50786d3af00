"""Where the channels of a tensor lie, and where reshapes take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where a tensor's channels lie.

    Attributes:
        axes: The axes that count the channels, the slowest first; several where a Reshape has cut the axis up.
        numbers: The number of each channel, in their order.
    """

    axes: tuple[int, ...]
    numbers: Numbers


def axes_after(before: Sequence[int], axes: tuple[int, ...], after: Sequence[int]) -> tuple[int, ...] | None:
    """Where a row-major reshape takes the axes of the channels; None where they mix with others."""
    if tuple(before) == tuple(after):
        return axes
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        return None
    ahead, count = math.prod(before[: axes[0]]), math.prod(before[a] for a in axes)
    for start in range(len(after)):
        if math.prod(after[:start]) != ahead or (after[start] == 1 and count != 1):
            continue
        for end in range(start + 1, len(after) + 1):
            if math.prod(after[start:end]) == count:
                return tuple(range(start, end))
    return None
