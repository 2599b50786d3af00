"""Moves range from activation channels that are too large for one INT8 scale into the weights that read them.

Algebra: X W = (X / s) (s W), with s_j = a_j^alpha / w_j^beta; a_j is the largest |x| of channel j, w_j the largest
weight that reads it, both as shares of their tensor's. a_j is held above a floor: channels that hardly ever fire would
otherwise be blown up until they set the scale. Source: SmoothQuant (Xiao et al. 2022), which has beta = 1 - alpha.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtbuild.calibration.equalization.components import Component

FLOORS = (0.05, 0.1, 0.25)
"""Smallest share of a tensor's largest |x| that a channel counts with."""
EXPONENTS = ((0.5, 0.0), (0.75, 0.0), (1.0, 0.0), (0.5, 0.5), (0.75, 0.25))
"""alpha and beta."""


def candidates(component: Component) -> Iterator[NDArray[np.float64]]:
    """Factors from the channels' ranges."""
    import numpy as np

    weights = np.maximum(component.weight_ranges(), 1e-3)
    for floor in FLOORS:
        activations = np.maximum(component.activation_ranges(), floor)
        for alpha, beta in EXPONENTS:
            yield activations**alpha / weights**beta
