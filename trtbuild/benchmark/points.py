"""At which shapes to measure: the ends of every profile, and each axis alone at its ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trtbuild.artifacts import End, OptimizationProfile, TensorSpec
from trtbuild.errors import UsageError
from trtbuild.registry import nearest_hint

At = Literal["opt", "ends", "axes"]
"""``opt``: every profile's opt. ``ends``: its min and max too. ``axes``: also each axis alone at min and at max, the
others at opt; that tells which axis makes an end slow."""


@dataclass(frozen=True)
class Point:
    """Sizes to measure at.

    Attributes:
        sizes: Axis name to size.
        profile: Number of the profile they are from; None when they were given.
        end: Where in it.
        axis: The one axis at that end; None where all are.
    """

    sizes: Mapping[str, int]
    profile: int | None = None
    end: End = "given"
    axis: str | None = None

    @property
    def items(self) -> int:
        """Product of the sizes."""
        return math.prod(self.sizes.values())


def points_of(profiles: Sequence[OptimizationProfile], at: At) -> list[Point]:
    """Points of every profile, opt first; an end that is the same sizes as opt is left out.

    One point without sizes when there is no profile.
    """
    found = []
    for number, profile in enumerate(profiles):
        opt = {axis: r.opt for axis, r in profile.axes.items()}
        found.append(Point(opt, number, "opt"))
        ends: tuple[End, ...] = () if at == "opt" else ("min", "max")
        for end in ends:
            sizes = {axis: int(getattr(r, end)) for axis, r in profile.axes.items()}
            varying = [axis for axis in opt if sizes[axis] != opt[axis]]
            if varying:
                found.append(Point(sizes, number, end))
            if at == "axes" and len(varying) > 1:
                found += [Point(opt | {axis: sizes[axis]}, number, end, axis) for axis in varying]
    return found or [Point({})]


def point_given(inputs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]], place: str) -> Point:
    """The point that shapes of inputs name.

    Raises:
        UsageError: A shape names no input, or has another number of axes.
    """
    known = {t.name: t for t in inputs}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in known:
            raise UsageError(f"the model has no input {name!r}", place=place, hint=nearest_hint(name, known))
        if len(shape) != len(known[name].shape):
            raise UsageError(
                f"input {name!r} has {len(known[name].shape)} axes, the shape {list(shape)} has {len(shape)}",
                place=place,
                hint=f"the model takes {list(known[name].shape)}",
            )
        sizes |= {d: n for d, n in zip(known[name].shape, shape, strict=True) if isinstance(d, str)}
    return Point(sizes)
