"""``trtbuild advise``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import OptimizationProfile
    from trtbuild.console import Console
    from trtbuild.spec import Spec


@click.command("advise", short_help="Profile a model, and say what is worth doing about its speed.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", "target_name", help="Target, by name, for the estimates. [default: the spec's first]")
@click.option("--latency-ms", type=click.FloatRange(min=0, min_open=True), help="Stop where a run takes no longer.")
@click.option("--data", default="random", show_default=True, help="file.py:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True, help="Runs to profile.")
@click.option(
    "--launch-us", type=click.FloatRange(min=0), default=4.0, show_default=True,
    help="What starting one kernel is taken for, us: a plan's enqueue, as bench measures it, by its kernels.",
)  # fmt: skip
@axes_option
@common
def command(
    model: Path,
    target_name: str | None,
    latency_ms: float | None,
    data: str,
    args: tuple[str, ...],
    runs: int,
    launch_us: float,
    axes: tuple[str, ...],
    console: Console,
) -> None:
    """Profile MODEL, an FP32 ONNX file or a spec, and say what is worth doing about its speed.

    Where the time goes is measured here, in ONNX Runtime; what a step brings on the target is estimated from its
    datasheet. Sizes are the opt ones of --axis or of the spec's first profile. With --latency-ms it goes from the
    cheapest step to the dearest and stops where a run of those sizes is estimated to take no longer.
    """
    from trtbuild.advising import advise
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import said
    from trtbuild.spec import load_spec
    from trtbuild.spec.targets import find_target

    watch = Stopwatch()
    spec = load_spec(model) if model.suffix in (".yaml", ".yml") else None
    profiles = profiles_from(axes) or (spec.optimization_profiles()[:1] if spec else ())
    file = _exported(spec, console) if spec else model
    console.started("advise")
    fields = find_target(target_name) if target_name else spec.targets[0] if spec else None
    found = advise(
        file, _feed(file, profiles, spec, data, keyword_arguments(args)),
        rates=fields.rates() if fields else None, target=fields.target() if fields else None,
        precision=_precision(spec), latency_s=None if latency_ms is None else latency_ms / 1e3,
        most={axis: r.max for p in profiles for axis, r in p.axes.items()}, launch_s=launch_us / 1e6, runs=runs,
    )  # fmt: skip
    if console.verbosity == 0:
        console.verbosity = 1  # what was found is what was asked for
    finish(console, "advise", watch.seconds, said.advise(found), to_json(found))


def _exported(spec: Spec, console: Console) -> Path:
    """The spec's model as ONNX, from the store where a build has left it there."""
    from trtbuild import recipes
    from trtbuild.steps import Steps
    from trtbuild.store import Store

    return recipes.export(Steps(Store(), console), spec, spec.optimization_profiles()).model.path


def _precision(spec: Spec | None) -> str:
    """What the model is in today: the spec's precision; what a search finds is taken for INT8."""
    if spec is None:
        return "fp32"
    return "int8" if spec.precision == "best" else spec.precision


def _feed(
    file: Path, profiles: tuple[OptimizationProfile, ...], spec: Spec | None, data: str, args: dict[str, Any]
) -> dict[str, Any]:
    import numpy as np

    from trtbuild import onnxfile
    from trtbuild.errors import FeedError
    from trtbuild.feeds import Samples, random_feed

    inputs = onnxfile.inputs(onnxfile.load(file, weights=False))
    ranges = spec.ranges() if spec else {}
    if data == "random":
        sizes = {axis: r.opt for p in profiles for axis, r in p.axes.items()}
        return random_feed(inputs, sizes, ranges, np.random.default_rng(0))
    rows = max((r.opt for p in profiles for r in p.axes.values()), default=1)
    for sample in Samples(data, inputs, Path.cwd(), rows, args, profiles, ranges):
        return dict(sample.feed)
    raise FeedError("there is no sample to run", place="--data", hint="give a reader that yields one")
