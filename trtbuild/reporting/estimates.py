"""The report's part on estimated times; each of its figures is called an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.said import shares
from trtbuild.reporting.tables import markdown_table


def estimates(d: Mapping[str, Any]) -> list[str]:
    """What the datasheets say of the plans' times; a report from before there were estimates has none."""
    found = [p["estimate"] for p in d["plans"] if p.get("estimate")]
    if not found:
        return []
    rows = [
        (e["target"], f"{e['estimated_seconds'] * 1e6:.1f}", f"{e['estimated_seconds_uncached'] * 1e6:.1f}",
         shares(e["bound_shares"]), ", ".join(f"{axis} {size}" for axis, size in e["sizes"].items()) or "fixed",
         _longest(e))
        for e in found
    ]  # fmt: skip
    head = ("target", "estimated us", "nothing cached", "bound by", "at", "longest kernels")
    text = (
        "**Estimates, not measurements**, from datasheet rates: each kernel takes the longer of its operations and its "
    )
    text += "bytes, what fits into the last-level cache moves for nothing; launches are left out."
    assumed = dict.fromkeys(f"- {e['target']}: {words}" for e in found for words in e["assumed"])
    low = [f"- {e['target']}: {len(e['unknown'])} kernels are estimated too low" for e in found if e["unknown"]]
    return [text, markdown_table(head, rows), *(["\n".join([*assumed, *low])] if assumed or low else [])]


def _longest(estimate: Mapping[str, Any]) -> str:
    whole = estimate["estimated_seconds"] or 1.0
    share = sum(p["estimated_seconds"] for p in estimate["parts"]) / whole
    return f"{len(estimate['parts'])} take {share:.0%}: " + ", ".join(f"`{p['name']}`" for p in estimate["parts"])
