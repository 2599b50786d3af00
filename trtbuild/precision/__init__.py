"""The assign-precision stage: writes precision into the graph, as Q/DQ and Cast nodes.

No builder flag is involved: TensorRT 11 and TensorRT-RTX have none, and TensorRT 10 takes a strongly typed graph too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import (
    QUANTIZED,
    CalibrationTable,
    NodePrecision,
    OptimizationProfile,
    Precision,
    RewrittenOnnx,
    StoredFile,
    TypedOnnx,
)
from trtbuild.errors import IntegrityError, PrecisionError, UsageError
from trtbuild.matrixops import multiply_accumulates, node_precisions
from trtbuild.precision.lower import lower
from trtbuild.precision.quantized import quantize
from trtbuild.quantization import FORMATS, Placement, fit, place

if TYPE_CHECKING:
    from onnx import ModelProto

PACKAGES = ("onnx", "numpy", "ml-dtypes")


def assign_precision(
    model: RewrittenOnnx | StoredFile | Path | str,
    workdir: Path | str,
    *,
    precision: Precision,
    table: CalibrationTable | None = None,
    profiles: Sequence[OptimizationProfile] = (),
    allow_fallback: bool = False,
) -> TypedOnnx:
    """Turns an FP32 model into a strongly typed one.

    Args:
        model: The rewritten FP32 ONNX.
        workdir: Folder for the result, ``typed.onnx``.
        precision: fp32 and tf32 leave the graph as it is; fp16 and bf16 cast it; the others place Q/DQ. What fp8,
            int8_weights and int4 leave in float is cast to FP16.
        table: Ranges for int8 and fp8.
        profiles: The first one's opt sizes weigh the nodes by their work.
        allow_fallback: Accept matrix work that fp16 or bf16 cannot be written into the graph for.

    Returns:
        The typed model and what each matrix node computes in.

    Raises:
        UsageError: int8 or fp8 without a table.
        IntegrityError: The table belongs to another graph.
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
    proto = onnxfile.load(stored.path)
    _name_nodes(proto)
    _hide_weights(proto)
    notes: list[str] = []
    kept: Mapping[str, str] = {}
    on_purpose: set[str] = set()
    if precision in QUANTIZED:
        placement = fit(place(proto), proto, precision)
        if FORMATS[precision].activations:
            if table is None:
                raise UsageError(
                    f"{precision} needs a calibration table", place="assign precision", hint="run calibrate first"
                )
            _hold_table(table, stored, placement)
        done = quantize(proto, placement, precision, table, allow_none=allow_fallback or precision == "int8")
        typed, kept, notes = done.model, done.kept, list(done.notes)
    elif precision in ("fp16", "bf16"):
        lowered = lower(proto, precision)
        typed, kept = lowered.model, lowered.kept
        notes += [f"weight {name!r} was clamped to the {precision.upper()} range" for name in lowered.clamped]
        notes += lowered.notes
        on_purpose = set(kept) - lowered.unable
    else:
        typed = proto
    assignment = node_precisions(typed)
    if not allow_fallback and precision not in QUANTIZED:  # what those leave in float, they leave on purpose
        _hold_asked({n: got for n, got in assignment.items() if n not in on_purpose}, kept, precision)
    sizes = {axis: r.opt for axis, r in profiles[0].axes.items()} if profiles else {}
    return _finish(typed, Path(workdir), precision, assignment, multiply_accumulates(proto, sizes), kept, notes)


def _hold_table(table: CalibrationTable, model: StoredFile, placement: Placement) -> None:
    """Refuses a table of another graph, and says what differs.

    Raises:
        IntegrityError: It belongs to another graph.
    """
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


def _name_nodes(model: ModelProto) -> None:
    """Gives every node a name of its own: ONNX asks for none, and the assignment speaks of nodes by name."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            base, copy = node.name or f"{node.op_type}_{number}", 0
            node.name = base
            while node.name in taken:
                copy += 1
                node.name = f"{base}_{copy}"
            taken.add(node.name)
        seen.add(node.name)


def _hide_weights(model: ModelProto) -> None:
    """Takes weights off the list of inputs, where old exporters put them: they are replaced, and would be asked for."""
    weights = {t.name for t in model.graph.initializer}
    listed = [v for v in model.graph.input if v.name in weights]
    for value in listed:
        model.graph.input.remove(value)
    if listed:
        model.ir_version = max(model.ir_version, 8)  # before 4 the list was compulsory


def _stored(model: RewrittenOnnx | StoredFile | Path | str) -> StoredFile:
    if isinstance(model, RewrittenOnnx):
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
    typed: ModelProto,
    folder: Path,
    precision: Precision,
    assignment: Mapping[str, NodePrecision],
    macs: Mapping[str, int],
    kept: Mapping[str, str],
    notes: Sequence[str],
) -> TypedOnnx:
    saved = onnxfile.save(typed, folder / "typed.onnx")
    onnxfile.check(typed, str(saved.path), saved=saved)
    return TypedOnnx(
        model=saved,
        inputs=onnxfile.inputs(typed),
        outputs=onnxfile.outputs(typed),
        precision=precision,
        assignment=assignment,
        macs=macs,
        kept=kept,
        notes=tuple(notes),
    )
