"""The parts of a report as JSON values, one file a part.

``depth.py`` and ``ranges.py`` take the ``Build``; every other part is a function of what the document holds already, so
it can be worked out again from a ``report.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.parts.cost import cost
from trtbuild.reporting.parts.depth import depth
from trtbuild.reporting.parts.next_steps import next_steps
from trtbuild.reporting.parts.optimisations import optimisations
from trtbuild.reporting.parts.ranges import ranges
from trtbuild.reporting.parts.recommended import recommended
from trtbuild.reporting.parts.trade_offs import trade_offs
from trtbuild.reporting.parts.verdict import verdict


def derived(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that follow from the others."""
    known = dict(document)
    known["verdict"] = verdict(known)
    known["optimisations"] = optimisations(known)
    known["cost"] = cost(known)
    known["trade_offs"] = trade_offs(known)
    known["next_steps"] = next_steps(known)
    known["recommended"] = recommended(known)
    known["seconds"] = sum(stage["seconds"] for stage in known["stages"])
    return known


__all__ = ["depth", "derived", "ranges"]
