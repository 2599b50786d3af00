"""Reads and writes the calibration cache of TensorRT 10 and before.

A text file. Its first line is ``TRT-<version>-<algorithm>``, such as ``TRT-8601-EntropyCalibration2``: the version's
numbers run together, the algorithm that of the calibrator class that wrote it and may read it back. Every further line
is ``<tensor>: <hex>``: the bits of a float32, the most significant first, which is the tensor's scale = amax / 127.
Zero is written as a single 0 and stands for a tensor without a range. Tensors have their ONNX names; those that
TensorRT's parser made up are called ``(Unnamed Layer* 64) [Shuffle]_output`` and the like.

TensorRT 11 and TensorRT-RTX have no calibrators and read no cache: for them ranges go into the graph, as Q/DQ.

Source: public caches and the README of TensorRT's sampleINT8; the format is not documented further.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, StoredFile, TensorRange
from trtbuild.content import json_digest
from trtbuild.errors import IntegrityError, UsageError, as_output_error
from trtbuild.quantization import place

if TYPE_CHECKING:
    from onnx import ModelProto

ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration")
"""Those that are written; any is read."""
_LEVELS = 127  # symmetric INT8: -127 to 127
_SMALLEST_SCALE = 2.0**-126  # float32's smallest normal number: a smaller scale becomes zero
_HEADER = re.compile(r"TRT-(\d+)-(\w+)")
_LINE = re.compile(r"(.+): ([0-9a-fA-F]{1,8})", re.DOTALL)
_NAMED = 5  # tensors that a message names before it counts the rest


@dataclass(frozen=True)
class CalibrationCache:
    """What a cache file says.

    Attributes:
        version: TensorRT's version as the file writes it: ``8601``, ``101401``.
        algorithm: The calibrator's: ``EntropyCalibration2``, ``MinMaxCalibration``, ...
        scales: Tensor name to its scale, amax / 127, in the tensor's unit; 0 where it has no range.
    """

    version: str
    algorithm: str
    scales: Mapping[str, float]


@dataclass(frozen=True)
class CacheFit:
    """How a cache and a graph go together.

    Attributes:
        ranges: Tensor of the graph to its amax, in the tensor's unit: all activations that the cache has a scale for.
        weights: Weights of the graph that the cache names; their ranges come from their values.
        unknown: Tensors of the cache that the graph lacks.
        missing: Tensors that need a range and get none, each with the reason.
    """

    ranges: Mapping[str, float]
    weights: tuple[str, ...]
    unknown: tuple[str, ...]
    missing: Mapping[str, str]


def read_cache(path: Path) -> CalibrationCache:
    """Reads a cache file.

    Raises:
        UsageError: No such file, no cache, or a line of it that is malformed: ``place`` is ``file:line``.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(
            f"the cache cannot be read: {error.strerror}", place=str(path), hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise _not_a_cache(f"{path}:1") from error
    first, *lines = (line.removesuffix("\r") for line in text.split("\n"))
    header = _HEADER.fullmatch(first)
    if header is None:
        raise _not_a_cache(f"{path}:1")
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise UsageError(
                f"this is not a tensor and its scale: {line[:80]!r}",
                place=f"{path}:{number}",
                hint="write   <tensor>: <up to eight hexadecimal digits>   as in   input: 3c010a14",
            )
        name, digits = found.groups()
        if name in scales:
            raise UsageError(
                f"tensor {name!r} has a scale already", place=f"{path}:{number}", hint="keep one of the two lines"
            )
        scales[name] = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))[0]
    return CalibrationCache(header[1], header[2], scales)


def cache_text(cache: CalibrationCache) -> str:
    """The file's text, tensors in the cache's order.

    Raises:
        UsageError: A tensor's name does not fit on a line.
    """
    lines = [f"TRT-{cache.version}-{cache.algorithm}"]
    for name, scale in cache.scales.items():
        if not name or "\n" in name:
            raise UsageError(
                f"tensor {name!r} cannot stand in a cache", hint="rename it: a cache has one line a tensor"
            )
        lines.append(f"{name}: {struct.pack('>f', scale).hex() if scale else '0'}")
    return "\n".join([*lines, ""])


def write_cache(cache: CalibrationCache, path: Path) -> None:
    """Writes a cache file; the same cache is the same bytes.

    Raises:
        UsageError: A tensor's name does not fit on a line.
        OutputError: The file cannot be written.
    """
    text = cache_text(cache)
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise as_output_error(error, str(path)) from error


def cache_from_table(
    table: CalibrationTable, *, version: str, algorithm: str = "EntropyCalibration2"
) -> CalibrationCache:
    """The cache that holds a table's ranges.

    TensorRT falls back from INT8 in every layer that consumes or produces a tensor without a scale, so a table for a
    cache should hold every floating point tensor of the graph, and not only those that Q/DQ needs.

    Args:
        table: The ranges.
        version: TensorRT's version, ``10.3.0``.
        algorithm: Which calibrator will read it, whatever method has chosen the ranges: trtexec and Polygraphy take
            ``EntropyCalibration2`` unless told otherwise, and a calibrator ignores a cache of another's name.

    Raises:
        UsageError: No such version or algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(f"TensorRT has no calibrator {algorithm!r}", hint=f"one of {', '.join(ALGORITHMS)}")
    scales = {name: _as_float32(max(r.amax / _LEVELS, _SMALLEST_SCALE)) for name, r in table.ranges.items()}
    return CalibrationCache(_run_together(version), algorithm, scales)


def table_from_cache(
    cache: CalibrationCache, model: StoredFile, *, tensors: Sequence[str] | None = None
) -> CalibrationTable:
    """The table that says of a graph what a cache says.

    What a cache does not say is not made up: what was seen of a tensor is None, there are 0 samples and no row digests,
    so verification cannot tell whether it is given a calibration sample. ``data`` is the digest of the cache's content.
    Tensors of the cache that the graph lacks are told in the notes.

    Args:
        cache: The cache.
        model: The FP32 ONNX that will be quantised.
        tensors: Which tensors need a range; those where TensorRT wants a Q/DQ pair when left out.

    Raises:
        IntegrityError: The cache lacks tensors that need a range; it names them, with the nearest name it has.
    """
    fit = fit_cache(cache, onnxfile.load(model.path, weights=False), tensors=tensors)
    if fit.missing:
        described = [_described(name, why, fit.unknown) for name, why in list(fit.missing.items())[:_NAMED]]
        more = [f"and {len(fit.missing) - _NAMED} more"] if len(fit.missing) > _NAMED else []
        raise IntegrityError(
            f"no range for {len(fit.missing)} of the tensors that {model.path.name} needs one of: "
            + "; ".join([*described, *more]),
            place="calibration cache",
            hint="take the very ONNX file that the cache was made with (names change from export to export), "
            "rename the tensors in the cache, or calibrate anew",
        )
    return CalibrationTable(
        graph=model.digest,
        method=f"cache:{cache.algorithm}",
        data=json_digest(cache_text(cache)),
        samples=0,
        row_digests=(),
        synthetic=False,
        ranges={name: TensorRange(amax, None, None, None, None, None) for name, amax in fit.ranges.items()},
        notes=(f"the graph lacks {_some(fit.unknown)} of the cache",) if fit.unknown else (),
    )


def fit_cache(cache: CalibrationCache, model: ModelProto, *, tensors: Sequence[str] | None = None) -> CacheFit:
    """Holds a cache's names against a graph's.

    Args:
        cache: The cache.
        model: The graph; its weights' values are not needed.
        tensors: Which tensors need a range; those where TensorRT wants a Q/DQ pair when left out.
    """
    tensors = place(model).tensors if tensors is None else tensors
    weights = {t.name for t in model.graph.initializer}
    known = {v.name for v in model.graph.input} | {name for n in model.graph.node for name in n.output if name}
    ranges = {name: s * _LEVELS for name, s in cache.scales.items() if name in known - weights and 0 < s < math.inf}
    missing = {
        name: f"its scale there is {cache.scales[name]:g}" if name in cache.scales else "not in the cache"
        for name in tensors
        if name not in ranges
    }
    return CacheFit(
        ranges=ranges,
        weights=tuple(name for name in cache.scales if name in weights),
        unknown=tuple(name for name in cache.scales if name not in known | weights),
        missing=missing,
    )


def _described(name: str, why: str, unknown: Sequence[str]) -> str:
    """A tensor, why it has no range, and the nearest name among those that nothing in the graph has."""
    near = difflib.get_close_matches(name, unknown, n=1, cutoff=0.6)
    return f"{name!r} ({why}{f'; nearest there: {near[0]!r}' if near else ''})"


def _some(names: Sequence[str]) -> str:
    """How many tensors, and the first of them by name."""
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return f"{len(names)} tensors ({shown}{', ...' if len(names) > _NAMED else ''})"


def _run_together(version: str) -> str:
    """10.14.1 is 101401 and 8.6.1 is 8601: since TensorRT 10 the minor version has two digits, as the patch always had.

    Source: ``NV_TENSORRT_VERSION`` in TensorRT's NvInferVersion.h.
    """
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(\.\d+)?", version)
    if found is None:
        raise UsageError(f"{version!r} is not a version of TensorRT", hint="write it as 10.3.0")
    major, minor, patch = (int(part) for part in found.groups()[:3])
    if major > 10:
        raise UsageError(f"TensorRT {version} reads no calibration cache", hint="10 and before do; 11 takes Q/DQ only")
    return str(major * (10_000 if major >= 10 else 1_000) + minor * 100 + patch)


def _as_float32(value: float) -> float:
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _not_a_cache(place: str) -> UsageError:
    return UsageError(
        "this is not TensorRT's calibration cache",
        place=place,
        hint="its first line is like   TRT-8601-EntropyCalibration2",
    )
