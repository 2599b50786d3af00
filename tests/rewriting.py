"""Applies single rules to small graphs, and tests the tests: what happens with one of a rule's guards switched off.

A rule's test file lists its guards: ``GUARDS = {"head of the reason": function that makes a model}``. For each,
``test_guards.py`` shows that the rule declines that model, and that without the guard the result is wrong or invalid,
or the rule breaks.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from trtbuild import onnxfile
from trtbuild.artifacts import AxisRange, OptimizationProfile
from trtbuild.rewriter.driver import Rewriting, apply_rules
from trtbuild.rewriter.forms import as_model, name_nodes, with_shapes
from trtbuild.rewriter.graph import GraphView
from trtbuild.rewriter.proof import Proof
from trtbuild.rewriter.rule import RULES, shipped_rules


class Unguarded(GraphView):
    """A view whose ``need`` lets one reason pass."""

    ignored = ""

    def need(self, condition: object, reason: str) -> None:
        if not reason.startswith(self.ignored):
            super().need(condition, reason)


@dataclass(frozen=True)
class Applied:
    """A rewritten model and what was done to it."""

    model: onnx.ModelProto
    done: Rewriting

    @property
    def rules(self) -> list[str]:
        return [e.rule for e in self.done.applied]

    @property
    def reasons(self) -> list[str]:
        return [d.reason for d in self.done.declined]

    @property
    def ops(self) -> list[str]:
        return [n.op_type for n in self.model.graph.node]


def apply(
    proto: onnx.ModelProto,
    *rules: str,
    backend: str | None = None,
    bounds: Mapping[str, AxisRange] | None = None,
    unguarded: str | None = None,
) -> Applied:
    """Applies rules, without the pre-pass and without a proof.

    Args:
        proto: The model; left unchanged.
        rules: Names of the rules.
        backend: Backend the model is for.
        bounds: Sizes of its named axes.
        unguarded: Head of the reason of the guard to switch off.
    """
    graph = gs.import_onnx(with_shapes(copy.deepcopy(proto)))
    name_nodes(graph)
    kind = GraphView if unguarded is None else type("Off", (Unguarded,), {"ignored": unguarded})
    view = kind(graph, backend=backend, bounds=bounds)
    done = apply_rules(view, shipped_rules(rules))
    name_nodes(graph)
    return Applied(as_model(gs.export_onnx(graph, do_type_check=False), proto, view.model.origin), done)


class NothingRanError(AssertionError):
    """The original itself could not be run."""


def difference(
    before: onnx.ModelProto, after: onnx.ModelProto, sizes: Sequence[Mapping[str, int]] | None = None
) -> str | None:
    """What is invalid or different about a rewritten model; None when it is right.

    Args:
        before: The original.
        after: The rewritten one.
        sizes: Sizes of its named axes to run at; a few guesses when left out.
    """
    try:
        onnx.checker.check_model(after, full_check=True)
    except Exception as error:  # noqa: BLE001
        return f"invalid: {error}"
    profiles = [OptimizationProfile({a: AxisRange(n, n, n) for a, n in s.items()}) for s in sizes or ()]
    proof = Proof(before, profiles, thorough=True)
    if not proof.ran:
        raise NothingRanError("the original ran at none of the sizes")
    return proof.difference(after)


def holds(
    proto: onnx.ModelProto,
    *rules: str,
    sizes: Sequence[Mapping[str, int]] | None = None,
    backend: str | None = None,
    bounds: Mapping[str, AxisRange] | None = None,
) -> Applied:
    """Applies rules and asserts that the result is valid, equal, has the same interface, and is a fixed point."""
    after = apply(proto, *rules, backend=backend, bounds=bounds)
    assert difference(proto, after.model, sizes) is None, difference(proto, after.model, sizes)
    assert onnxfile.inputs(after.model) == onnxfile.inputs(proto)
    assert onnxfile.outputs(after.model) == onnxfile.outputs(proto)
    again = apply(after.model, *rules, backend=backend, bounds=bounds)
    assert again.done.applied == (), again.done.applied
    assert again.model.SerializeToString(deterministic=True) == after.model.SerializeToString(deterministic=True)
    return after


def guard_matters(
    proto: onnx.ModelProto, rule: str, guard: str, *, backend: str | None = None, with_rules: Sequence[str] = ()
) -> None:
    """Asserts that the rule declines the model for that reason, and is wrong, invalid or broken without the guard."""
    kept = apply(proto, rule, *with_rules, backend=backend)
    assert any(r.startswith(guard) for r in kept.reasons), f"declined for {kept.reasons}, applied {kept.done.applied}"
    assert difference(proto, kept.model) is None
    try:
        after = apply(proto, rule, *with_rules, backend=backend, unguarded=guard)
    except Exception:  # noqa: BLE001  broken, and so seen
        return
    assert rule in after.rules, f"without the guard it still does nothing: {after.reasons}"
    with np.errstate(all="ignore"):
        assert difference(proto, after.model) is not None, "without the guard the result is right as well"


def guards_of(rule: str) -> set[str]:
    """The reasons of all ``need`` calls in a rule's file; of a formatted one the part before the first value."""
    file = Path(RULES.load(rule).__file__ or "")
    found = set()
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "need":
            reason = call.args[1] if len(call.args) > 1 else next(k.value for k in call.keywords if k.arg == "reason")
            first = reason.values[0] if isinstance(reason, ast.JoinedStr) else reason
            assert isinstance(first, ast.Constant), f"{rule}: the reason of a guard begins with a value"
            found.add(str(first.value))
    return found
