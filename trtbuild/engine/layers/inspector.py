r"""Kernels from ``EngineInspector.get_engine_information(JSON)``, of TensorRT 10 and 11.

Not run on a GPU by us. The form is that of NVIDIA's developer guide, of the migration guide from 10.x to 11.x
(``Bindings``, a list of names, became ``I/O Tensors``, a list of objects) and of layer information that users of
trtexec have shown in NVIDIA/TensorRT's issues 4020, 4048 and 4397:

- ``Format/Datatype`` is a layout with its type (``Row major linear FP16 format``), a type (``Half``,
  ``Half(64,1:8,...)``) or, of a dynamic tensor, ``N/A due to dynamic shapes``. RTX's log has ``Datatype`` and
  ``Format`` apart; both are read.
- A convolution has its weights as ``Weights: {"Type": "Int8", "Count": 13824}``, a region of Myelin as ``Constants``,
  a GEMM of TensorRT 10 does not show them.
- ``Metadata`` is ``[ONNX Layer: a]\x1f[ONNX Layer: b]``, with ``\x1e`` between groups.
- At a lower profiling verbosity a layer is a string, its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from trtbuild.artifacts import EngineLayer, EngineLayers, EngineTensor, LayerTensor
from trtbuild.engine.layers import words


def from_inspector(text: str) -> EngineLayers:
    """The kernels of an engine; without any where the text is no JSON object, as at verbosity ``NONE``."""
    try:
        document = json.loads(text)
    except ValueError:
        return EngineLayers()
    if not isinstance(document, dict):
        return EngineLayers()
    layers = [_layer(entry) for entry in _items(document, "Layers")]
    tensors = [_io_tensor(entry) for entry in _items(document, "I/O Tensors") or _items(document, "Bindings")]
    return EngineLayers(words.in_profiles(layers), tuple(tensors), "inspector")


def _layer(entry: Any) -> EngineLayer:
    if not isinstance(entry, Mapping):
        return EngineLayer(str(entry), "", "unknown", ())
    kind, tactic = _text(entry, "LayerType"), _text(entry, "TacticName")
    inputs, outputs = (tuple(_tensor(t) for t in _items(entry, side)) for side in ("Inputs", "Outputs"))
    constants = tuple(_tensor(t) for t in _items(entry, "Constants")) + _weights(entry)
    stream = entry.get("StreamId")
    return EngineLayer(
        name=_text(entry, "Name"),
        kind=kind,
        precision=words.read_in(inputs, constants, generated=kind.lower() in words.GENERATED, tactic=tactic),
        onnx_nodes=words.nodes(_text(entry, "Metadata")),
        inputs=inputs,
        outputs=outputs,
        constants=constants,
        tactic=tactic,
        stream=stream if isinstance(stream, int) else None,
    )


def _tensor(entry: Any) -> LayerTensor:
    if not isinstance(entry, Mapping):
        return LayerTensor(str(entry), "unknown", (-1,))
    both, alone, layout = (_text(entry, key) for key in ("Format/Datatype", "Datatype", "Format"))
    return LayerTensor(_text(entry, "Name"), words.dtype(alone or both), _dims(entry, "Dimensions"), layout or both)


def _weights(entry: Mapping[str, Any]) -> tuple[LayerTensor, ...]:
    """The weights and bias of a convolution, of which their type and count is said."""
    found = []
    for role in ("Weights", "Bias"):
        said = entry.get(role)
        if isinstance(said, Mapping) and isinstance(said.get("Count"), int) and said["Count"] > 0:
            found.append(LayerTensor(role.lower(), words.dtype(_text(said, "Type")), (said["Count"],)))
    return tuple(found)


def _io_tensor(entry: Any) -> EngineTensor:
    if not isinstance(entry, Mapping):
        return EngineTensor(str(entry), "")
    profiles = [p for p in _items(entry, "ProfileInfo") if isinstance(p, Mapping)]
    shapes = tuple(
        (_dims(p, "MinShape"), _dims(p, "OptShape"), _dims(p, "MaxShape")) for p in profiles if "OptShape" in p
    )
    return EngineTensor(
        name=_text(entry, "Name"),
        mode=_text(entry, "IOMode").lower(),
        dtype=words.dtype(_text(entry, "DataType") or _text(entry, "Datatype")),
        dims=_dims(entry, "Dimensions"),
        shapes=shapes,
        format=_text(profiles[0], "Format") if profiles else "",
    )


def _items(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return "" if value is None else str(value)


def _dims(entry: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """Dimensions as a list of numbers, or as its text."""
    return tuple(int(n) for n in re.findall(r"-?\d+", json.dumps(entry.get(key, []))))
