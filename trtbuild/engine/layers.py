"""Reads the finished engine's kernels, and says what the matrix work really runs in.

TensorRT-RTX writes them into its verbose build log (a message that begins ``Layers:``); on a GPU the engine inspector
gives the same as JSON, for TensorRT 10 and 11 too. The log's form is not documented: it is the one seen with 1.7.1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from trtbuild.artifacts import EngineLayer, NodePrecision, PrecisionShare

_WORDS = {
    "int8": "int8", "half": "fp16", "float": "fp32", "bfloat16": "bf16", "bf16": "bf16", "fp8": "fp8", "int4": "int4",
    "fp4": "fp4", "fp4e2m1": "fp4", "fp16": "fp16", "fp32": "fp32",
}  # fmt: skip
_FINEST_FIRST = ("int4", "fp4", "int8", "fp8", "int8_weights", "fp16", "bf16", "fp32")
_FLOATS = {"fp16", "bf16", "fp32"}
_STORED_ONLY = {"int4": "int4", "int8": "int8_weights"}
"""Types of a weight that a kernel expands by itself, when what comes in is a float, to what that is called."""

_GENERATED = {"kgen", "shape_call", "no_op", "noop", "memcpy", "reformat", "constant", "signal", "wait", "shapecall"}
"""Layer types of kernels that do elementwise work; a matrix node named there as well has its work elsewhere."""

_ONNX = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_DATATYPE = re.compile(r"Datatype: (\w+)")
_SECTIONS = (
    ", LayerType: ",
    ", Inputs: ",
    ", Constants: ",
    ", Outputs: ",
    ", TacticName: ",
    ", StreamId: ",
    ", Metadata: ",
)


def from_log(message: str) -> tuple[EngineLayer, ...]:
    """The kernels of a build log's ``Layers:`` message, in order of execution."""
    found = []
    for line in message.splitlines():
        if line.startswith("I/O Tensors:"):
            break
        if line.startswith("Name: "):
            parts = _split(line)
            types, constants = (_DATATYPE.findall(parts.get(section, "")) for section in ("Inputs", "Constants"))
            nodes = tuple(_ONNX.findall(parts.get("Metadata", "")))
            kind = parts.get("LayerType", "")
            precision = _precision(types, constants, generated=kind.lower() in _GENERATED)
            found.append(EngineLayer(parts["Name"], kind, precision, nodes))
    return tuple(found)


def from_inspector(text: str) -> tuple[EngineLayer, ...]:
    """The kernels of ``EngineInspector.get_engine_information(JSON)`` at detailed verbosity.

    Not run on a GPU by us: written from the documented form.
    """
    found = []
    for layer in json.loads(text).get("Layers", ()):
        if isinstance(layer, str):  # built without detailed verbosity: names only
            found.append(EngineLayer(layer, "", "unknown", ()))
            continue
        types = [str(t.get("Format/Datatype", t.get("Datatype", ""))) for t in layer.get("Inputs", ())]
        words = [w for t in types for w in re.findall(r"[A-Za-z]+\d*", t)]
        nodes = tuple(_ONNX.findall(str(layer.get("Metadata", "")).replace("\x1e", "")))
        found.append(EngineLayer(layer.get("Name", ""), layer.get("LayerType", ""), _precision(words), nodes))
    return tuple(found)


def _split(line: str) -> dict[str, str]:
    """The sections of one layer's line by name; a layer's own name may hold any text but a section's head."""
    parts = {}
    name, rest = "Name", line.removeprefix("Name: ")
    for head in _SECTIONS:
        value, separator, tail = rest.partition(head)
        if separator:
            parts[name] = value
            name, rest = head.strip(", :"), tail
    parts[name] = rest
    return parts


def _precision(types: Iterable[str], constants: Iterable[str] = (), *, generated: bool = False) -> str:
    """What a kernel reads its operands in: the finest type that comes in, or that of a weight it expands by itself.

    A generated kernel may cast what comes in first: a product of one row with FP16 weights reads an FP32 input so.
    """
    read, held = _words(types), _words(constants)
    if generated and read == {"fp32"} and held in ({"fp16"}, {"bf16"}):
        return next(iter(held))
    if read and read <= _FLOATS:
        stored = next((name for word, name in _STORED_ONLY.items() if word in held), None)
        if stored is not None:
            return stored
    return next((w for w in _FINEST_FIRST if w in (read or held)), "other")


def _words(types: Iterable[str]) -> set[str]:
    return {_WORDS[t.lower()] for t in types if t.lower() in _WORDS}


def precision_share(
    layers: Iterable[EngineLayer], assignment: Mapping[str, NodePrecision], macs: Mapping[str, int]
) -> PrecisionShare:
    """Holds the kernels against what each matrix node was asked to compute in.

    Args:
        layers: The engine's kernels.
        assignment: Matrix node to the precision its graph gives it.
        macs: Matrix node to its multiply-accumulates; a node without weighs as much as the median of the others.

    Returns:
        Shares by work. A node no kernel names is not honoured either: nothing shows what it runs in.
    """
    kernels: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for node in layer.onnx_nodes:
            kernels.setdefault(node, []).append(layer)
    ran: dict[str, str] = {}
    for node in assignment:
        candidates = kernels.get(node, [])
        matrix = [k for k in candidates if k.kind.lower() not in _GENERATED] or candidates
        ran[node] = next((w for w in _FINEST_FIRST if any(k.precision == w for k in matrix)), "unknown")
    known = sorted(macs[n] for n in assignment if n in macs)
    usual = known[len(known) // 2] if known else 1
    work: dict[str, int] = {}
    for node, precision in ran.items():
        work[precision] = work.get(precision, 0) + macs.get(node, usual)
    total = sum(work.values()) or 1
    return PrecisionShare(
        shares={p: w / total for p, w in sorted(work.items(), key=lambda item: -item[1])},
        nodes=ran,
        not_honoured={n: (assignment[n], got) for n, got in ran.items() if got != assignment[n]},
    )
