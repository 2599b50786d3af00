"""How much each kernel multiplies and moves at its profile's opt sizes, from the ONNX model that was compiled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trtbuild.artifacts import EngineLayer, EngineLayers, LayerTensor, OptimizationProfile, TensorSpec
from trtbuild.engine.layers import sizes
from trtbuild.engine.layers.model import ModelAtOpt, at_opt

if TYPE_CHECKING:
    from onnx import ModelProto


def weighed(
    layers: EngineLayers,
    model: ModelProto,
    inputs: Sequence[TensorSpec],
    profiles: Sequence[OptimizationProfile],
) -> EngineLayers:
    """The kernels with their multiply-accumulates and the sizes of their dynamic tensors, and the nodes that vanished.

    Args:
        layers: The engine's kernels, as they were read.
        model: The ONNX model that was compiled; large weights need not be in memory.
        inputs: Its inputs, dynamic axes by name.
        profiles: The engine's optimisation profiles, in order.
    """
    done: dict[int, EngineLayer] = {}
    for number in layers.profiles:
        at = at_opt(model, inputs, profiles[number] if number < len(profiles) else None)
        own = {index: layer for index, layer in enumerate(layers) if layer.profile == number}
        macs = _macs(own, at)
        counts = sizes.elements(tuple(own.values()), at)
        for index, layer in own.items():
            done[index] = replace(
                layer,
                macs=macs[index],
                inputs=_sized(layer.inputs, counts),
                outputs=_sized(layer.outputs, counts),
            )
    named = {node for layer in layers for node in layer.onnx_nodes}
    vanished = tuple(node.name for node in model.graph.node if node.name and node.name not in named)
    return replace(
        layers, layers=tuple(done[index] for index in range(len(layers))), vanished=vanished if layers.detailed else ()
    )


def _macs(layers: Mapping[int, EngineLayer], model: ModelAtOpt) -> dict[int, int | None]:
    """Each kernel's multiply-accumulates; a node that several kernels do the work of is divided among them."""
    naming: dict[str, dict[int, EngineLayer]] = {}
    for index, layer in layers.items():
        for node in layer.onnx_nodes:
            naming.setdefault(node, {})[index] = layer
    parts: dict[int, list[int | None]] = {index: [] for index in layers}
    for node, macs in model.macs.items():
        workers = _workers(node, naming.get(node, {}))
        for place, index in enumerate(workers):
            parts[index].append(None if macs is None else macs // len(workers) + (place < macs % len(workers)))
    return {index: _total(parts[index], layer) for index, layer in layers.items()}


def _workers(node: str, naming: Mapping[int, EngineLayer]) -> list[int]:
    """Which of the kernels that name a matrix node do its products.

    Matrix kernels before generated ones, which scale and add; one named after the node before others; of generated
    kernels alone those that sum up.
    """
    matrix = {i: layer for i, layer in naming.items() if layer.role in ("matrix", "attention")}
    if matrix:
        return [i for i, layer in matrix.items() if layer.name.startswith(node)] or list(matrix)
    return [i for i, layer in naming.items() if "Sum" in layer.operations] or list(naming)


def _total(parts: Sequence[int | None], layer: EngineLayer) -> int | None:
    known = [part for part in parts if part is not None]
    hidden = not layer.kind or (layer.role in ("matrix", "attention") and not parts)
    return None if hidden or len(known) < len(parts) else sum(known)


def _sized(tensors: Iterable[LayerTensor], counts: Mapping[sizes.View, int]) -> tuple[LayerTensor, ...]:
    return tuple(replace(t, opt_elements=counts.get(sizes.view(t))) if t.dynamic else t for t in tensors)
