"""The rewrite stage: the same function, in the form TensorRT builds and quantises well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import AppliedEdit, OptimizationProfile, RewrittenOnnx, StoredFile
from trtbuild.errors import IntegrityError, InvalidOnnxError, UsageError
from trtbuild.registry import nearest_hint
from trtbuild.rewriter import prepass
from trtbuild.rewriter.driver import Rewriting, apply_rules
from trtbuild.rewriter.explain import explain
from trtbuild.rewriter.graph import GraphView
from trtbuild.rewriter.proof import Proof
from trtbuild.rewriter.rule import RULES, Rule, rules_from, shipped_rules
from trtbuild.rewriter.unbuildable import unbuildable

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

PACKAGES = ("onnx", "onnx-graphsurgeon", "onnxruntime", "onnxsim", "numpy")
CLEAN_UP = "clean_up"
"""What ``only`` and ``skip`` call the pre-pass."""

_TO_INFERENCE = "inference_mode"
"""The rule that changes the function on purpose: what follows is held against its result."""

_IN_TRAINING_MODE = "the model came in training mode: the reference is its inference form"
_NOT_RUN = "the edits were not proved by running: ONNX Runtime cannot run the model, at none of the sizes tried"
_MOST_UNDONE = 20
_MOST_TURNS = 5  # of pre-pass and rules
_MOST_PASSES = 4  # of shape inference: it settles after one or two


def rule_names(*, only: Sequence[str] = (), skip: Sequence[str] = (), added: Sequence[str] = ()) -> tuple[str, ...]:
    """The rules to apply; ``only`` and ``skip`` are checked against the ones there are.

    Args:
        only: Names to choose from; all when empty.
        skip: Names to leave out.
        added: Names of the user's own rules.
    """
    known = (CLEAN_UP, *RULES.names(), *added)
    for name in (*only, *skip):
        if name not in known:
            raise UsageError(f"there is no rule {name!r}", hint=nearest_hint(name, known))
    return tuple(n for n in known if (not only or n in only) and n not in skip)


def rewrite(
    model: StoredFile | Path | str,
    workdir: Path | str,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    rules: Sequence[Path] = (),
    backend: str | None = None,
    profiles: Sequence[OptimizationProfile] = (),
    check: bool = True,
    prove: bool = False,
) -> RewrittenOnnx:
    """Applies the pre-pass and the rewrite rules to a fixed point.

    Args:
        model: An ONNX file.
        workdir: Folder for the result, ``rewritten.onnx``.
        only: Names of the rules to apply; all of them when empty. ``clean_up`` is the pre-pass.
        skip: Names of rules to leave out.
        rules: Files with rules of the user's own, applied as well.
        backend: Backend the model is for; rules that are for one backend only are left out without it.
        profiles: Sizes of the dynamic axes.
        check: Whether to run the result against the original in ONNX Runtime, optimisation off, and undo what makes
            the outputs differ.
        prove: Whether to compare every tensor that an edit left in place as well, at more sizes, odd ones among them.

    Returns:
        The rewritten model, what was applied where, what was declined and why, what was undone, and what TensorRT will
        not build.

    Raises:
        InvalidOnnxError: The input is not sound ONNX.
        IntegrityError: The result differs and no edit can be named that makes it differ.

    Example:
        >>> import tempfile, onnx, onnx.parser
        >>> text = '''<ir_version: 9, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 4] y)
        ...           { t = Constant <value: tensor = bool {1}> ()
        ...             r = Constant <value: tensor = float {0.5}> ()
        ...             d = Dropout (x, r, t)
        ...             y = Relu (d) }'''
        >>> folder = tempfile.mkdtemp()
        >>> onnx.save(onnx.parser.parse_model(text), f"{folder}/in.onnx")
        >>> done = rewrite(f"{folder}/in.onnx", folder)
        >>> [e.rule for e in done.applied if e.rule == "inference_mode"], done.nodes_after
        (['inference_mode'], 1)
    """
    source = model.path if isinstance(model, StoredFile) else Path(model)
    folder = Path(workdir)
    _hold_tensors(source, backend)
    large = onnxfile.is_large(source)  # then its weights stay on disk, but for those that a rule looks into
    original = onnxfile.load(source, weights=not large)
    place = source.parent if large else None
    onnxfile.check(original, str(source), saved=StoredFile(source, "", 0))
    own = [rule for file in rules for rule in rules_from(Path(file))]
    names = rule_names(only=only, skip=skip, added=[r.name for r in own])
    shipped = shipped_rules([n for n in names if n != CLEAN_UP and n not in {r.name for r in own}])
    chosen = [*shipped, *(r for r in own if r.name in names)]
    bounds = {axis: r for p in reversed(profiles) for axis, r in p.axes.items()}

    start, to_inference = _inference_form(original, [r for r in chosen if r.name == _TO_INFERENCE], place)
    job = _Job(start, chosen, CLEAN_UP in names, backend, bounds, place)
    attempt = job.attempt()
    undone: list[str] = []
    notes: list[str] = [_IN_TRAINING_MODE] if to_inference else []
    if (check or prove) and attempt.changed:
        proof = Proof(start, profiles, thorough=prove, folder=place)
        notes += () if proof.ran else (_NOT_RUN,)
        attempt, undone = _without_what_differs(job, attempt, proof, str(source))
        notes += dict.fromkeys(proof.excused)
    saved = onnxfile.save(attempt.model, folder / "rewritten.onnx", folder=place)
    onnxfile.check(attempt.model, str(saved.path), saved=saved)
    return RewrittenOnnx(
        model=saved,
        inputs=onnxfile.inputs(attempt.model),
        outputs=onnxfile.outputs(attempt.model),
        applied=(*to_inference, *attempt.applied),
        declined=attempt.done.declined,
        nodes_before=len(original.graph.node),
        nodes_after=len(attempt.model.graph.node),
        notes=(*notes, *attempt.notes, *undone),
        reference=onnxfile.save(start, folder / "reference.onnx", folder=place) if to_inference else None,
        unbuildable=tuple(str(each) for each in unbuildable(attempt.model, backend)),
    )


@dataclass(frozen=True)
class _Attempt:
    """One run over the model: its result and what was done."""

    model: ModelProto
    done: Rewriting
    cleaned: tuple[AppliedEdit, ...]
    notes: tuple[str, ...]

    @property
    def applied(self) -> tuple[AppliedEdit, ...]:
        return (*self.cleaned, *self.done.applied)

    @property
    def changed(self) -> bool:
        return bool(self.applied)


@dataclass
class _Job:
    """A model and what is to be done to it; can be done again with less."""

    start: ModelProto
    rules: Sequence[Rule]
    clean: bool
    backend: str | None
    bounds: Mapping[str, Any]
    folder: Path | None
    without: frozenset[tuple[str, str]] = frozenset()

    def attempt(self, most: int | None = None) -> _Attempt:
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
        return _Attempt(model, Rewriting(tuple(edits), done.declined), cleaned, tuple(sorted(notes)))

    def _apply(self, base: ModelProto, most: int | None) -> tuple[ModelProto, Rewriting]:
        import onnx_graphsurgeon as gs

        graph = gs.import_onnx(_with_shapes(base))
        name_nodes(graph)
        view = GraphView(graph, backend=self.backend, bounds=self.bounds, folder=self.folder)
        done = apply_rules(view, self.rules, without=self.without, most=most)
        name_nodes(graph)
        result = _as_model(gs.export_onnx(graph, do_type_check=False), base, view.model.origin)
        _settle_shapes(result)
        return result, done


def _without_what_differs(job: _Job, attempt: _Attempt, proof: Proof, place: str) -> tuple[_Attempt, list[str]]:
    """Undoes edits, the pre-pass among them, until the result is equal to the original.

    Returns:
        The equal result, and a note for each edit that was undone.
    """
    undone: list[str] = []
    why = proof.difference(attempt.model)
    while why:
        if len(undone) == _MOST_UNDONE:
            break
        wrong = _first_wrong(job, attempt, proof)
        if wrong is None:
            break
        undone.append(f"undone: {wrong.rule} at {wrong.node}: with it, {why}")
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


def _hold_tensors(source: Path, backend: str | None) -> None:
    """Refuses a model whose inputs or outputs are sequences or optional values: no engine has them."""
    model = onnxfile.load(source, weights=False)
    values = [v for v in (*model.graph.input, *model.graph.output) if v.type.WhichOneof("value") != "tensor_type"]
    if values:
        names = {v.name for v in values}
        told = "\n    ".join(str(each) for each in unbuildable(model, backend) if each.node in names)
        raise InvalidOnnxError(
            f"an engine takes and gives tensors only:\n    {told}",
            place=str(source),
            hint="export the model with tensors in and tensors out",
        )


def _first_wrong(job: _Job, attempt: _Attempt, proof: Proof) -> AppliedEdit | None:
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


def _inference_form(
    model: ModelProto, rules: Sequence[Rule], folder: Path | None
) -> tuple[ModelProto, tuple[AppliedEdit, ...]]:
    """The model in inference mode and the edits made for it; the model itself when it is in inference mode."""
    import onnx_graphsurgeon as gs

    if not rules or not any(_trains(graph) for graph in onnxfile.graphs(model.graph)):
        return model, ()
    graph = gs.import_onnx(_with_shapes(model))
    name_nodes(graph)
    view = GraphView(graph, folder=folder)
    done = apply_rules(view, rules)
    if not done.applied:
        return model, ()
    return _as_model(gs.export_onnx(graph, do_type_check=False), model, view.model.origin), done.applied


def _trains(graph: GraphProto) -> bool:
    """Whether a Dropout drops or a BatchNormalization takes the batch's statistics."""
    import onnx

    fixed = {t.name: t for t in graph.initializer}
    fixed |= {n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"}
    for node in graph.node:
        if node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return True
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            flag = fixed.get(node.input[2])
            if flag is None or bool(onnx.numpy_helper.to_array(flag).any()):
                return True
    return False


def name_nodes(graph: Any) -> None:
    """Gives every node a name of its own: reports and the build log speak of nodes by name."""
    taken: set[str] = set()
    for number, node in enumerate(graph.nodes):
        base = node.name or f"{node.op}_{number}"
        name, copy = base, 0
        while name in taken:
            copy += 1
            name = f"{base}_{copy}"
        node.name = name
        taken.add(name)


def _with_shapes(model: ModelProto) -> ModelProto:
    """The model with every shape that ONNX can infer written into it, in place."""
    declared = {v.name for v in (*model.graph.input, *model.graph.output)}
    found = [v for v in onnxfile.inferred(model) if v.name not in declared]
    weights = {t.name for t in model.graph.initializer}
    del model.graph.value_info[:]
    model.graph.value_info.extend(v for v in found if v.name not in weights)
    onnxfile.forget_made_up_axes(model.graph)
    return model


def _settle_shapes(model: ModelProto) -> None:
    """Infers shapes until nothing new is found, so that a second run starts from what this one ends with."""
    for _ in range(_MOST_PASSES):
        known = [v.SerializeToString(deterministic=True) for v in model.graph.value_info]
        if known == [v.SerializeToString(deterministic=True) for v in _with_shapes(model).graph.value_info]:
            break


def _as_model(result: ModelProto, original: ModelProto, origin: Mapping[str, str]) -> ModelProto:
    """Keeps what GraphSurgeon does not know: I/O declarations, IR version, metadata of the model and of its nodes."""
    result.ir_version = max(original.ir_version, 8)
    result.producer_name = "trtbuild"
    del result.metadata_props[:]
    result.metadata_props.extend(original.metadata_props)
    for mine, theirs in ((result.graph.input, original.graph.input), (result.graph.output, original.graph.output)):
        declared = {v.name: v for v in theirs}
        for value in mine:
            if value.name in declared:
                value.type.CopyFrom(declared[value.name].type)
    known = {n.name: n.metadata_props for n in _nodes(original.graph) if n.metadata_props}
    for node in _nodes(result.graph):
        name = node.name
        while name not in known and name in origin:
            name = origin[name]
        if name in known and not node.metadata_props:
            node.metadata_props.extend(known[name])
    return result


def _nodes(graph: GraphProto) -> Iterator[Any]:
    for each in onnxfile.graphs(graph):
        yield from each.node


__all__ = ["CLEAN_UP", "PACKAGES", "Rule", "explain", "rewrite", "rule_names", "rules_from"]
