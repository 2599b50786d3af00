"""Kernels from TensorRT-RTX's verbose build log: its message that begins ``Layers:``.

The form is not documented: it is the one seen with 1.7.1, at detailed profiling verbosity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trtbuild.artifacts import EngineLayer, EngineLayers, EngineTensor, LayerTensor
from trtbuild.engine.layers import words

_HEAD = re.compile(r", LayerType: (\w*), Inputs: (?=\[)")
_SECTIONS = ("Constants", "Outputs", "TacticName", "StreamId", "Metadata")
_TENSOR = re.compile(
    r"\{ (?:Name: (?P<name>.*?), )??(?:Dimensions: \[(?P<dims>[-\d,]*)\], )?(?:Strides: \[[-\d,]*\], )?"
    r"(?:StrideOrder: \[[-\d,]*\], )?Datatype: (?P<dtype>\w+)(?:, Format: (?P<format>[^{}]*?))? \}",
    re.DOTALL,
)
_IO = re.compile(
    r"^ Name: (?P<name>.*), IOMode: (?P<mode>\w+), DataType: (?P<dtype>\w+), Dimensions: \[(?P<dims>[-\d,]*)\], "
    r".*?ProfileInfo: \[(?P<profiles>.*)\]$"
)
_SHAPES = re.compile(r"MinShape: \[([-\d,]*)\], OptShape: \[([-\d,]*)\], MaxShape: \[([-\d,]*)\]")
_IO_HEAD = "\nI/O Tensors:"


def from_log(message: str) -> EngineLayers:
    """The kernels of a build log's ``Layers:`` message, in order of execution."""
    kernels, _, rest = f"\n{message}".partition(_IO_HEAD)
    layers = [_layer(record) for record in _records(kernels)]
    tensors = tuple(tensor for line in rest.splitlines() if (tensor := _io_tensor(line)) is not None)
    return EngineLayers(words.in_profiles(layers), tensors, "build log" if layers else "")


def _records(text: str) -> Iterator[str]:
    """The text of each layer: a line, or several where a name has a line break in it."""
    for part in re.split(r"\nName: ", text)[1:]:
        yield part.rstrip("\n")


def _layer(record: str) -> EngineLayer:
    head = _HEAD.search(record)
    name, kind, rest = (record[: head.start()], head.group(1), record[head.end() :]) if head else (record, "", "")
    parts = _split(rest)
    inputs, constants, outputs = (_tensors(parts[section]) for section in ("Inputs", "Constants", "Outputs"))
    generated = kind.lower() in words.GENERATED
    return EngineLayer(
        name=name,
        kind=kind,
        precision=words.read_in(inputs, constants, generated=generated),
        onnx_nodes=words.nodes(parts["Metadata"]),
        inputs=inputs,
        outputs=outputs,
        constants=constants,
        tactic=parts["TacticName"],
        stream=int(parts["StreamId"]) if parts["StreamId"].isdecimal() else None,
    )


def _split(rest: str) -> dict[str, str]:
    """The sections that follow a layer's type, by name; one that is not there is empty."""
    parts = dict.fromkeys(("Inputs", *_SECTIONS), "")
    name = "Inputs"
    for section in _SECTIONS:
        value, separator, tail = rest.partition(f", {section}: ")
        if separator:
            parts[name] = value
            name, rest = section, tail
    parts[name] = rest
    return parts


def _tensors(section: str) -> tuple[LayerTensor, ...]:
    return tuple(
        LayerTensor(found["name"] or "", words.dtype(found["dtype"]), _numbers(found["dims"]), found["format"] or "")
        for found in _TENSOR.finditer(section)
    )


def _io_tensor(line: str) -> EngineTensor | None:
    found = _IO.match(line)
    if found is None:
        return None
    shapes = tuple(
        (_numbers(low), _numbers(opt), _numbers(high)) for low, opt, high in _SHAPES.findall(found["profiles"])
    )
    layout = re.search(r"Format: ([^{}]*?) \}", found["profiles"])
    return EngineTensor(
        name=found["name"],
        mode=found["mode"].lower(),
        dtype=words.dtype(found["dtype"]),
        dims=_numbers(found["dims"]),
        shapes=shapes,
        format=layout.group(1) if layout else "",
    )


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"-?\d+", text or ""))
