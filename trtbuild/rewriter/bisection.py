"""Rewrites a model as often as it takes to find the edits that make it differ, and to do without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import AppliedEdit, WrongEdit
from trtbuild.errors import IntegrityError
from trtbuild.rewriter import prepass
from trtbuild.rewriter.driver import Rewriting, apply_rules
from trtbuild.rewriter.forms import as_model, name_nodes, settle_shapes, with_shapes
from trtbuild.rewriter.graph import GraphView
from trtbuild.rewriter.proof import Proof
from trtbuild.rewriter.rule import Rule

if TYPE_CHECKING:
    from onnx import ModelProto

CLEAN_UP = "clean_up"
"""What ``only`` and ``skip`` call the pre-pass."""

_MOST_UNDONE = 20
_MOST_TURNS = 5  # of pre-pass and rules


@dataclass(frozen=True)
class Attempt:
    """One run over the model: its result and what was done."""

    model: ModelProto
    done: Rewriting
    cleaned: tuple[AppliedEdit, ...]
    notes: tuple[str, ...]

    @property
    def applied(self) -> tuple[AppliedEdit, ...]:
        """Every edit, the pre-pass first."""
        return (*self.cleaned, *self.done.applied)

    @property
    def changed(self) -> bool:
        """Whether there was any."""
        return bool(self.applied)


@dataclass
class Job:
    """A model and what is to be done to it; can be done again with less."""

    start: ModelProto
    rules: Sequence[Rule]
    clean: bool
    backend: str | None
    bounds: Mapping[str, Any]
    folder: Path | None
    without: frozenset[tuple[str, str]] = frozenset()

    def attempt(self, most: int | None = None) -> Attempt:
        """Rewrites the model, with at most so many edits; pre-pass and rules take turns until no rule applies."""
        model, edits, notes = self.start, list[AppliedEdit](), set[str]()
        cleaned: tuple[AppliedEdit, ...] = ()
        nested = sum(1 for _ in onnxfile.graphs(model.graph)) > 1
        for turn in range(_MOST_TURNS):
            base, why_not = prepass.clean(model) if self.clean else (model, None)
            notes |= {why_not} if why_not else set()
            before, after = len(model.graph.node), len(base.graph.node)
            if not turn and after != before:
                cleaned = (AppliedEdit(CLEAN_UP, "model", f"{prepass.NAME}: from {before} to {after} nodes"),)
            left = None if most is None else most - len(edits)
            model, done = self._apply(base, left)
            edits += done.applied
            settled = not done.applied and (turn or not nested)  # shapes in and after subgraphs take two turns to infer
            if settled or (most is not None and len(edits) >= most):
                break
        return Attempt(model, Rewriting(tuple(edits), done.declined), cleaned, tuple(sorted(notes)))

    def _apply(self, base: ModelProto, most: int | None) -> tuple[ModelProto, Rewriting]:
        import onnx_graphsurgeon as gs

        graph = gs.import_onnx(with_shapes(base))
        name_nodes(graph)
        view = GraphView(graph, backend=self.backend, bounds=self.bounds, folder=self.folder)
        done = apply_rules(view, self.rules, without=self.without, most=most)
        name_nodes(graph)
        result = as_model(gs.export_onnx(graph, do_type_check=False), base, view.model.origin)
        settle_shapes(result)
        return result, done


def without_what_differs(job: Job, attempt: Attempt, proof: Proof, place: str) -> tuple[Attempt, list[WrongEdit]]:
    """Undoes edits, the pre-pass among them, until the result is equal to the original.

    Returns:
        The equal result, and each edit that was undone.
    """
    undone: list[WrongEdit] = []
    why = proof.difference(attempt.model)
    while why:
        if len(undone) == _MOST_UNDONE:
            break
        wrong = _first_wrong(job, attempt, proof)
        if wrong is None:
            break
        undone.append(WrongEdit(wrong, why))
        if wrong.rule == CLEAN_UP:
            job.clean = False
        else:
            job.without |= {(wrong.rule, wrong.node)}
        attempt = job.attempt()
        why = proof.difference(attempt.model)
    if why:
        raise IntegrityError(
            f"after rewriting, {why}", place=place, hint="please report it; --skip RULE builds without a rule"
        )
    return attempt, undone


def _first_wrong(job: Job, attempt: Attempt, proof: Proof) -> AppliedEdit | None:
    """The first edit after which the graph differs, found by halving; None when it differs without any edit."""
    if proof.difference(job.attempt(0).model):
        return attempt.cleaned[0] if attempt.cleaned else None
    right, wrong = 0, len(attempt.done.applied)
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if proof.difference(job.attempt(middle).model):
            wrong = middle
        else:
            right = middle
    return attempt.done.applied[wrong - 1] if attempt.done.applied else None
