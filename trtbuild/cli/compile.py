"""``trtbuild compile``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, in_folder, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import BuildOptions, OptimizationProfile
    from trtbuild.console import Console


@click.command("compile", short_help="Build a TensorRT plan from a typed ONNX file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default="model.plan", show_default=True)
@click.option("--target", required=True, help="A shipped target such as rtx4090, or sm89.")
@axes_option
@click.option("--min-shapes", help="As trtexec, Polygraphy or onnxslim write them: x:1x3x224x224.")
@click.option("--opt-shapes", help="Needs --min-shapes and --max-shapes too.")
@click.option("--max-shapes", help="Needs --min-shapes and --opt-shapes too.")
@click.option(
    "--allow-precision-fallback", is_flag=True, help="Accept kernels that do not honour the graph's precision."
)
@click.option("--tf32", is_flag=True, help="Let FP32 matrix work run in TF32.")
@click.option("--optimization-level", type=click.IntRange(0, 5))
@click.option("--workspace-mib", type=click.IntRange(min=1))
@click.option("--timeout", "timeout_s", type=float, default=3600, show_default=True, help="Seconds.")
@click.option(
    "--option",
    "words",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any key of a spec's build block: --option refit=any. `trtbuild schema` explains them.",
)
@click.option("--memory-limit-mib", type=click.IntRange(min=1), help="Of this machine's memory; default: no limit.")
@click.option("--check-reproducible", is_flag=True, help="Build twice and say whether the bytes are the same.")
@click.option("--python", default="", help="A Python whose TensorRT builds it, such as venv/bin/python.")
@common
def command(
    model: Path,
    output: Path,
    target: str,
    axes: tuple[str, ...],
    min_shapes: str | None,
    opt_shapes: str | None,
    max_shapes: str | None,
    tf32: bool,
    allow_precision_fallback: bool,
    optimization_level: int | None,
    workspace_mib: int | None,
    timeout_s: float,
    words: tuple[str, ...],
    memory_limit_mib: int | None,
    check_reproducible: bool,
    python: str,
    console: Console,
) -> None:
    """Build a TensorRT plan from a typed ONNX file.

    Beside the plan it writes <plan>.json: target, version, digests, the fused layers and the share of matrix work in
    each precision; and <plan>.timing, where kernels were timed: build.timing_cache pins a later build to it.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.engine import compile as compile_plan
    from trtbuild.engine import typed_from_file
    from trtbuild.reporting import as_text, said
    from trtbuild.spec import resolve_target

    watch = Stopwatch()
    profiles = profiles_from(axes) or _profile_from_shapes(model, min_shapes, opt_shapes, max_shapes)
    options = _options(
        words,
        allow_precision_fallback=allow_precision_fallback or None,
        optimization_level=optimization_level,
        workspace_mib=workspace_mib,
        timeout_s=timeout_s,
        memory_limit_mib=memory_limit_mib,
        check_reproducible=check_reproducible or None,
    )
    console.started("compile")

    def make(folder: Path) -> object:
        done = compile_plan(
            typed_from_file(model, tf32=tf32, profiles=profiles), folder, target=resolve_target(target, python=python),
            profiles=profiles, options=options,
            on_progress=lambda phase, share: console.progress("compile", share, phase),
        )  # fmt: skip
        base = output.resolve().parent
        log = output.with_name(f"{output.name}.log")
        done.log.path.replace(log)
        done.plan.path.replace(output)
        timings = done.timing_cache
        if timings is not None:
            kept = timings.path.replace(output.with_name(f"{output.name}.timing")).resolve()
            timings = replace(timings, path=kept)
        plugins = tuple(
            replace(p, path=p.path.replace(output.with_name(f"{output.name}.{p.path.name}")).resolve())
            for p in done.plugins
        )
        placed = replace(
            done, plan=replace(done.plan, path=output.resolve()), log=replace(done.log, path=log.resolve()),
            timing_cache=timings, plugins=plugins,
        )  # fmt: skip
        described = folder / "description.json"
        described.write_text(as_text(to_json(placed, base=base)), encoding="utf-8")
        described.replace(output.with_name(f"{output.name}.json"))
        return placed

    done = in_folder(output, make)
    finish(console, "compile", watch.seconds, said.compile(done), to_json(done))


def _options(words: tuple[str, ...], **given: Any) -> BuildOptions:
    """Build options from ``--option`` words, and from the options that have names of their own."""
    from pydantic import ValidationError

    from trtbuild.spec import BuildSpec
    from trtbuild.spec.yamlfile import as_spec_error

    values = keyword_arguments(words, "--option")
    places: dict[tuple[int | str, ...], str] = {(key,): f"--option {key}" for key in values}
    values |= {key: value for key, value in given.items() if value is not None and key not in values}
    try:
        return BuildSpec.model_validate(values).options(Path.cwd())
    except ValidationError as error:
        raise as_spec_error(error, BuildSpec, values, "--option", places) from error


def _profile_from_shapes(
    model: Path, low: str | None, opt: str | None, high: str | None
) -> tuple[OptimizationProfile, ...]:
    """One profile from trtexec's three options, brought to the model's axis names."""
    from trtbuild import onnxfile
    from trtbuild.artifacts import AxisRange, OptimizationProfile
    from trtbuild.errors import UsageError
    from trtbuild.registry import nearest_hint
    from trtbuild.spec.shapes import parse_shapes

    given = [s for s in (low, opt, high) if s]
    if not given:
        return ()
    if len(given) != 3:
        raise UsageError(
            "a profile needs all three", place="--min-shapes", hint="--min-shapes, --opt-shapes, --max-shapes"
        )
    shapes = [parse_shapes(s) for s in given]
    inputs = {t.name: t for t in onnxfile.inputs(onnxfile.load(model, weights=False))}
    axes: dict[str, tuple[int, ...]] = {}
    for name in shapes[0]:
        if name not in inputs:
            raise UsageError(f"the model has no input {name!r}", place="--min-shapes", hint=nearest_hint(name, inputs))
        dims = inputs[name].shape
        for kind in shapes:
            if len(kind.get(name, ())) != len(dims):
                raise UsageError(
                    f"input {name!r} has {len(dims)} axes {list(dims)}, the shape {list(kind.get(name, ()))}",
                    place="--min-shapes",
                    hint="give every input in all three, with all its axes",
                )
        for index, axis in enumerate(dims):
            sizes = tuple(kind[name][index] for kind in shapes)
            if isinstance(axis, str):
                axes[axis] = sizes
            elif set(sizes) != {axis}:
                raise UsageError(
                    f"axis {index} of {name!r} is fixed at {axis}", place="--min-shapes", hint=f"write {axis}"
                )
    for axis, sizes in axes.items():
        if not sizes[0] <= sizes[1] <= sizes[2]:
            raise UsageError(
                f"min <= opt <= max does not hold for {axis}: {sizes}",
                place="--min-shapes",
                hint="order the three sizes",
            )
    return (OptimizationProfile({a: AxisRange(*s) for a, s in axes.items()}),)
