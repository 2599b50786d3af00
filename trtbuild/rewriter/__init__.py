"""The rewrite stage: the same function, in the form TensorRT builds and quantises well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import AppliedEdit, OptimizationProfile, RewrittenOnnx, StoredFile, WrongEdit
from trtbuild.errors import InvalidOnnxError, UsageError
from trtbuild.registry import nearest_hint
from trtbuild.rewriter.bisection import CLEAN_UP, Job, without_what_differs
from trtbuild.rewriter.explain import explain
from trtbuild.rewriter.forms import inference_form
from trtbuild.rewriter.proof import Proof
from trtbuild.rewriter.rule import RULES, Rule, rules_from, shipped_rules
from trtbuild.rewriter.unbuildable import unbuildable

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "onnx-graphsurgeon", "onnxruntime", "onnxsim", "numpy")

_TO_INFERENCE = "inference_mode"
"""The rule that changes the function on purpose: what follows is held against its result."""

_IN_TRAINING_MODE = "the model came in training mode: the reference is its inference form"
_NOT_RUN = "the edits were not proved by running: ONNX Runtime cannot run the model, at none of the sizes tried"


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
    original, to_inference, job = _prepared(source, only, skip, rules, backend, profiles)
    start, place = job.start, job.folder
    attempt = job.attempt()
    undone: list[WrongEdit] = []
    notes: list[str] = [_IN_TRAINING_MODE] if to_inference else []
    if (check or prove) and attempt.changed:
        proof = Proof(start, profiles, thorough=prove, folder=place)
        notes += () if proof.ran else (_NOT_RUN,)
        attempt, undone = without_what_differs(job, attempt, proof, str(source))
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
        notes=(*notes, *attempt.notes, *(f"undone: {each}" for each in undone)),
        reference=onnxfile.save(start, folder / "reference.onnx", folder=place) if to_inference else None,
        unbuildable=tuple(str(each) for each in unbuildable(attempt.model, backend)),
    )


def wrong_edits(
    model: StoredFile | Path | str,
    workdir: Path | str,
    feed: Mapping[str, Any],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    rules: Sequence[Path] = (),
    backend: str | None = None,
) -> tuple[StoredFile, StoredFile, tuple[WrongEdit, ...]]:
    """Applies the rules as ``rewrite`` does, undoes nothing, and says which edits make the outputs differ.

    Args:
        model: An ONNX file.
        workdir: Folder for the result, ``rewritten.onnx``.
        feed: What both are run on.
        only: Names of the rules to apply; all of them when empty.
        skip: Names of rules to leave out.
        rules: Files with rules of the user's own, applied as well.
        backend: Backend the model is for.

    Returns:
        What the result has to be equal to (the model, or its inference form), the result with every edit in it, and the
        wrong edits. Each was found by halving: without the ones before it in the list, it is the first that shows.

    Raises:
        IntegrityError: The result differs and no edit can be named that makes it differ.
        UsageError: ONNX Runtime does not run the model on the feed.
    """
    source = model.path if isinstance(model, StoredFile) else Path(model)
    folder = Path(workdir)
    _, to_inference, job = _prepared(source, only, skip, rules, backend, ())
    proof = Proof(job.start, (), thorough=False, folder=job.folder, feeds=[feed])
    if not proof.ran:
        hint = "is the feed one that the model can take?"
        raise UsageError("ONNX Runtime does not run it: no edit can be held against it", place=str(source), hint=hint)
    attempt = job.attempt()
    rewritten = onnxfile.save(attempt.model, folder / "rewritten.onnx", folder=job.folder)
    reference = onnxfile.stored(source)
    if to_inference:
        reference = onnxfile.save(job.start, folder / "reference.onnx", folder=job.folder)
    return reference, rewritten, tuple(without_what_differs(job, attempt, proof, str(source))[1])


def _prepared(
    source: Path,
    only: Sequence[str],
    skip: Sequence[str],
    rules: Sequence[Path],
    backend: str | None,
    profiles: Sequence[OptimizationProfile],
) -> tuple[ModelProto, tuple[AppliedEdit, ...], Job]:
    """The model as it is in the file, the edits that bring it into inference mode, and what is to be done then."""
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
    start, to_inference = inference_form(original, [r for r in chosen if r.name == _TO_INFERENCE], place)
    return original, to_inference, Job(start, chosen, CLEAN_UP in names, backend, bounds, place)


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


__all__ = ["CLEAN_UP", "PACKAGES", "Rule", "explain", "rewrite", "rule_names", "rules_from", "wrong_edits"]
