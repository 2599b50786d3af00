"""Balances the weights that make a channel with those that read it, through whatever lets a factor pass.

Algebra: W2 f(W1 x + b1) = (W2 s) f(W1 x / s + b1 / s) for f(x / s) = f(x) / s, with s_j = sqrt(m_j / r_j): m_j is the
largest weight that makes channel j, r_j the largest that reads it, as shares of their layer's. Needs no activations.
Source: Data-Free Quantization (Nagel et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtbuild.calibration.equalization.components import Component

SMALLEST = 0.01
"""Share of the layer's largest weight that a channel counts with at least."""


def candidates(component: Component) -> Iterator[NDArray[np.float64]]:
    """Factors from the weights on both sides; none where something other than weights makes the channels."""
    import numpy as np

    made = component.made_ranges()
    if made is None:
        return
    read = np.maximum(component.weight_ranges(), SMALLEST)
    for share in (0.25, 0.5):
        yield (np.maximum(made, SMALLEST) / read) ** share
