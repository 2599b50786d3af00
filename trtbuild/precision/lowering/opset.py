"""Raises a graph's opset, where nothing in it means anything else afterwards.

An operator means the same when the two opsets have one version of it, or when the newer version takes the same inputs,
outputs and attributes and only more element types. ONNX's schemas say both, but for the few that are named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.errors import PrecisionError

if TYPE_CHECKING:
    from onnx import ModelProto

_NEW_DEFAULTS_CHANGE_NOTHING = {"Cast", "CastLike", "QuantizeLinear", "DequantizeLinear"}
"""They got attributes, for float8 and blocks; left out, the result is the one of before."""

_SAME_SIGNATURE_OTHER_MEANING = {"GroupNormalization"}
"""Its scale and bias had one element a group up to opset 20, one a channel from 21 on."""

_FIRST_IR = {19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


def raise_opset(model: ModelProto, opset: int, *, needed_for: str) -> None:
    """Raises the default domain's opset, in place; does nothing where the model is as new already.

    Args:
        model: The model.
        opset: The opset it shall have at least.
        needed_for: What needs it, for the error.

    Raises:
        PrecisionError: An operator of the model means something else there.
    """
    version = onnxfile.opset(model)
    if version >= opset:
        return
    graphs = [*onnxfile.graphs(model.graph)]
    operators = {n.op_type for g in graphs for n in g.node if n.domain in ("", "ai.onnx")}
    changed = sorted(op for op in operators if not _means_the_same(op, version, opset))
    if changed or model.functions:
        reason = "its functions have an opset of their own"
        if changed:
            reason = f"{', '.join(changed)} may mean something else there"
        raise PrecisionError(
            f"{needed_for} needs ONNX opset {opset}, the model has {version}, and {reason}",
            place="assign precision",
            hint=f"export with it: --set model.opset={opset}",
        )
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    model.ir_version = max(model.ir_version, _FIRST_IR.get(opset, 10))


def _means_the_same(op: str, before: int, after: int) -> bool:
    import onnx

    try:
        old, new = onnx.defs.get_schema(op, before, ""), onnx.defs.get_schema(op, after, "")
    except onnx.defs.SchemaError:
        return False
    if old.since_version == new.since_version:
        return True
    if new.deprecated or op in _SAME_SIGNATURE_OTHER_MEANING:
        return False
    return _types(old) <= _types(new) and (op in _NEW_DEFAULTS_CHANGE_NOTHING or _signature(old) == _signature(new))


def _types(schema: Any) -> set[tuple[str, str, str]]:
    """Every element type that each input and output may have."""
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    return {
        (way, p.name, kind)
        for way, parameters in (("in", schema.inputs), ("out", schema.outputs))
        for p in parameters
        for kind in allowed.get(p.type_str, [p.type_str])
    }


def _signature(schema: Any) -> Any:
    """Inputs and outputs in order, and attributes with their defaults."""
    parameters = [[(p.name, p.option) for p in side] for side in (schema.inputs, schema.outputs)]
    attributes = {
        name: (a.type, a.required, a.default_value.SerializeToString()) for name, a in schema.attributes.items()
    }
    return (*parameters, attributes)
