"""TensorRT's words for element types, nodes and profiles, as its log and its inspector write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from trtbuild.artifacts import EngineLayer, LayerTensor

_DTYPES = {
    "int8": "int8", "half": "fp16", "float": "fp32", "bfloat16": "bf16", "bf16": "bf16", "fp8": "fp8", "int4": "int4",
    "fp4": "fp4", "fp4e2m1": "fp4", "fp16": "fp16", "fp32": "fp32", "float16": "fp16", "float32": "fp32",
    "int32": "int32", "int64": "int64", "bool": "bool", "uint8": "uint8", "double": "fp64",
}  # fmt: skip
FINEST_FIRST = ("int4", "fp4", "int8", "fp8", "int8_weights", "fp16", "bf16", "fp32")
_FLOATS = {"fp16", "bf16", "fp32"}
_STORED_ONLY = {"int4": "int4", "int8": "int8_weights"}
"""Types of a weight that a kernel expands by itself, when what comes in is a float, to what that is called."""

GENERATED = ("kgen", "pointwise", "pointwisev2")
"""Layer types of generated kernels, in lower case."""

NOT_MATRIX = {
    *GENERATED,
    "shape_call",
    "no_op",
    "noop",
    "memcpy",
    "reformat",
    "constant",
    "signal",
    "wait",
    "shapecall",
}
"""Layer types of kernels that do no matrix work; a matrix node named there as well has its work elsewhere."""

_ONNX = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f]|\[[A-Z]\w*(?: \w+)*: |\s*$)", re.DOTALL)
"""One of the nodes in a kernel's metadata. They follow each other directly in the log, and with a control character
between them in JSON; a node's own name may hold brackets."""

_PROFILE = re.compile(r" \[profile (\d+)\]")
_REGION = re.compile(r"_myl(\d+)(?:_\d+)?$")
_TACTIC = re.compile(r"_(?:interleaved_)?(i8|i4|f16|bf16|f32|e4m3|e2m1)(?:i8|i4|f16|bf16|f32|e4m3|e2m1)_")
_TACTIC_WORDS = {"i8": "int8", "i4": "int4", "f16": "fp16", "bf16": "bf16", "f32": "fp32", "e4m3": "fp8", "e2m1": "fp4"}


def dtype(text: str) -> str:
    """The dtype word in TensorRT's name of a type or of a layout: ``fp16`` of ``Row major linear FP16 format``.

    ``unknown`` where there is none, as in ``N/A due to dynamic shapes``; a single word we do not know, in lower case.
    """
    words = re.findall(r"[A-Za-z]+\d*(?:[A-Za-z]\d+)*", text)
    known = next((_DTYPES[w.lower()] for w in words if w.lower() in _DTYPES), None)
    return known or (words[0].lower() if len(words) == 1 else "unknown")


def nodes(metadata: str) -> tuple[str, ...]:
    """The ONNX nodes that a kernel's metadata names."""
    return tuple(dict.fromkeys(_ONNX.findall(metadata)))


def read_in(
    inputs: Iterable[LayerTensor], constants: Iterable[LayerTensor] = (), *, generated: bool = False, tactic: str = ""
) -> str:
    """What a kernel reads its operands in: the finest type that comes in, or that of a weight it expands by itself.

    A generated kernel may cast what comes in first: a product of one row with FP16 weights reads an FP32 input so.
    Where the types of dynamic tensors are not said (TensorRT 10's inspector), the tactic's name may tell: the kernel
    ``..._i8f32_i8i32_f32_...`` reads INT8.
    """
    read, held = _numeric(inputs), _numeric(constants)
    if not read and (said := _TACTIC.search(tactic)):
        return _TACTIC_WORDS[said.group(1)]
    if generated and read == {"fp32"} and held in ({"fp16"}, {"bf16"}):
        return next(iter(held))
    if read and read <= _FLOATS:
        stored = next((name for word, name in _STORED_ONLY.items() if word in held), None)
        if stored is not None:
            return stored
    return next((w for w in FINEST_FIRST if w in (read or held)), "other")


def _numeric(tensors: Iterable[LayerTensor]) -> set[str]:
    return {t.dtype for t in tensors if t.dtype in FINEST_FIRST}


def in_profiles(layers: Sequence[EngineLayer]) -> tuple[EngineLayer, ...]:
    """Says which optimisation profile each kernel runs for.

    From the second profile on, TensorRT marks the engine's tensors and the model's layers with `` [profile 1]``; the
    kernels it generates carry the number of their region (``..._myl1_4``), which belongs to the profile that any of
    the region's kernels is marked with.
    """
    marked = [_marked(layer) for layer in layers]
    regions = [_region(layer.name) for layer in layers]
    of_region: Mapping[str, int] = {r: m for r, m in zip(regions, marked, strict=True) if r and m}
    return tuple(
        replace(layer, profile=mark or of_region.get(region, 0)) if mark or region in of_region else layer
        for layer, mark, region in zip(layers, marked, regions, strict=True)
    )


def _marked(layer: EngineLayer) -> int:
    names = (layer.name, *(t.name for t in (*layer.inputs, *layer.outputs)))
    return next((int(found.group(1)) for name in names if (found := _PROFILE.search(name))), 0)


def _region(name: str) -> str:
    found = _REGION.search(name)
    return found.group(1) if found else ""
