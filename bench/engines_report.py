"""The report of ``engines.py``, as Markdown."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines import Row

VERSIONS = ("trtbuild", "tensorrt_rtx", "onnx", "onnxruntime", "torch", "transformers", "numpy")

INTRODUCTION = """\
Made by `make bench-engines`. Digits (the demo's CNN) and MiniLM-L6 with its own weights go the whole way, as `trtbuild
build` takes them; the light models of the onnx package, raised to opset 17 by ONNX's converter, have seeded noise for
weights and a batch of 1. TensorRT-RTX builds ahead of time, without a GPU: **nothing here was run, and a number of
kernels is not a latency**.

A kernel is a layer of the finished engine. An attention is one kernel for both products and the softmax between them;
softmax counts the kernels that compute an exponential by themselves, also where the model ends in one. A reformat only
moves or casts. Shares are of the multiply-accumulates, by what the kernels read.
"""


def render(rows: Sequence[Row]) -> str:
    """The whole report."""
    parts = [
        "# Engines: real TensorRT-RTX builds, by model and compute capability",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, {_versions()}.",
        INTRODUCTION.rstrip(),
        _summary(rows),
        _attention(rows),
        _engines(rows),
        _refusals(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _versions() -> str:
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in body)])


def _summary(rows: Sequence[Row]) -> str:
    """Which builds come to an engine, a line a precision."""
    capabilities = list(dict.fromkeys(r.capability for r in rows))
    body = []
    for precision in dict.fromkeys(r.precision for r in rows):
        of = [r for r in rows if r.precision == precision]
        counts = [[not r.refused for r in of if r.capability == c] for c in capabilities]
        body.append((precision, *(f"{sum(built)} of {len(built)}" for built in counts)))
    return "## Models that build\n\n" + _table(("precision", *capabilities), body)


def _attention(rows: Sequence[Row]) -> str:
    """MiniLM: where its products run, and whether its attentions are fused."""
    body = [
        (
            r.model, r.precision, r.capability, ", ".join(f"{count} {word}" for word, count in r.nodes),
            f"{r.attention} in {', '.join(r.attention_in)}" if r.attention else "none", r.softmax,
        )
        for r in rows
        if r.model.startswith("minilm") and not r.refused
    ]  # fmt: skip
    if not body:
        return ""
    head = ("model", "precision", "capability", "matrix nodes by precision", "fused attentions", "softmax kernels")
    words = (
        "Six blocks. 36 products have a weight; rule `qkv_merge` makes one of q, k and v, so 24 nodes carry them;\n"
        "`minilm_apart` is without that rule. The two products of activations in each attention are 12 nodes more.\n"
        "Quantised, those with a weight are to be in INT8, and the 12 in FP16 inside of six fused kernels."
    )
    return f"## MiniLM\n\n{words}\n\n{_table(head, body)}"


def _engines(rows: Sequence[Row]) -> str:
    """Every engine; capabilities whose engines differ in nothing but size share a line."""
    groups: dict[Row, list[Row]] = {}
    for r in rows:
        if not r.refused:
            groups.setdefault(replace(r, capability="", megabytes=0.0), []).append(r)
    body = [
        (
            r.model, r.precision, " ".join(m.capability for m in members), r.kernels, r.attention, r.softmax,
            r.reformats, _range([m.megabytes for m in members]), _shares(r),
        )
        for r, members in groups.items()
    ]  # fmt: skip
    head = ("model", "precision", "capabilities", "kernels", "attentions", "softmax", "reformats", "plan, MB", "shares")
    return "## Engines\n\n" + _table(head, body)


def _range(sizes: Sequence[float]) -> str:
    low, high = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
    return low if low == high else f"{low} to {high}"


def _shares(row: Row) -> str:
    return ", ".join(f"{word} {share:.1%}" for word, share in row.shares)


def _refusals(rows: Sequence[Row]) -> str:
    """What does not build and why; the same reason on several capabilities is one line."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for r in rows:
        if r.refused:
            reason = re.sub(r"\s+", " ", r.refused).replace("|", "\\|")
            groups.setdefault((r.model, r.precision, reason), []).append(r.capability)
    if not groups:
        return "## Builds that were refused\n\nNone."
    body = [(model, precision, " ".join(on), reason) for (model, precision, reason), on in groups.items()]
    return "## Builds that were refused\n\n" + _table(("model", "precision", "capabilities", "by, and why"), body)
