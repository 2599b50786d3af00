"""``trtbuild bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("bench", short_help="Measure ONNX files and plans side by side.")
@click.argument("subjects", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--shapes", help="As trtexec, Polygraphy or onnxslim write them: x:1x3x224x224.")
@axes_option
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--warm-up", type=click.IntRange(min=0), default=3, show_default=True)
@common
def command(
    subjects: tuple[Path, ...],
    shapes: str | None,
    axes: tuple[str, ...],
    runs: int,
    warm_up: int,
    console: Console,
) -> None:
    """Measure ONNX files and plans side by side.

    SUBJECTS are .onnx files (ONNX Runtime on the CPU) and <plan>.json files (the plan, where this machine has its GPU).
    """
    from trtbuild.artifacts import EnginePlan, to_json
    from trtbuild.benchmark import bench
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import said
    from trtbuild.spec.shapes import parse_shapes

    watch = Stopwatch()
    console.started("bench")
    plans = [read_artifact(EnginePlan, s, "a plan's description") for s in subjects if s.suffix == ".json"]
    models = {str(s): s for s in subjects if s.suffix != ".json"}
    done = bench(
        models, plans, profiles=profiles_from(axes), shapes=parse_shapes(shapes) if shapes else None, runs=runs,
        warm_up=warm_up,
    )  # fmt: skip
    if console.verbosity == 0:
        console.verbosity = 1  # the numbers are what was asked for
    finish(console, "bench", watch.seconds, said.bench(done), to_json(done))
