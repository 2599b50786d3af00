"""What a million requests cost, before and after: the spec's price over the measured throughput."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trtbuild.reporting.parts.measured import at_opt

_MILLION = 1_000_000
_HOUR = 3600


def cost(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row for everything that was timed; None where the spec gives no price.

    A request is one row. ``per_million`` is for a machine that is always busy at the opt sizes' throughput. With
    traffic in the spec, ``machines`` is how many it takes and ``per_million_at_traffic`` what they cost, idle time
    included.
    """
    asked = document["spec"].get("cost")
    if not asked:
        return None
    price, traffic = asked["price_per_hour"], asked.get("requests_per_second")
    timings = at_opt(document)
    note = "" if timings else "not measured: no plan was run on a GPU, so there is no throughput to divide the price by"
    return {
        "price_per_hour": price,
        "currency": asked.get("currency", "USD"),
        "requests_per_second": traffic,
        "rows": [_row(timing, price, traffic) for timing in timings],
        "note": note,
    }


def _row(timing: Mapping[str, Any], price: float, traffic: float | None) -> dict[str, Any]:
    rate = timing["throughput"]
    row = {
        "subject": timing["subject"],
        "device": timing["device"],
        "throughput": rate,
        "per_million": price / _HOUR / rate * _MILLION,
        "machines": None,
        "per_million_at_traffic": None,
    }
    if traffic is not None:
        machines = math.ceil(traffic / rate)
        row |= {"machines": machines, "per_million_at_traffic": machines * price / _HOUR / traffic * _MILLION}
    return row
