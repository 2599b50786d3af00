"""``trtbuild demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("demo", short_help="Train a small CNN on real digits and take it the whole way.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="demo-build", show_default=True)
@common
def command(output: Path, console: Console) -> None:
    """Train a small CNN on real digits and take it the whole way.

    It writes model, weights and spec into the folder, builds INT8 plans for two RTX targets, and compares top-1 with
    FP32 on the half of the digits that neither training nor calibration has seen.
    """
    from trtbuild.cli.build import show
    from trtbuild.console import Stopwatch
    from trtbuild.demo import prepare
    from trtbuild.pipeline import build
    from trtbuild.spec import load_spec

    watch = Stopwatch()
    console.started("train")
    spec, trained = prepare(output)
    console.finished("train", hit=not trained, seconds=watch.seconds, said=[f"{output / 'digits.pt'}, spec {spec}"])
    result = build(load_spec(spec), observer=console, output=output)
    task = result.build.verifications[0].task
    if task is not None:
        console.say(
            f"\ntop-1 on {task.samples} held-out digits: FP32 {task.reference:.2%}, INT8 {task.subject:.2%} "
            f"({(task.subject - task.reference) * 100:+.2f} points)"
        )
    show(result, console)
