"""What a search on a live server found: latency against throughput for every setting that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_tuning(document: Mapping[str, Any], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """A report document with the curve of a search in it; an earlier one is replaced.

    Args:
        document: A report document.
        tuning: ``trtbuild tune-serving --json``: the model, its version, the limit, the settings before and after, and
            the curve; times in seconds.
    """
    rows = [
        {
            "setting": words(row["setting"]),
            "best": row["setting"] == tuning["best"],
            "concurrency": row["concurrency"],
            "throughput": row["throughput"],
            "p50_ms": 1e3 * row["p50"],
            "p99_ms": 1e3 * row["p99"],
            "kept": row["p99"] <= tuning["p99_s"],
        }
        for row in tuning["curve"]
    ]
    return {
        **document,
        "tuning": {
            "model": tuning["model"],
            "version": tuning["version"],
            "p99_ms": 1e3 * tuning["p99_s"],
            "before": words(tuning["before"]),
            "best": words(tuning["best"]),
            "rows": rows,
        },
    }


def words(setting: Mapping[str, Any]) -> str:
    """A setting as a person says it."""
    sizes = ", ".join(str(size) for size in setting["preferred_batch_sizes"]) or "any size"
    count = setting["instances"]
    return f"{count} instance{'s' if count > 1 else ''}, {sizes}, delay {setting['max_queue_delay_us']} µs"
