"""Kernels as a person reads them: a summary, tables that fit the terminal, and where an ONNX node went."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from trtbuild.artifacts import Role
from trtbuild.console import human_size

if TYPE_CHECKING:
    from trtbuild.artifacts import EngineLayer, EngineLayers, WorkShare

_LARGEST = 10  # kernels in the table of the largest
_SHOWN = 6  # lines of a list before "and 12 more"
_NARROWEST = 16  # characters a name keeps


def width() -> int | None:
    """Columns of the terminal; None in a pipe, where nothing is cut."""
    return shutil.get_terminal_size().columns if sys.__stdout__ is not None and sys.__stdout__.isatty() else None


def summary(layers: EngineLayers) -> dict[str, Any]:
    """The kernels in figures, for ``--json``."""
    profiles = [layers.of_profile(number) for number in layers.profiles]
    return {
        "kernels": len(layers),
        "roles": dict(Counter(layer.role for layer in layers)),
        "per profile": [
            {"profile": number, "kernels": len(own), "flops": _share(own.share_by_flops()),
             "bytes": _share(own.share_by_bytes())}
            for number, own in zip(layers.profiles, profiles, strict=True)
        ],
        "attention": [layer.name for layer in layers.with_role("attention")],
        "reformats": [
            {"name": layer.name, "conversion": layer.conversion, "bytes": layer.bytes}
            for layer in layers.with_role("reformat")
        ],
        "fused": {layer.name: len(layer.onnx_nodes) for layer in layers.fused},
        "without nodes": [layer.name for layer in layers.without_nodes],
        "vanished": list(layers.vanished),
    }  # fmt: skip


def _share(share: WorkShare) -> dict[str, Any]:
    return {"total": share.total, "shares": dict(share.shares), "kernels not known": share.unknown}


def lines(layers: EngineLayers, columns: int | None) -> list[str]:
    """The summary in words."""
    if not layers:
        return ["kernels    not known: no description of the plan lists them"]
    if not layers.detailed:
        return [f"kernels    {len(layers)}, of which only names are known: built without detailed profiling verbosity"]
    roles = Counter(layer.role for layer in layers)
    said = ", ".join(f"{roles[role]} {role}" for role in get_args(Role) if roles[role])
    several = f" over {len(layers.profiles)} profiles" if len(layers.profiles) > 1 else ""
    found = [f"kernels    {len(layers)}{several}: {said}"]
    found.append(f"fused      {len(layers.fused)} kernels do the work of more than one ONNX node")
    for number in layers.profiles:
        own = layers.of_profile(number)
        of = f"profile {number}: " if several else ""
        found.append(f"FLOPs      {of}{_words(own.share_by_flops(), flops)}")
        found.append(f"bytes      {of}{_words(own.share_by_bytes(), human_size)}")
    found += _block("attention", [_attention(layer) for layer in layers.with_role("attention")], "no fused kernel")
    found += _block("reformats", _reformats(layers.with_role("reformat")), "none")
    found += _block("no node", [layer.name for layer in layers.without_nodes if layer.role != "other"], "")
    if layers.vanished:
        found.append(f"vanished   {len(layers.vanished)} ONNX nodes that no kernel names: folded, merged or not needed")
    return [shortened(line, columns) for line in found]


def _words(share: WorkShare, unit: Any) -> str:
    if not share.shares:
        return "not known"
    parts = ", ".join(f"{p} {part:.1%}" if part >= 0.0005 else f"{p} < 0.1%" for p, part in share.shares.items())
    left_out = f"; {share.unknown} kernels not known" if share.unknown else ""
    return f"{unit(share.total)}: {parts}{left_out}"


def flops(count: int) -> str:
    """Operations in the unit a person would use: 11.2 G."""
    value = float(count)
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000 or unit == "T":
            return f"{value:.1f} {unit}" if unit else f"{value:.0f}"
        value /= 1000
    return str(count)


def _attention(layer: EngineLayer) -> str:
    return f"{layer.name}, {layer.precision}, {_nodes(layer)}"


def _nodes(layer: EngineLayer) -> str:
    """The node a kernel is named after, or the first it names, and how many there are beside it."""
    first = next((n for n in layer.onnx_nodes if layer.name.startswith(n)), next(iter(layer.onnx_nodes), ""))
    return f"{first} +{len(layer.onnx_nodes) - 1}" if len(layer.onnx_nodes) > 1 else first


def _reformats(layers: Sequence[EngineLayer]) -> list[str]:
    """Reformats of one kind together: how many, and what they move in all."""
    kinds: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        kinds.setdefault(layer.conversion or layer.name, []).append(layer)
    said = []
    for conversion, same in sorted(kinds.items(), key=lambda item: -sum(k.bytes or 0 for k in item[1])):
        known = [layer.bytes for layer in same if layer.bytes is not None]
        size = human_size(sum(known)) if len(known) == len(same) else "bytes not known"
        said.append(f"{len(same)} x {conversion}, {size}")
    return said


def _block(name: str, entries: Sequence[str], none: str) -> list[str]:
    """A list under a name; nothing where it is empty and nothing is to be said of that."""
    if not entries:
        return [f"{name:<11}{none}"] if none else []
    rows = [*entries[:_SHOWN], *([f"and {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else [])]
    return [f"{name if number == 0 else '':<11}{row}" for number, row in enumerate(rows)]


def largest(layers: EngineLayers, columns: int | None) -> str:
    """The kernels with the largest share of the FLOPs or of the bytes, as a table; empty where nothing is known."""
    flop, byte = (share.total or 1 for share in (layers.share_by_flops(), layers.share_by_bytes()))
    weights = {n: max((k.flops or 0) / flop, (k.bytes or 0) / byte) for n, k in enumerate(layers)}
    chosen = sorted((n for n, weight in weights.items() if weight > 0), key=lambda n: -weights[n])[:_LARGEST]
    return rows(layers, chosen, columns) if chosen else ""


def rows(layers: EngineLayers, numbers: Sequence[int], columns: int | None) -> str:
    """Some kernels, by their numbers, as a table; on a terminal without what all generated names begin with."""
    several, streams = len(layers.profiles) > 1, len({layer.stream for layer in layers}) > 1
    table = [["#", "kernel", "role", "reads", "FLOPs", "bytes", "profile", "stream", "ONNX nodes"]]
    for number in numbers:
        k = layers[number]
        work = "-" if k.macs == 0 else "?" if k.flops is None else flops(k.flops)
        name = k.name if columns is None else k.name.removeprefix("__myl_")
        table.append([
            str(number), name, k.role, "" if k.role == "other" else k.precision, work,
            "?" if k.bytes is None else human_size(k.bytes), str(k.profile), "?" if k.stream is None else str(k.stream),
            _nodes(k),
        ])  # fmt: skip
    kept = [i for i in range(9) if (i != 6 or several) and (i != 7 or streams)]
    return fitted([[row[i] for i in kept] for row in table], columns, flexible=(1, len(kept) - 1))


def fitted(table: Sequence[Sequence[str]], columns: int | None, flexible: tuple[int, int]) -> str:
    """A table whose flexible columns give way, the wider one first, until it fits."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    if columns is not None:
        room = columns - 2 * (len(widths) - 1) - sum(w for i, w in enumerate(widths) if i not in flexible)
        one, other = flexible
        widths[one] = min(widths[one], max(_NARROWEST, room // 2, room - widths[other]))
        widths[other] = min(widths[other], max(_NARROWEST, room - widths[one]))
    cells = [[shortened(cell, widths[i]).ljust(widths[i]) for i, cell in enumerate(row)] for row in table]
    return "\n".join("  ".join(row).rstrip() for row in cells)


def shortened(text: str, columns: int | None) -> str:
    """The text with its middle left out where it is too long: names differ at their ends."""
    if columns is None or len(text) <= columns:
        return text
    end = (columns - 3) // 2
    return f"{text[: columns - 3 - end]}...{text[len(text) - end :]}"


def where_to(layers: EngineLayers, name: str) -> dict[str, tuple[EngineLayer, ...]]:
    """The kernels of the nodes of that name, or, where there is none, of those whose names hold it."""
    known = {**dict.fromkeys(layers.vanished, ()), **layers.by_node()}
    if name in known:
        return {name: known[name]}
    return {node: kernels for node, kernels in known.items() if name in node}


def node_lines(found: dict[str, tuple[EngineLayer, ...]], columns: int | None) -> list[str]:
    """Where nodes went, in words: each kernel once, with the nodes asked for and those beside them."""
    kernels = {layer.name: layer for layers in found.values() for layer in layers}
    said = []
    for layer in kernels.values():
        work = f", {flops(layer.flops)} FLOPs" if layer.flops else ""
        said.append(f"{layer.name}: {layer.role}, {layer.precision}{work}")
        said += [f"    {'*' if node in found else ' '} {node}" for node in layer.onnx_nodes]
    gone = [node for node, layers in found.items() if not layers]
    if gone:
        said.append("in no kernel: folded into constants, merged with another node, or not needed")
        said += [f"    * {node}" for node in gone]
    return [shortened(line, columns) for line in said]
