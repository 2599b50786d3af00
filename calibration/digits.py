"""scikit-learn's handwritten digits: 1,797 labelled 8 x 8 images, real ones, in the package itself.

The first half is for training and calibration, the second is held out. The writers of the two halves differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 32


def load() -> tuple[NDArray[Any], NDArray[Any]]:
    """Images as float32 in [0, 1], shape ``[1797, 1, 8, 8]``, and their labels, shape ``[1797]``."""
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[:, None] / 16.0).astype(np.float32), found.target.astype(np.int64)


def batches(name: str = "image") -> Iterator[dict[str, NDArray[Any]]]:
    """Calibration feeds: the first half, in batches.

    Args:
        name: The model's input.
    """
    images, _labels = load()
    half = len(images) // 2
    for start in range(0, half, BATCH):
        yield {name: images[start : min(start + BATCH, half)]}


def held_out(name: str = "image") -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[Any]]]:
    """Labelled feeds: the second half, in batches.

    Args:
        name: The model's input.
    """
    images, labels = load()
    half = len(images) // 2
    for start in range(half, len(images), BATCH):
        yield {name: images[start : start + BATCH]}, labels[start : start + BATCH]
