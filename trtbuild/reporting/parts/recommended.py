"""The spec to go on with: the one that was built, with what the build settled written out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def recommended(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """YAML to copy, and what it differs in from the spec; None where the build has not passed or its spec is not known.

    A method that ``auto`` chose and the transforms that were kept are written down, so that the next build tries
    nothing else.
    """
    if not document["passed"] or not document["spec"]:
        return None
    spec = dict(document["spec"])
    settled: list[str] = []
    if "calibration" in spec:
        spec["calibration"] = _calibration(document, dict(spec["calibration"]), settled)
    return {"yaml": _yaml(spec), "settled": settled}


def _calibration(document: Mapping[str, Any], asked: dict[str, Any], settled: list[str]) -> dict[str, Any]:
    done = document["asked"]["calibration"]
    if done is not None and asked.get("method", "auto") == "auto" and done["method"] != "minmax":
        asked["method"] = done["method"]
        settled.append(f"calibration.method: auto chose {done['method']}")
    tried = [t["name"] for t in document["precision"]["tried"]]
    kept = list(dict.fromkeys(t["name"] for t in document["precision"]["tried"] if t["kept"]))
    if tried and asked.get("transforms") != kept:
        asked["transforms"] = kept
        settled.append(f"calibration.transforms: of {len(set(tried))} tried, {', '.join(kept) or 'none'} helped")
    return asked


def _yaml(spec: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    text = io.StringIO()
    writer = YAML()
    writer.default_flow_style = None  # lists of numbers on one line
    writer.width = 100
    writer.dump(dict(spec), text)
    return text.getvalue()
