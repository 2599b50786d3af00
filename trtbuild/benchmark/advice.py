"""Which optimisation profiles are worth splitting, from what was measured at their ends.

TensorRT tunes a profile's kernels for opt and lets them run from min to max. Where an item (a row, a token) takes much
longer at an end than at opt, a profile of its own for that end may be faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trtbuild.artifacts import AxisRange, End, OptimizationProfile, ProfileAdvice, Timing
from trtbuild.benchmark.statistics import NOISY

SLOW = 2.0
"""How many times longer an item must take at an end than at opt before a split is proposed; and only of quiet
measurements."""


def advise(timings: Sequence[Timing], profiles: Sequence[OptimizationProfile]) -> tuple[ProfileAdvice, ...]:
    """Advice on each profile: of the plans where any ran, for they are what a profile is of, else of the ONNX files."""
    heard = [t for t in timings if t.kind == "plan"] or [t for t in timings if t.kind == "onnx"]
    found = []
    for subject in dict.fromkeys(t.subject for t in heard):
        own = [t for t in timings if t.subject == subject and t.profile is not None]
        for number in dict.fromkeys(t.profile for t in own if t.profile is not None):
            there = [t for t in own if t.profile == number]
            ends: tuple[End, ...] = ("min", "max")
            found += [a for end in ends if (a := _at_end(subject, number, end, there, profiles)) is not None]
    return tuple(found)


def _at_end(
    subject: str, number: int, end: End, timings: Sequence[Timing], profiles: Sequence[OptimizationProfile]
) -> ProfileAdvice | None:
    opt = next((t for t in timings if t.end == "opt"), None)
    whole = next((t for t in timings if t.end == end and t.axis is None), None)
    if opt is None or whole is None:
        return None
    times = _times(whole, opt)
    if times < SLOW or max(opt.compute.spread, whole.compute.spread) > NOISY:
        return None
    axes = profiles[number].axes
    varying = [name for name, r in axes.items() if getattr(r, end) != r.opt]
    alone = {t.axis: _times(t, opt) for t in timings if t.end == end and t.axis is not None}
    axis = varying[0] if len(varying) == 1 else max(alone, key=lambda a: alone[a]) if alone else None
    paste = "" if axis is None else split_profiles(profiles, number, axis, end)
    return ProfileAdvice(subject, number, end, axis, times, paste, _said(whole, number, axis, times))


def _times(there: Timing, opt: Timing) -> float:
    """How many times longer an item takes there than at opt."""
    return (there.compute.p50 / there.items) / (opt.compute.p50 / opt.items)


def _said(there: Timing, number: int, axis: str | None, times: float) -> str:
    which = (
        f"split axis {axis}"
        if axis
        else "several axes vary there: measure each alone (--at axes) to learn which one to split"
    )
    fixed = " Part of that is what any call costs, however small." if there.end == "min" else ""
    where = "" if there.device != "CPU" else " Measured in ONNX Runtime on the CPU: an engine on a GPU may differ."
    return (
        f"{there.subject}, profile {number}: an item takes {times:.1f} times as long at {there.end} as at opt; {which}."
        f"{fixed}{where} Build both and compare: one profile more makes a larger plan."
    )


def split_range(sizes: AxisRange, end: End) -> tuple[AxisRange, AxisRange]:
    """Two ranges that hold what one held, each size in one of them: the slow end, and the rest.

    The cut lies at the geometric mean of the end and opt. The slow end is tuned for that end.
    """
    if end == "min":
        cut = min(math.isqrt(sizes.min * sizes.opt), sizes.opt - 1)
        return AxisRange(sizes.min, sizes.min, cut), AxisRange(cut + 1, sizes.opt, sizes.max)
    cut = min(max(math.isqrt(sizes.opt * sizes.max), sizes.opt), sizes.max - 1)
    return AxisRange(sizes.min, sizes.opt, cut), AxisRange(cut + 1, sizes.max, sizes.max)


def split_profiles(profiles: Sequence[OptimizationProfile], number: int, axis: str, end: End) -> str:
    """The ``profiles`` of a spec with one of them split along an axis, as YAML to paste."""
    lines = []
    for index, profile in enumerate(profiles):
        parts = split_range(profile.axes[axis], end) if index == number else (None,)
        for part in parts:
            axes = dict(profile.axes) | ({axis: part} if part is not None else {})
            written = ", ".join(f"{name}: [{r.min}, {r.opt}, {r.max}]" for name, r in axes.items())
            lines.append(f"  - {{{written}}}")
    return "profiles:\n" + "\n".join(lines)
