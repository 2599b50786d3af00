"""``trtbuild estimate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common

if TYPE_CHECKING:
    from trtbuild.artifacts import Estimate, PartEstimate, TargetRates
    from trtbuild.console import Console

_USUAL = ("fp32", "fp16", "int8")
_SHOWN = 5  # parts that are named


@click.command("estimate", short_help="Estimate how fast plans or ONNX files are on a target, from its datasheet.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, required=True, help="Target, by name. Give one or more.")
@click.option("--precision", "precisions", multiple=True, help="Take an FP32 model in this one; fp32, fp16 and int8.")
@click.option("--profile", default=0, show_default=True, help="Number of a plan's optimisation profile.")
@axes_option
@common
def command(
    files: tuple[Path, ...], targets: tuple[str, ...], precisions: tuple[str, ...], profile: int,
    axes: tuple[str, ...], console: Console,
) -> None:  # fmt: skip
    """Estimate how fast plans or ONNX files are on a target, from its datasheet: nothing is run.

    Each part takes the longer of operations / peak rate and bytes / memory bandwidth. Launches, and parts that run at
    the same time, are left out: the figures rank choices and foretell no latency. A plan needs what its build
    wrote about it, and is taken at a profile's opt sizes; an ONNX file at those of --axis, or at 1.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.spec.targets import find_target

    rates = [find_target(name).rates() for name in targets]
    found = []
    for file in files:
        graph = file.suffix == ".onnx"
        made = _of_graph(file, rates, targets, precisions, axes) if graph else _of_plan(file, rates, profile)
        found += [(str(file), each) for each in made]
    document = {"estimates": [{"file": file, **to_json(each)} for file, each in found]}
    console.result(document, "\n".join(_lines(found)))


def _of_plan(file: Path, targets: Sequence[TargetRates], profile: int) -> list[Estimate]:
    from trtbuild.engine.inspection import inspect_plan
    from trtbuild.errors import UsageError
    from trtbuild.roofline import plan_estimate

    plan = inspect_plan(file)
    if not plan.layers:
        hint = "keep the .json that compile writes beside it, or the report of its build"
        raise UsageError("nothing says what its kernels are", place=str(file), hint=hint)
    if profile not in range(max(len(plan.profiles), 1)):
        hint = f"it has {len(plan.profiles)}, counted from 0"
        raise UsageError(f"the plan has no profile {profile}", place="--profile", hint=hint)
    found = [each for rates in targets if (each := plan_estimate(plan, rates, profile=profile))]
    if not found:
        raise UsageError(
            "its description does not say what its kernels do", place=str(file), hint="build it with detailed verbosity"
        )
    return found


def _of_graph(
    file: Path, rates: Sequence[TargetRates], targets: Sequence[str], precisions: Sequence[str], axes: tuple[str, ...]
) -> list[Estimate]:
    from trtbuild import onnxfile
    from trtbuild.cli._options import profiles_from
    from trtbuild.errors import UsageError
    from trtbuild.matrixops import node_precisions
    from trtbuild.registry import nearest_hint
    from trtbuild.roofline import PRECISIONS, graph_estimates
    from trtbuild.spec import check_precision, resolve_target

    for precision in precisions:
        if precision not in PRECISIONS:
            hint = nearest_hint(precision, PRECISIONS)
            raise UsageError(f"nothing can be estimated in {precision!r}", place="--precision", hint=hint)
        for target in targets:
            check_precision(resolve_target(target), precision)
    model = onnxfile.load(file, weights=False)
    sizes = {a: r.opt for p in profiles_from(axes) for a, r in p.axes.items()}
    written = set(node_precisions(model).values()) - {"fp32"}
    if written and precisions:
        raise UsageError(
            f"its precision is written in it: {', '.join(sorted(written))}",
            place=str(file),
            hint="leave --precision out, or give the FP32 model",
        )
    wanted: Sequence[str | None] = (None,) if written else precisions or _USUAL
    found = graph_estimates(model, rates, sizes, wanted)
    strange = next((axis for axis in sizes if axis not in found[0].sizes), None)
    if strange is not None:
        hint = nearest_hint(strange, found[0].sizes)
        raise UsageError(f"the model has no axis {strange!r}", place="--axis", hint=hint)
    return found


def _lines(found: Sequence[tuple[str, Estimate]]) -> list[str]:
    from trtbuild.console import table

    rows: list[tuple[str, ...]] = [("file", "target", "precision", "estimated us", "uncached", "of fp16", "bound by")]
    lines = []
    for file, each in found:
        beside = [e for f, e in found if f == file] + [e for _, e in found]
        rows.append((file, each.target, each.precision, _micro(each.estimated_seconds),
                     _micro(each.estimated_seconds_uncached), _ratio(each, beside), _bounds(each)))  # fmt: skip
    lines.append(table(rows))
    lines.append("Estimates from datasheet rates, not measured; launches are left out.")
    lines += dict.fromkeys(f"{each.target}: {each.source}" for _, each in found if each.source)
    for file, each in found:
        lines += ["", f"{file} in {each.precision} on {each.target}: {_share(each):.0%} of it in", *_longest(each)]
        if each.unknown:
            lines.append(f"  {len(each.unknown)} parts are estimated too low: not all they move or multiply is known")
        lines += [f"  {words}" for words in each.assumed]
    return lines


def _ratio(one: Estimate, beside: Sequence[Estimate]) -> str:
    """Of the first FP16 estimate's time on the same target, cached and not; a dash where there is none."""
    base = next((e for e in beside if e.target == one.target and e.precision == "fp16"), None)
    if base is None or not base.estimated_seconds or not base.estimated_seconds_uncached:
        return "-"
    cached = one.estimated_seconds / base.estimated_seconds
    return f"{cached:.2f} ({one.estimated_seconds_uncached / base.estimated_seconds_uncached:.2f})"


def _bounds(each: Estimate) -> str:
    return ", ".join(f"{bound} {share:.0%}" for bound, share in sorted(each.bound_shares.items(), key=lambda i: -i[1]))


def _share(each: Estimate) -> float:
    whole = each.estimated_seconds or 1.0
    return sum(p.estimated_seconds for p in each.longest[:_SHOWN]) / whole


def _longest(each: Estimate) -> list[str]:
    return [
        f"  {_micro(p.estimated_seconds):>8} us  {p.precision:<5} {p.bound:<8} {_called(p)}"
        for p in each.longest[:_SHOWN]
    ]


def _called(part: PartEstimate) -> str:
    """The part's name; of a generated kernel, whose name is a list of steps, a node of it too."""
    node = next(iter(part.nodes), "")
    return f"{part.name[:60]} for {node}" if node and node not in part.name else part.name


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.1f}"
