"""A difference in words: a headline, then each topic with its changes, the most important first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from trtbuild.artifacts import INSIGNIFICANT, Change, Difference
from trtbuild.console import human_size

SHOWN = 8
"""Lines that are told of one topic."""

_Said = Callable[[Change], str]


def in_words(found: Difference, *, shown: int | None = SHOWN) -> list[str]:
    """The difference as lines.

    Args:
        found: What changed.
        shown: Lines of one topic, those that differ in numbers alone as one, such as layers of a transformer; all of
            them, one by one, with None.
    """
    lines = [headline(found)]
    for topic, group in groupby(found.changes, key=lambda change: change.topic):
        changes = list(group)
        lines.append(f"{_title(topic, changes)}:")
        said = [f"  {_said(change)}" for change in changes]
        if shown is not None:
            said = _alike(said) if topic in _REPEATED else said
            said = [*said[:shown], *([f"  and {len(said) - shown} more lines"] if len(said) > shown else [])]
        lines += said
    return [*lines, *(f"note: {note}" for note in found.notes)]


_REPEATED = {
    "node", "wiring", "name", "weight", "node precision", "attention", "kernels", "kernel precision", "reformat",
}  # fmt: skip


def _alike(lines: Sequence[str]) -> list[str]:
    """Lines that differ in numbers alone, as the first of them and how many more there are."""
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(re.sub(r"[0-9][0-9.e-]*", "#", line), []).append(line)
    return [same[0] + (f" (and {len(same) - 1} alike)" if len(same) > 1 else "") for same in found.values()]


def headline(found: Difference) -> str:
    """What it comes to, in one line."""
    if found.same:
        return "the same plan" if found.kind == "plan" else "the same model"
    if found.kind == "plan":
        if found.equivalent:
            return (
                "other bytes; nothing else that can be seen differs" if found.notes else "the same kernels, other bytes"
            )
        topics = {change.topic for change in found.changes if change.topic not in INSIGNIFICANT}
        return "the same kernels, other weights or names" if topics == {"compiled onnx"} else "two different plans"
    return "the same graph, other names or bytes" if found.equivalent else "two different graphs"


_TITLES: Mapping[str, str] = {
    "input": "inputs", "output": "outputs", "opset": "opsets", "operator": "operators, by count",
    "attribute": "attributes of nodes", "wiring": "nodes that read other tensors",
    "scale": "quantisation scales", "weight": "weights", "constant": "other constants", "function": "functions",
    "name": "names of nodes", "metadata": "metadata alone", "bytes": "size", "target": "target", "version": "built by",
    "precision": "precision asked for", "profile": "optimisation profiles", "compiled onnx": "compiled from",
    "node precision": "precision of matrix work", "attention": "fused attention", "kernels": "kernels",
    "kernel precision": "precision of kernels", "reformat": "reformats", "matrix work": "matrix work",
    "kernel count": "number of kernels", "option": "build options",
}  # fmt: skip


def _title(topic: str, changes: Sequence[Change]) -> str:
    if topic == "node":
        gone = sum(c.after is None for c in changes)
        return f"nodes, {gone} gone and {len(changes) - gone} new"
    if topic == "weight":
        forms = Counter(f"{c.before['dtype']} -> {c.after['dtype']}" for c in changes)
        cast = [f"{n} {form}" for form, n in forms.most_common() if len(set(form.split(" -> "))) == 2]
        return f"weights, {len(changes)}" + (f" ({', '.join(cast)})" if cast else "")
    if topic == "node precision":
        moves = Counter(f"{c.before or 'none'} -> {c.after or 'none'}" for c in changes)
        return f"precision of matrix work, {', '.join(f'{n} x {move}' for move, n in moves.most_common())}"
    if topic in ("scale", "wiring", "name"):
        return f"{_TITLES[topic]}, {len(changes)}"
    return _TITLES.get(topic, topic)


def _said(change: Change) -> str:
    return _SAID.get(change.topic, _plainly)(change)


def _plainly(change: Change) -> str:
    """``name: before -> after``; what came or went says so."""
    head = f"{change.name}: " if change.name else ""
    if change.before is None:
        return f"{head}new, {_value(change.after)}"
    if change.after is None:
        return f"{head}gone, was {_value(change.before)}"
    return f"{head}{_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _node(change: Change) -> str:
    return f"new:  {change.after} {change.name}" if change.before is None else f"gone: {change.before} {change.name}"


def _weight(change: Change) -> str:
    same_form = all(change.before[key] == change.after[key] for key in ("dtype", "shape"))
    form = "" if same_form else f"{_form(change.before)} -> {_form(change.after)}; "
    return f"{change.name}: {form}" + ("values differ" if change.size is None else f"up to {change.size:.3g} apart")


def _form(summary: Mapping[str, Any]) -> str:
    return f"{summary['dtype']} {summary['shape']}"


def _scale(change: Change) -> str:
    if change.size is None:
        return _plainly(change)
    (low, high), (new_low, new_high) = change.before, change.after
    return f"{change.name}: {_span(low, high)} -> {_span(new_low, new_high)}, up to {change.size:.3g} times"


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} .. {high:.4g}"


def _wiring(change: Change) -> str:
    pairs = [
        f"{a}, which another node makes" if a == b else f"{a or 'nothing'} -> {b or 'nothing'}"
        for a, b in zip(change.before, change.after, strict=True)
    ]
    return f"{change.name}: {', '.join(pairs)}"


def _bytes(change: Change) -> str:
    return f"{human_size(change.before)} -> {human_size(change.after)}"


def _kernels(change: Change) -> str:
    before, after = (len(side) for side in (change.before, change.after))
    verb = "split" if before == 1 < after else "merged" if before > 1 == after else "cut in another way"
    verb = "new" if not before else "gone" if not after else verb
    sides = [", ".join(side) or "nothing" for side in (change.before, change.after)]
    return f"{verb}: {sides[0]} -> {sides[1]}; {change.name}"


def _work(change: Change) -> str:
    return f"{change.name}: {change.before:.1%} -> {change.after:.1%}".replace("%", " %")


_SAID: Mapping[str, _Said] = {
    "kernels": _kernels, "matrix work": _work,
    "node": _node, "weight": _weight, "constant": _weight, "scale": _scale, "wiring": _wiring, "bytes": _bytes,
}  # fmt: skip
