"""Random feeds, for when the spec says ``random``: shapes from the profiles, values from the inputs' ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import OptimizationProfile, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]


def random_feeds(
    inputs: Sequence[TensorSpec],
    profiles: Sequence[OptimizationProfile],
    ranges: Mapping[str, tuple[float, float]],
    seed: int,
) -> Iterator[dict[str, Array]]:
    """Endless random feeds: first the profiles' opt, min and max shapes, then shapes between."""
    import numpy as np

    random = np.random.default_rng(seed)
    corners = [{a: getattr(r, w) for a, r in p.axes.items()} for p in profiles for w in ("opt", "min", "max")]
    while True:
        if corners:
            sizes = corners.pop(0)
        else:
            axes = profiles[int(random.integers(len(profiles)))].axes if profiles else {}
            sizes = {a: int(random.integers(r.min, r.max + 1)) for a, r in axes.items()}
        yield random_feed(inputs, sizes, ranges, random)


def random_feed(
    inputs: Sequence[TensorSpec],
    sizes: Mapping[str, int],
    ranges: Mapping[str, tuple[float, float]],
    random: np.random.Generator,
) -> dict[str, Array]:
    """One random feed.

    Args:
        inputs: The model's inputs.
        sizes: Size of each named axis; 1 for one not given.
        ranges: Smallest and largest value by input. Default: [-1, 1] for floats; 0 and 1 for integers and booleans,
            with a 1 at the start of the last axis, so that a mask never masks everything.
        random: Where the numbers come from.
    """
    import numpy as np

    feed = {}
    for tensor in inputs:
        shape = tuple(d if isinstance(d, int) else sizes.get(d, 1) for d in tensor.shape)
        if tensor.dtype.startswith("float"):
            low, high = ranges.get(tensor.name, (-1.0, 1.0))
            array: Array = random.uniform(low, high, shape).astype(tensor.dtype)
        else:
            low, high = ranges.get(tensor.name, (0, 1))
            array = random.integers(int(low), int(high) + 1, shape).astype(tensor.dtype)
            if tensor.name not in ranges and array.size:
                np.atleast_1d(array)[..., :1] = 1
        feed[tensor.name] = array
    return feed
