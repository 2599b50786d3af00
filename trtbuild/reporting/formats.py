"""Figures as the reports write them: a value of the document in, its text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trtbuild.console import human_size


def size(value: int) -> str:
    """``1.5 MiB``."""
    return human_size(value)


def ratio(value: float) -> str:
    """``0.28``."""
    return f"{value:.2f}"


def percent(value: float) -> str:
    """``75 %`` of 0.75; more digits below one percent."""
    share = 100 * value
    return f"{share:.0f} %" if share == 0 or share >= 10 else f"{share:.2g} %"


def score(value: float) -> str:
    """``0.9744``."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """``+0.0011``."""
    return f"{value:+.4f}"


def cosine(value: float) -> str:
    """``0.999947``."""
    return f"{value:.6f}"


def decibel(value: float | None) -> str:
    """``39.3``; ``exact`` where there is no error."""
    return "exact" if value is None else f"{value:.1f}"


def number(value: float) -> str:
    """Four digits that count."""
    return f"{value:.4g}"


def tiny(value: float) -> str:
    """``2.7e-07``."""
    return f"{value:.1e}"


def milliseconds(value: float) -> str:
    """Three digits after the point."""
    return f"{value:.3f}"


def microseconds(value: float) -> str:
    """Of seconds: ``17.4``."""
    return f"{value * 1e6:.3g}"


def seconds(value: float) -> str:
    """Two digits after the point."""
    return f"{value:.2f}"


def whole(value: float) -> str:
    """No digits after the point, thousands apart."""
    return f"{value:,.0f}"


def money(value: float) -> str:
    """Two digits after the point; more of small sums."""
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def plain(value: float) -> str:
    """As it was given: ``1.2``, ``20,000``."""
    return f"{value:,.10g}"


def span(pair: Sequence[float]) -> str:
    """``-4.8 .. 4.8``."""
    return f"{pair[0]:.4g} .. {pair[1]:.4g}"


def axes(sizes: Mapping[str, Any]) -> str:
    """``batch 1..8..32``, or ``batch 8``."""
    texts = (f"{axis} {'..'.join(map(str, s)) if isinstance(s, (list, tuple)) else s}" for axis, s in sizes.items())
    return ", ".join(texts) or "fixed"


def shapes(of: Mapping[str, Sequence[int]]) -> str:
    """``x:8x3x64``."""
    return ", ".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in of.items())


def digest(value: str) -> str:
    """Its first sixteen digits."""
    return value[:16]


def shortened(name: str, letters: int = 26) -> str:
    """A long name with its middle left out."""
    head, tail = letters // 2 - 1, letters - letters // 2
    return name if len(name) <= letters else f"{name[:head]}…{name[-tail:]}"


FORMATS: Mapping[str, Callable[..., str]] = {
    f.__name__: f
    for f in (
        size, ratio, percent, score, signed, cosine, decibel, number, tiny, milliseconds, microseconds, seconds, whole,
        money, plain, span, axes, shapes, digest, shortened,
    )
}  # fmt: skip
"""By the name that templates call them by."""
