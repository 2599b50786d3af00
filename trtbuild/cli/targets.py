"""``trtbuild targets``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.spec.targets import TargetFields

_COLUMNS = ("fp16", "int8", "fp8")
_NOTE = """\
Rates are dense, in 10^12 operations a second, FP16 and FP8 with FP16 accumulation. ? is a figure that nobody has looked
up. `trtbuild targets NAME` has the sources and what each precision comes to; sm89 names any other GPU of 8.9."""


@click.command("targets", short_help="List the targets that ship, or tell all of one.")
@click.argument("name", required=False)
@common
def command(name: str | None, console: Console) -> None:
    """List the targets that ship, or tell all of one.

    Any other GPU is written out in the spec: {backend: tensorrt_rtx, compute_capability: "8.9"}, or as sm89. The
    first backend builds a target unless another one is chosen: rtx4090@tensorrt.
    """
    from trtbuild.spec.targets import find_target, shipped_targets

    if name is None:
        found = shipped_targets()
        console.result({n: _document(t) for n, t in found.items()}, _list(found))
        return
    target = find_target(name)
    console.result(_document(target), _details(target))


def _document(target: TargetFields) -> dict[str, object]:
    from trtbuild.spec.targets import gaps_of, precisions_of

    refused = {precision: why for precision, why in precisions_of(target.target()).items() if why}
    partly = {number_format: gap.words for number_format, gap in gaps_of(target.target()).items()}
    facts = {"tensor_cores": list(target.formats), "refused": refused, "partly": partly}
    return target.model_dump(mode="json") | facts


def _list(found: dict[str, TargetFields]) -> str:
    from trtbuild.console import table

    head = ("name", "gpu", "capability", "tensor cores", "GB", "GB/s", *(c.upper() for c in _COLUMNS), "W", "backends")
    rows = [
        (
            name, t.gpu, t.compute_capability, " ".join(t.formats), _figure(t, "memory_gb"),
            _figure(t, "bandwidth_gb_s"), *(_figure(t, c) for c in _COLUMNS), _figure(t, "power_w"),
            ", ".join(t.backends),
        )
        for name, t in sorted(found.items(), key=lambda item: (item[1].target().sm, item[0]))
    ]  # fmt: skip
    return f"{table([head, *rows])}\n\n{_NOTE}"


def _figure(target: TargetFields, name: str) -> str:
    """A figure as a word: - where it is not known, ? behind one that nobody has looked up."""
    value = target.peak.get(name) if name not in type(target).model_fields else getattr(target, name)  # type: ignore[call-overload]
    if value is None:
        return "-"
    return f"{value:g}{'?' if name in target.from_memory else ''}"


def _details(target: TargetFields) -> str:
    from trtbuild.console import table
    from trtbuild.spec.targets import gaps_of, precisions_of

    shown = target.target()
    rates = ", ".join(f"{name} {_figure(target, name)}" for name in target.peak)
    rows = [
        ("name", shown.name), ("gpu", target.gpu or "-"), ("compute capability", target.compute_capability),
        ("backends", ", ".join(target.backends or (target.backend,))), ("tensor cores", " ".join(target.formats)),
        ("dense 10^12 op/s", rates or "-"), ("memory, GB", _figure(target, "memory_gb")),
        ("bandwidth, GB/s", _figure(target, "bandwidth_gb_s")), ("cache, MiB", _figure(target, "l2_mb")),
        ("power, W", _figure(target, "power_w")), ("source", target.source or "-"),
    ]  # fmt: skip
    if target.from_memory:
        rows.append(("?", f"nobody has looked up {', '.join(target.from_memory)}"))
    gaps = gaps_of(shown)
    partly = {p: f"yes, but {gaps[p].words}" for p in gaps}
    precisions = [(p, why or partly.get(p, "yes")) for p, why in precisions_of(shown).items()]
    return f"{table(rows)}\n\n{table([('precision', f'with {shown.backend}'), *precisions])}"
