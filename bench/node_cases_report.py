"""The table of ONNX's node cases, as Markdown: counts, and what does not build, by reason."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

TENSOR_TYPES = {
    "FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32", "INT64", "BOOL",
}  # fmt: skip
"""What TensorRT-RTX 1.7.1 takes at a model's inputs and outputs without more ado (measured with Identity)."""

PACKAGES = ("onnx", "onnxruntime", "tensorrt-rtx", "numpy")

_SHORTER = (
    (r"no runners that implement it|has no runners|layerImpls.empty", "TensorRT-RTX has no kernel for it"),
    (r"Network has dynamic or shape inputs", "its result's shape depends on values that are known at run time only"),
    (r"Invalid Node|has type \w+ but must|must have same input types", "TensorRT cannot type the node"),
    (r"[Pp]lugin (was )?not found|not found in plugin|load \w+ plugin", "a plugin, and TensorRT-RTX takes none"),
    (r"TensorRT has no operator \w+ in this form", "no operator of that name"),
)  # fmt: skip

_MADE_BY = (
    "Made by `make node-cases`; not written by hand. Every node case of `onnx.backend.test` but ONNX's own expansions, "
    "built with TensorRT-RTX for SM89, strongly typed, without a GPU ({packages})."
)
_COUNTED = (
    "At least one input stays an input, unless all are small integers. A case counts as rewritten only if what was "
    "rewritten also computes the expected outputs (floats to 2e-5 of the largest, half precision to 2e-2, integers "
    "exactly): {checked}. Cases that draw random numbers or train are built, not compared."
)


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    left = [r for r in rows if r["rewritten"] is not None]
    lines = [
        "# ONNX's node cases",
        "",
        _MADE_BY.format(packages=", ".join(f"{p} {metadata.version(p)}" for p in PACKAGES)),
        "",
        "| | cases that build |",
        "|---|---|",
        f"| as they are | {_built(rows, 'as_is')} of {len(rows)} |",
        f"| with constants: inputs such as shapes, axes and pads are weights | {_built(rows, 'constants')} |",
        f"| after `trtbuild rewrite` | {_built(rows, 'rewritten')} |",
        "",
        _COUNTED.format(checked=_checked(rows)),
        "",
        "## Rules that made a case build",
        "",
        "| rule | cases |",
        "|---|---|",
    ]
    gained = Counter(rule for r in rows if r["constants"] is not None and r["rewritten"] is None for rule in r["rules"])
    lines += [f"| `{rule}` | {count} |" for rule, count in sorted(gained.items(), key=lambda i: (-i[1], i[0]))]
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in left:
        groups[reason(row)].append(row)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    lines += ["", f"## The other {len(left)}, by reason", "", "| cases | reason | operators |", "|---|---|---|"]
    for why, members in ranked:
        operators = Counter(r["operator"] for r in members)
        named = ", ".join(f"{op} {n}" if n > 1 else op for op, n in operators.most_common())
        lines.append(f"| {len(members)} | {why} | {named} |")
    lines += ["", "## Their names", ""]
    for why, members in ranked:
        names = ", ".join(sorted(r["case"].removeprefix("test_") for r in members))
        lines += [f"**{why}**: {names}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def reason(row: Mapping[str, Any]) -> str:
    """Why a case does not build, in a few words."""
    strange = [t for t in row["types"] if t not in TENSOR_TYPES and t != "UNDEFINED"]
    if "UNDEFINED" in row["types"]:
        return "an input or output is a sequence or an optional value"
    if strange:
        kind = "4-bit, 2-bit or 8-bit float" if re.match(r"FLOAT[48]|U?INT[24]$", strange[0]) else strange[0]
        return f"an input or output is {kind}"
    if row["told"]:
        return str(row["told"][0])
    if row["declined"] and not row["rewritten"].startswith(("InvalidOnnxError", "DEFECT")):
        rule, _, why = row["declined"][-1].partition(": ")
        if rule != "constant_nodes":
            return f"`{rule}` declines: {why}"
    error = " ".join(row["rewritten"].replace("TensorRT cannot parse it:", "").split())
    for pattern, short in _SHORTER:
        if re.search(pattern, error):
            return short
    error = re.sub(r"^\S*( \(\w+\))?: ", "", error)
    return re.sub(r"[|<>]", " ", error)[:140]


def _built(rows: Sequence[Mapping[str, Any]], column: str) -> int:
    return sum(r[column] is None for r in rows)


def _checked(rows: Sequence[Mapping[str, Any]]) -> str:
    by = Counter(r["checked_by"] for r in rows if r["checked_by"] and r["rewritten"] is None)
    return ", ".join(f"{count} in {name}" for name, count in by.most_common()) or "none was run"
