"""``trtbuild calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("calibrate", short_help="Measure activation ranges and write a calibration table.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--reader", required=True, help="file.py:function or package.module:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=512, show_default=True, help="Rows to run at most.")
@click.option("--method", default="entropy", show_default=True, help="`trtbuild methods` lists them.")
@axes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default="table.json", show_default=True)
@common
def command(
    model: Path,
    reader: str,
    args: tuple[str, ...],
    samples: int,
    method: str,
    axes: tuple[str, ...],
    output: Path,
    console: Console,
) -> None:
    """Measure activation ranges and write a calibration table.

    MODEL is the ONNX file that will be quantised: the table belongs to this very graph.
    """
    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json
    from trtbuild.calibration import calibrate
    from trtbuild.console import Stopwatch
    from trtbuild.feeds import Samples
    from trtbuild.reporting import as_text, said
    from trtbuild.store import publish

    watch = Stopwatch()
    console.started("calibrate")
    inputs = onnxfile.inputs(onnxfile.load(model, weights=False))
    source = Samples(reader, inputs, Path.cwd(), samples, keyword_arguments(args), profiles_from(axes))
    table = calibrate(
        model,
        source,
        method=method,
        on_sample=lambda n: console.progress("calibrate", min(1, n / samples), f"{n} rows"),
    )
    publish({Path(output.name): as_text(to_json(table))}, output.parent, last=Path(output.name))
    if table.synthetic:
        console.note("calibrated on random data: the INT8 ranges mean nothing for real inputs")
    finish(console, "calibrate", watch.seconds, said.calibrate(table), to_json(table))
