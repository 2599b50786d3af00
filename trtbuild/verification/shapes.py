"""Sizes that the samples do not have: a profile's smallest, largest and tuned ones, and odd ones between.

Their feeds are held-out rows, repeated or cut along the named axes. Such a feed means nothing to a user, but its values
are real ones, and an engine that is wrong at a size is wrong on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sizes_to_try(profile: OptimizationProfile) -> tuple[dict[str, int], ...]:
    """Sets of axis sizes inside a profile, each once: min, odd ones below and above opt, opt, max."""
    tried: dict[tuple[int, ...], dict[str, int]] = {}
    for choose in (lambda r: r.min, lambda r: _odd(r.min, r.opt), lambda r: r.opt, _above, lambda r: r.max):
        sizes = {axis: choose(limits) for axis, limits in profile.axes.items()}
        tried.setdefault(tuple(sizes.values()), sizes)
    return tuple(tried.values())


def _above(limits: AxisRange) -> int:
    return _odd(limits.opt, limits.max)


def _odd(low: int, high: int) -> int:
    """An odd size about the middle, inside the two."""
    middle = (low + high) // 2
    return next((n for n in (middle | 1, middle - 1) if low <= n <= high and n % 2), middle)


def feeds_of_sizes(
    feed: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile]
) -> Iterator[tuple[int, dict[str, int], dict[str, NDArray[Any]]]]:
    """Profile index, axis sizes and the feed, for every set of sizes of every profile that the feed itself has not."""
    for number, profile in enumerate(profiles):
        for sizes in sizes_to_try(profile):
            if any(_own(feed, inputs).get(axis) != size for axis, size in sizes.items()):
                yield number, sizes, {t.name: _resized(feed[t.name], t, sizes) for t in inputs}


def _own(feed: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec]) -> dict[str, int]:
    pairs = ((axis, n) for t in inputs for axis, n in zip(t.shape, feed[t.name].shape, strict=True))
    return {axis: n for axis, n in pairs if isinstance(axis, str)}


def _resized(array: NDArray[Any], tensor: TensorSpec, sizes: Mapping[str, int]) -> NDArray[Any]:
    import numpy as np

    for number, axis in enumerate(tensor.shape):
        if isinstance(axis, str) and axis in sizes:
            array = array.take(np.arange(sizes[axis]) % max(array.shape[number], 1), axis=number)
    return np.ascontiguousarray(array)
