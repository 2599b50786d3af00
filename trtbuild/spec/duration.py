"""Spans of time as people write them."""

from __future__ import annotations

import re

from trtbuild.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_seconds(text: str, place: str) -> float:
    """Seconds in ``90``, ``90s``, ``10m`` or ``1.5h``.

    Raises:
        UsageError: It is none of these, or nothing at all.

    Example:
        >>> parse_seconds("10m", "--time-budget")
        600.0
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", text)
    if found is None or float(found[1]) == 0:
        raise UsageError(f"{text!r} is no span of time", place=place, hint="write 90s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2] or ""]
