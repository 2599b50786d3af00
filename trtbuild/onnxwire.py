"""Reads and writes an ONNX file without holding its weights: they are found in it, and stay where they are.

protobuf reads a file into memory as a whole. Most of an ONNX file is weights, and most of what is done with a model
needs their names, types and shapes only. A protobuf message is a row of fields, each with its number and, where it has
no fixed size, its length; so the weights can be stepped over. The numbers are those of onnx.proto. What is not as
expected here is left to protobuf: ``outline`` then returns None.

Source: https://protobuf.dev/programming-guides/encoding/ and onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # ModelProto.graph, GraphProto.initializer, TensorProto.raw_data
_EXTERNAL = (13, 14)  # TensorProto.external_data and data_location
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5  # wire types

Place = tuple[int, int]
"""Where a weight's bytes lie in the file: offset and length."""


def outline(path: Path, small: int) -> tuple[ModelProto, dict[int, Place]] | None:
    """A model without the bytes of its large weights.

    Args:
        path: The ``.onnx`` file.
        small: Bytes up to which a weight of the main graph is kept.

    Returns:
        The model, and the place of each weight that was left out, by its number among the initializers. None for a
        file that this module does not understand.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            rest, places = _without_weights(data, small)
        return onnx.ModelProto.FromString(rest), places
    except (OSError, ValueError, IndexError, DecodeError):
        return None


def _without_weights(data: mmap.mmap, small: int) -> tuple[bytes, dict[int, Place]]:
    kept: list[bytes] = []
    places: dict[int, Place] = {}
    weights = 0
    for field, start, body, end in _fields(data, 0, len(data)):
        if field != _GRAPH:
            kept.append(data[start:end])
            continue
        graph: list[bytes] = []
        for inner, first, inside, last in _fields(data, body, end):
            if inner != _INITIALIZER:
                graph.append(data[first:last])
                continue
            raw = next(((f, b, e) for number, f, b, e in _fields(data, inside, last) if number == _RAW_DATA), None)
            if raw is None or raw[2] - raw[1] <= small:
                graph.append(data[first:last])
            else:
                graph.append(_message(_INITIALIZER, data[inside : raw[0]] + data[raw[2] : last]))
                places[weights] = (raw[1], raw[2] - raw[1])
            weights += 1
        kept.append(_message(_GRAPH, b"".join(graph)))
    return b"".join(kept), places


def embedded(light: bytes, sizes: Mapping[int, int]) -> Iterator[bytes | int]:
    """A serialised model with weights put into it, as protobuf would write it: a field's number gives its place.

    Args:
        light: The model; those weights lie in other files.
        sizes: Bytes of each such weight, by its number among the main graph's initializers.

    Yields:
        What to write, in order; a number stands for that weight's bytes.
    """
    for field, start, body, end in _fields(light, 0, len(light)):
        if field != _GRAPH:
            yield light[start:end]
            continue
        graph = list(_with_weights(light, body, end, sizes))
        yield _head(_GRAPH, sum(sizes[part] if isinstance(part, int) else len(part) for part in graph))
        yield from graph


def _with_weights(light: bytes, position: int, end: int, sizes: Mapping[int, int]) -> Iterator[bytes | int]:
    """What a graph holds, with its weights."""
    weights = 0
    for field, start, body, last in _fields(light, position, end):
        if field != _INITIALIZER or weights not in sizes:
            yield light[start:last]
        else:
            tensor = [*_fields(light, body, last)]
            before = b"".join(light[f:e] for number, f, _, e in tensor if number < _RAW_DATA)
            after = b"".join(light[f:e] for number, f, _, e in tensor if number > _RAW_DATA and number not in _EXTERNAL)
            before += _head(_RAW_DATA, sizes[weights])
            yield _head(_INITIALIZER, len(before) + sizes[weights] + len(after)) + before
            yield weights
            yield after
        weights += field == _INITIALIZER


def _fields(data: mmap.mmap | bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, and where the field, what it holds, and the next one begin."""
    while position < end:
        start = position
        tag, position = _varint(data, position)
        kind = tag & 7
        body = position
        if kind == _VARINT:
            position = _varint(data, position)[1]
        elif kind == _COUNTED:
            length, body = _varint(data, position)
            position = body + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            position += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position > end:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, start, body, position


def _varint(data: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _message(field: int, body: bytes) -> bytes:
    """A field that holds a message."""
    return _head(field, len(body)) + body


def _head(field: int, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    return _as_varint(field << 3 | _COUNTED) + _as_varint(size)


def _as_varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
