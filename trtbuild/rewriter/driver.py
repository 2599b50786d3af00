"""Applies rules to a fixed point: each in its order, each place once, the graph valid after every edit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from trtbuild.artifacts import AppliedEdit, DeclinedMatch
from trtbuild.content import json_digest
from trtbuild.errors import InvalidOnnxError, TrtbuildError
from trtbuild.rewriter.graph import Declined, GraphView
from trtbuild.rewriter.rule import Rule, ordered

_MAX_SWEEPS = 100  # a fixed point is reached in a few; more is rules that grow the graph without an end


@dataclass(frozen=True)
class Rewriting:
    """What a run of the driver did."""

    applied: tuple[AppliedEdit, ...]
    declined: tuple[DeclinedMatch, ...]


@dataclass
class _Run:
    """The state of one run of the driver."""

    without: Collection[tuple[str, str]]
    most: int | None
    applied: list[AppliedEdit]
    declined: dict[tuple[str, str], DeclinedMatch]

    @property
    def full(self) -> bool:
        return self.most is not None and len(self.applied) >= self.most


def apply_rules(
    view: GraphView, rules: Sequence[Rule], *, without: Collection[tuple[str, str]] = (), most: int | None = None
) -> Rewriting:
    """Rewrites a graph in place, its subgraphs too. The same graph and rules give the same edits in the same order.

    Args:
        view: The graph.
        rules: The rules, in any order.
        without: Rule and node of edits that must not be made.
        most: How many edits to make at most; to the fixed point when left out.

    Raises:
        InvalidOnnxError: The graph is not valid after an edit: a defect of the rule it names.
        TrtbuildError: Rules undo each other, or grow the graph without an end.
    """
    run = _Run(without, most, [], {})
    in_order = ordered([r for r in rules if not r.backends or view.backend in r.backends])
    seen = {_fingerprint(view)}
    for _ in range(_MAX_SWEEPS):
        before = len(run.applied)
        run.declined.clear()
        for rule in in_order:
            for scope in list(view.scopes()):
                _sweep(scope, rule, run)
        view.graph.cleanup(remove_unused_graph_inputs=False).toposort()
        if len(run.applied) == before or run.full:
            return Rewriting(tuple(run.applied), tuple(run.declined.values()))
        state = _fingerprint(view)
        if state in seen:
            break
        seen.add(state)
    last = ", ".join(sorted({e.rule for e in run.applied[before:]}))
    raise TrtbuildError(f"the rules {last} keep changing the graph without an end", place="rewrite")


def _fingerprint(view: GraphView) -> str:
    """Stands for what the graph computes: operators, attributes that are numbers, and who reads what."""
    number: dict[int, int] = {}
    rows: list[Any] = []
    for scope in view.scopes():
        for node in scope.nodes():
            read = [number.get(id(t), t.name) for t in node.inputs]
            for tensor in node.outputs:
                number[id(tensor)] = len(number)
            rows.append([node.op, read, sorted((k, str(v)) for k, v in node.attrs.items() if _is_plain(v))])
    return json_digest(rows)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bytes, list))


def _sweep(view: GraphView, rule: Rule, run: _Run) -> None:
    for node in view.nodes():
        if (
            run.full
            or not node.outputs
            or (rule.ops and node.op not in rule.ops)
            or node.domain not in (None, "", "ai.onnx")
        ):
            continue  # another domain's operator of that name is another operator
        label = node.name
        if (rule.name, label) in run.without:
            continue
        try:
            offer = rule.propose(node, view)
        except Declined as why:
            run.declined[(rule.name, label)] = DeclinedMatch(rule.name, label, str(why))
            continue
        if offer is None:
            continue
        view.model.made.clear()
        offer.apply()
        _validate(view, [node, *view.model.made], f"rule {rule.name} at {label}")
        run.applied.append(
            AppliedEdit(rule.name, label, offer.change, offer.covers, tuple(n.name for n in view.model.made))
        )


def _validate(view: GraphView, touched: Sequence[Any], place: str) -> None:
    """After an edit: outputs are made, what the touched nodes read is there, and nothing is made twice."""
    inputs = {id(t) for t in view.graph.inputs}
    for output in view.graph.outputs:
        if not output.inputs and id(output) not in inputs and not view.is_constant(output):
            raise InvalidOnnxError(f"output {output.name!r} is no longer made by any node", place=place)
    for node in touched:
        label = node.name
        for tensor in node.outputs:
            if len(tensor.inputs) > 1:
                raise InvalidOnnxError(f"tensor {tensor.name!r} is made by two nodes", place=place)
        for tensor in node.inputs:
            if view.producer(tensor) is node:
                raise InvalidOnnxError(f"node {label!r} reads its own result", place=place)
