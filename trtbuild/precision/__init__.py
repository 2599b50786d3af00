"""The assign-precision stage: writes precision into the graph, as Q/DQ and Cast nodes.

No builder flag is involved: TensorRT 11 and TensorRT-RTX have none, and TensorRT 10 takes a strongly typed graph too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

from trtbuild import onnxfile
from trtbuild.artifacts import (
    QUANTIZED,
    CalibrationTable,
    EqualizedOnnx,
    NodePrecision,
    OptimizationProfile,
    Precision,
    RewrittenOnnx,
    StoredFile,
    TriedTransform,
    TypedOnnx,
)
from trtbuild.errors import IntegrityError, PrecisionError, UsageError
from trtbuild.matrixops import multiply_accumulates, node_precisions
from trtbuild.precision.lowering.fragile import LowPrecision, Rest
from trtbuild.precision.lowering.half_check import lower_checked
from trtbuild.precision.lowering.lower import Lowered, lower
from trtbuild.precision.mixed import hold_mixable
from trtbuild.precision.overrides import resolve_overrides
from trtbuild.precision.quantized import quantize
from trtbuild.precision.refining.refinement import REFINEMENTS, Refinement, refine
from trtbuild.precision.refining.rounding import round_weights
from trtbuild.precision.searching.best import WEIGHTS, find_front, refine_weights
from trtbuild.precision.searching.floor import Floor
from trtbuild.precision.searching.search import assignment_of
from trtbuild.precision.searching.sensitivity import measure
from trtbuild.precision.thresholds import seen_ranges
from trtbuild.quantization import FORMATS, FormatName, Placement, fit, place
from trtbuild.quantization.names import name_nodes

if TYPE_CHECKING:
    from onnx import ModelProto

    from trtbuild.feeds import Sample

PACKAGES = ("onnx", "onnxruntime", "numpy", "ml-dtypes")

__all__ = [
    "PACKAGES",
    "REFINEMENTS",
    "WEIGHTS",
    "Floor",
    "assign_precision",
    "assignment_of",
    "find_front",
    "measure",
    "refine_weights",
]

_NONE: Mapping[str, str] = MappingProxyType({})
_CHECKED_ON = 2  # judging samples that a lowered graph is run on: each is read tensor by tensor


def assign_precision(
    model: RewrittenOnnx | EqualizedOnnx | StoredFile | Path | str,
    workdir: Path | str,
    *,
    precision: Precision,
    table: CalibrationTable | None = None,
    profiles: Sequence[OptimizationProfile] = (),
    rest: Rest = "fp16",
    io: Literal["keep", "low"] = "keep",
    overrides: Mapping[str, str] = _NONE,
    assignment: Mapping[str, str] = _NONE,
    judge: Iterable[Sample] = (),
    fitting: Iterable[Sample] = (),
    refinements: Sequence[str] = REFINEMENTS,
    clip_weights: bool = False,
    rounds_weights: bool = False,
    allow_fallback: bool = False,
) -> TypedOnnx:
    """Turns an FP32 model into a strongly typed one.

    Args:
        model: The rewritten FP32 ONNX.
        workdir: Folder for the result, ``typed.onnx``.
        precision: fp32 and tf32 leave the graph as it is; fp16 and bf16 cast it; the others place Q/DQ; ``best`` takes
            ``assignment``.
        table: Ranges for int8 and fp8; its other tensors' ranges say what FP16 cannot hold.
        profiles: The first one's opt sizes weigh the nodes by their work.
        rest: What is done with all that the quantised precisions leave in float.
        io: Whether float inputs and outputs keep their types or take the lower one of the rest.
        overrides: Node name pattern to the precision that these nodes shall be in.
        assignment: Node to its precision, as a search found it.
        judge: Calibration samples that the table was not made from: refinements are tried, and FP16 and BF16 checked,
            on them; without them neither happens.
        fitting: Calibration samples, none that judges: weights are rounded on them; without them that is not tried.
        refinements: What to try where ``judge`` is given; () for nothing.
        clip_weights: Whether the largest weights are clipped without trying it here: a search has tried it.
        rounds_weights: Whether INT8 weights are rounded on ``fitting`` without trying it here, likewise.
        allow_fallback: Accept matrix work that cannot be written into the graph in the precision asked for.

    Returns:
        The typed model and what each matrix node computes in.

    Raises:
        UsageError: int8 or fp8 without a table.
        IntegrityError: The table belongs to another graph.
        SpecError: An override matches no node, or asks for what cannot be.
        PrecisionError: Matrix work would stay in FP32 against the asked precision, no node can be stored in it, or the
            model's opset is older than it and cannot be raised.

    Example:
        >>> import tempfile, onnx, onnx.parser
        >>> text = '''<ir_version: 9, opset_import: ["": 17]> g (float[n, 4] x) => (float[n, 2] y)
        ...           <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = MatMul (x, w) }'''
        >>> folder = tempfile.mkdtemp()
        >>> proto = onnx.parser.parse_model(text)
        >>> proto.graph.node[0].name = "matmul"
        >>> onnx.save(proto, f"{folder}/m.onnx")
        >>> dict(assign_precision(f"{folder}/m.onnx", folder, precision="fp16").assignment)
        {'matmul': 'fp16'}
    """
    stored = _stored(model)
    samples = list(judge)
    # what runs a graph needs it whole; what only writes one reads a weight at a time, and copies the others
    runs = samples or rounds_weights
    proto, source = (onnxfile.load(stored.path), stored.path.parent) if runs else onnxfile.outlined(stored.path)
    name_nodes(proto)
    _hide_weights(proto)
    places = place(proto)
    base = precision if precision in ("fp16", "bf16", "fp32", "tf32") else rest
    asked = _asked(proto, places, precision, assignment, overrides)
    hold_mixable(asked, base)
    keep = {node: "asked to be fp32" for node, kind in asked.items() if kind == "fp32" and base != "fp32"}

    def lowering(graph: ModelProto) -> Lowered:
        return _lower(graph, cast("LowPrecision", base), table, keep, io, samples, source)

    low = {node: cast("FormatName", kind) for node, kind in asked.items() if kind in FORMATS}
    if low or precision in QUANTIZED:
        placement = fit(places.only(set(low)), proto, low)
        low = {n.node: low[n.node] for n in placement.nodes}
        if precision in ("int8", "fp8") or any(FORMATS[kind].activations for kind in low.values()):
            _hold_table(table, stored, placement, precision)
        refined = _refine(proto, placement, table, low, samples, fitting, refinements)
        clips = refined.clip_weights or clip_weights
        rounded = refined.rounded
        if rounds_weights and table is not None:
            whole = placement.only({node for node, kind in low.items() if kind == "int8"})
            rounded = round_weights(proto, whole, table, fitting, clip_weights=clips)
        weights_only = precision in ("fp8", "int8_weights", "int4") and not allow_fallback
        done = quantize(
            refined.model,
            placement,
            precision if precision in QUANTIZED and set(low.values()) <= {precision} else low,
            table,
            rest="fp32" if base == "tf32" else base,
            lowering=lowering,
            clip_weights=clips,
            rounded=rounded,
            allow_none=not weights_only,
            folder=source,
        )
        typed = _Typed(
            done.model, done.kept, done.notes, refined.tried
        )  # what it leaves in float, it leaves on purpose
    elif base in ("fp16", "bf16"):
        typed = _lowered(lowering(proto), base)
    else:
        typed = _Typed(proto)
    computed = node_precisions(typed.model)
    if not allow_fallback and precision not in (*QUANTIZED, "best"):
        named = set(asked) | (set(typed.kept) - typed.unable)
        _hold_asked({n: got for n, got in computed.items() if n not in named}, typed.kept, precision)
    sizes = {axis: r.opt for axis, r in profiles[0].axes.items()} if profiles else {}
    return _finish(typed, Path(workdir), source, precision, computed, multiply_accumulates(proto, sizes))


@dataclass(frozen=True)
class _Typed:
    """A typed graph before it is written: what stayed higher and why, and which of that no operator can do lower."""

    model: ModelProto
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tried: tuple[TriedTransform, ...] = ()
    unable: frozenset[str] = field(default_factory=frozenset)


def _lowered(done: Lowered, precision: str) -> _Typed:
    clamped = [f"weight {name!r} was clamped to the {precision.upper()} range" for name in done.clamped]
    return _Typed(done.model, done.kept, (*clamped, *done.notes), unable=frozenset(done.unable))


def _asked(
    model: ModelProto,
    places: Placement,
    precision: Precision,
    assignment: Mapping[str, str],
    overrides: Mapping[str, str],
) -> dict[str, str]:
    """Node to what it shall be in, where that is not what all the rest is in."""
    names = [node.name for node in model.graph.node]
    whole = {n.node: str(precision) for n in places.nodes} if precision in QUANTIZED else {}
    return {**whole, **assignment, **resolve_overrides(overrides, names, places)}


def _lower(
    model: ModelProto,
    precision: LowPrecision,
    table: CalibrationTable | None,
    keep: Mapping[str, str],
    io: Literal["keep", "low"],
    samples: Sequence[Sample],
    folder: Path,
) -> Lowered:
    """Lowers by structure and measured ranges; and where there are samples, runs what comes out and mends it."""
    ranges = seen_ranges(table)
    if not samples:
        return lower(model, precision, ranges=ranges, keep=keep, io=io, folder=folder)
    feeds = [s.feed for s in samples[:_CHECKED_ON]]
    return lower_checked(model, precision, feeds, ranges=ranges, keep=keep, io=io).lowered


def _refine(
    model: ModelProto,
    placement: Placement,
    table: CalibrationTable | None,
    formats: Mapping[str, FormatName],
    samples: Sequence[Sample],
    fitting: Iterable[Sample],
    refinements: Sequence[str],
) -> Refinement:
    if table is None or not samples or not refinements or not placement.nodes:
        return Refinement(model, clip_weights=False, rounded={}, tried=(), judged_on=0)
    return refine(model, placement, table, samples, fit=fitting, refinements=refinements, formats=formats)


def _hold_table(table: CalibrationTable | None, model: StoredFile, placement: Placement, precision: Precision) -> None:
    """Refuses to go on without a table, and with that of another graph, and says what differs.

    Raises:
        UsageError: There is none.
        IntegrityError: It belongs to another graph.
    """
    if table is None:
        raise UsageError(f"{precision} needs a calibration table", place="assign precision", hint="run calibrate first")
    if table.graph == model.digest:
        return
    missing = [n for n in placement.tensors if n not in table.ranges]
    said = (
        f"{len(missing)} of its {len(placement.tensors)} tensors have no range, the first {missing[0]!r}"
        if missing
        else "all its tensors have a range, so the weights or the nodes between have changed"
    )
    raise IntegrityError(
        f"the calibration table belongs to graph {table.graph[:12]}, this one is {model.digest[:12]}: {said}",
        place=str(model.path),
        hint="calibrate this graph: ranges of another one are silently wrong",
    )


def _hide_weights(model: ModelProto) -> None:
    """Takes weights off the list of inputs, where old exporters put them: they are replaced, and would be asked for."""
    weights = {t.name for t in model.graph.initializer}
    listed = [v for v in model.graph.input if v.name in weights]
    for value in listed:
        model.graph.input.remove(value)
    if listed:
        model.ir_version = max(model.ir_version, 8)  # before 4 the list was compulsory


def _stored(model: RewrittenOnnx | EqualizedOnnx | StoredFile | Path | str) -> StoredFile:
    if isinstance(model, (RewrittenOnnx, EqualizedOnnx)):
        return model.model
    return model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))


def _hold_asked(assignment: Mapping[str, NodePrecision], kept: Mapping[str, str], precision: Precision) -> None:
    """Refuses a graph whose matrix work is typed otherwise than the spec asks.

    Raises:
        PrecisionError: With the first node, the reason, and what to do.
    """
    wanted = "fp32" if precision == "tf32" else precision
    missed = [(n, got) for n, got in assignment.items() if got != wanted]
    if not missed:
        return
    name, got = missed[0]
    reason = kept.get(name, f"the model itself computes it in {got}")
    raise PrecisionError(
        f"{len(missed)} matrix nodes cannot be {precision}: {name}: {reason}",
        place="assign precision",
        hint="export with a newer opset: --set model.opset=22 (bf16 convolutions begin there)"
        if "has no" in reason
        else "ask for the precision the model has, or accept it with build.allow_precision_fallback: true",
    )


def _finish(
    typed: _Typed,
    folder: Path,
    source: Path,
    precision: Precision,
    computed: Mapping[str, NodePrecision],
    macs: Mapping[str, int],
) -> TypedOnnx:
    saved = onnxfile.save_whole(typed.model, folder / "typed.onnx", source)
    onnxfile.check(onnxfile.outline(saved.path), str(saved.path), saved=saved, lean=True)
    return TypedOnnx(
        model=saved,
        inputs=onnxfile.inputs(typed.model),
        outputs=onnxfile.outputs(typed.model),
        precision=precision,
        assignment=computed,
        macs=macs,
        kept=typed.kept,
        notes=typed.notes,
        tried=typed.tried,
    )
