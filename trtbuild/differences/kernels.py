"""Which kernels of two plans do the same work: they are held together by the ONNX nodes they name, never by their name.

TensorRT's names hold numbers that change from build to build, and generated names tell what is done, not where.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import get_args

from trtbuild.artifacts import Change, EngineLayer, EngineLayers, Role

_Nodes = frozenset[str]
_NAMED = 3  # nodes that stand for a kernel in words


def kernel_changes(before: EngineLayers, after: EngineLayers, *, typed: bool) -> Iterator[Change]:
    """What became of the kernels: how many there are, attention, splits and merges, types, reformats.

    Args:
        before: The first plan's.
        after: The second plan's.
        typed: Whether to tell the types of matrix kernels too, where it is not told node by node.
    """
    for role in get_args(Role):
        counts = [len(layers.with_role(role)) for layers in (before, after)]
        if counts[0] != counts[1]:
            yield Change("kernel count", role, counts[0], counts[1])
    if before.detailed and after.detailed:
        yield from _attention(before, after)
        yield from _regrouped(before, after, typed=typed)
        yield from _reformats(before, after)


def _attention(before: EngineLayers, after: EngineLayers) -> Iterator[Change]:
    """Fused attentions of one side whose nodes are in none of the other's."""
    sides = [[frozenset(k.onnx_nodes) for k in layers.with_role("attention")] for layers in (before, after)]
    for nodes in sides[0]:
        if nodes and not any(nodes & other for other in sides[1]):
            yield Change("attention", _called(nodes), "one kernel", _kernels(after, nodes))
    for nodes in sides[1]:
        if nodes and not any(nodes & other for other in sides[0]):
            yield Change("attention", _called(nodes), _kernels(before, nodes), "one kernel")


def _kernels(layers: EngineLayers, nodes: _Nodes) -> str:
    count = len(layers.where(lambda layer: bool(nodes.intersection(layer.onnx_nodes))))
    return f"not fused, {count} kernel{'' if count == 1 else 's'}"


def _regrouped(before: EngineLayers, after: EngineLayers, *, typed: bool) -> Iterator[Change]:
    """Kernels that split, merged or were cut in another way; and kernels of the same nodes that read other types."""
    common = frozenset(n for k in before for n in k.onnx_nodes) & frozenset(n for k in after for n in k.onnx_nodes)
    sides = [_by_nodes(layers, common) for layers in (before, after)]
    left: list[list[tuple[_Nodes, EngineLayer]]] = [[], []]
    retyped = []
    for nodes in dict.fromkeys((*sides[0], *sides[1])):
        both = [sides[side].get(nodes, []) for side in (0, 1)]
        if len(both[0]) == len(both[1]):
            types = [sorted(k.precision for k in kernels if typed or k.role == "generated") for kernels in both]
            if len(types[0]) == len(types[1]) and types[0] != types[1]:
                retyped.append(Change("kernel precision", _called(nodes), types[0], types[1]))
        else:
            for side in (0, 1):
                left[side] += [(nodes, kernel) for kernel in both[side]]
    for olds, news, nodes in _components(*left):
        yield Change("kernels", _called(nodes), _described(olds), _described(news))
    yield from retyped


def _by_nodes(layers: EngineLayers, common: _Nodes) -> dict[_Nodes, list[EngineLayer]]:
    """Kernels by those of their nodes that both plans name; reformats and kernels without such nodes are left out.

    A generated kernel names a matrix node too where it scales that one's result: the node is its matrix kernel's.
    """
    worked = {n for k in layers if k.role in ("matrix", "attention") for n in k.onnx_nodes}
    found: dict[_Nodes, list[EngineLayer]] = {}
    for layer in layers:
        nodes = common.intersection(layer.onnx_nodes)
        nodes = nodes if layer.role in ("matrix", "attention") else nodes - worked
        if nodes and layer.role != "reformat":
            found.setdefault(nodes, []).append(layer)
    return found


def _components(
    olds: Sequence[tuple[_Nodes, EngineLayer]], news: Sequence[tuple[_Nodes, EngineLayer]]
) -> Iterator[tuple[list[EngineLayer], list[EngineLayer], _Nodes]]:
    """Kernels of both sides that share nodes, directly or through others."""
    groups: list[_Group] = []
    for number, kernels in enumerate((olds, news)):
        for nodes, kernel in kernels:
            touching = [g for g in groups if g.nodes & nodes]
            joined = _Group(nodes.union(*(g.nodes for g in touching)), ([], []))
            for side in (0, 1):
                joined.sides[side].extend(k for g in touching for k in g.sides[side])
            joined.sides[number].append(kernel)
            groups = [g for g in groups if not g.nodes & nodes] + [joined]
    for group in groups:
        yield *group.sides, group.nodes


@dataclass(frozen=True)
class _Group:
    nodes: _Nodes
    sides: tuple[list[EngineLayer], list[EngineLayer]]


def _described(kernels: Iterable[EngineLayer]) -> list[str]:
    return sorted(f"{k.role} {k.precision}" for k in kernels)


def _called(nodes: Iterable[str]) -> str:
    """A kernel by its nodes, what their names have in common once: ``/layer.0/attention/{Add, MatMul and 3 more}``."""
    names = sorted(nodes)
    if len(names) == 1:
        return names[0]
    parts = zip(*(name.split("/")[:-1] for name in names), strict=False)
    prefix = "".join(f"{part[0]}/" for part in takewhile(lambda part: len(set(part)) == 1, parts))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{prefix}{{{', '.join(name.removeprefix(prefix) for name in names[:_NAMED])}{more}}}"


def _reformats(before: EngineLayers, after: EngineLayers) -> Iterator[Change]:
    counts = [Counter(_places(layers)) for layers in (before, after)]
    for name in dict.fromkeys((*counts[0], *counts[1])):
        if counts[0][name] != counts[1][name]:
            yield Change("reformat", name, counts[0][name], counts[1][name])


def _places(layers: EngineLayers) -> Iterator[str]:
    """Each reformat as what it converts, and behind what."""
    makers = {tensor.name: layer for layer in layers for tensor in layer.outputs}
    for layer in layers.with_role("reformat"):
        source = layer.inputs[0].name if layer.inputs else ""
        maker = makers.get(source)
        place = _called(maker.onnx_nodes or layer.onnx_nodes) if maker else source
        yield f"{layer.conversion or layer.kind}" + (f" behind {place}" if place else "")
