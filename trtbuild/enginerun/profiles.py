"""Which optimisation profile of an engine takes given shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trtbuild.errors import FeedError

Shape = tuple[int, ...]
Ranges = Mapping[str, tuple[Shape, Shape, Shape]]
"""Input name to its smallest, optimal and largest shape; for a shape tensor, the same of its values."""


def choose_profile(profiles: Sequence[Ranges], shapes: Mapping[str, Shape], place: str) -> int:
    """The profile that takes the shapes and whose opt is nearest to them.

    Nearness is the sum of ``|log(size / opt)|`` over all axes: twice as many rows are as far as half as many. Between
    equals the first one wins.

    Args:
        profiles: The engine's profiles, in its order.
        shapes: Input name to shape (or, for a shape tensor, to its values).
        place: What to name in an error: the plan.

    Raises:
        FeedError: No profile takes them; it names every profile and what is outside of it.
    """
    refusals = [_refusal(profile, shapes) for profile in profiles]
    taking = [number for number, why in enumerate(refusals) if why is None]
    if not taking:
        lines = [
            f"profile {n}: {why}; it takes {_words(p)}"
            for n, (p, why) in enumerate(zip(profiles, refusals, strict=True))
        ]
        raise FeedError(
            f"no optimisation profile takes {_said(shapes)}:\n    " + "\n    ".join(lines),
            place=place,
            hint="widen a profile and build again, or feed other shapes",
        )
    return min(taking, key=lambda number: (_distance(profiles[number], shapes), number))


def _refusal(profile: Ranges, shapes: Mapping[str, Shape]) -> str | None:
    """Why a profile does not take the shapes; None when it does."""
    for name, (low, _opt, high) in profile.items():
        if name not in shapes:
            return f"{name} is not given"
        shape = shapes[name]
        if len(shape) != len(low):
            return f"{name} has {len(low)} axes"
        for axis, (size, least, most) in enumerate(zip(shape, low, high, strict=True)):
            if not least <= size <= most:
                return f"axis {axis} of {name} is {size}"
    return None


def _distance(profile: Ranges, shapes: Mapping[str, Shape]) -> float:
    return sum(
        abs(math.log(max(size, 1) / max(best, 1)))
        for name, (_low, opt, _high) in profile.items()
        for size, best in zip(shapes[name], opt, strict=True)
    )


def _words(profile: Ranges) -> str:
    return ", ".join(f"{n} {_dims(low)} to {_dims(high)}" for n, (low, _opt, high) in profile.items()) or "nothing"


def _said(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name}:{_dims(shape)}" for name, shape in shapes.items())


def _dims(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
