"""``trtbuild equalize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, in_folder, keyword_arguments, move_model, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("equalize", short_help="Balance channels for INT8 where rows kept apart say that it helps.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--reader", required=True, help="file.py:function or package.module:function yielding feeds.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=512, show_default=True, help="Rows to run at most.")
@click.option("--transform", "transforms", multiple=True, help="Try this one only; again for more. Default: all.")
@axes_option
@common
def command(
    model: Path,
    output: Path,
    reader: str,
    args: tuple[str, ...],
    samples: int,
    transforms: tuple[str, ...],
    axes: tuple[str, ...],
    console: Console,
) -> None:
    """Balance channels for INT8 where rows kept apart say that it helps.

    MODEL is a rewritten FP32 ONNX file; OUTPUT computes the same, to the last bit as a rule. Calibrate OUTPUT next.
    """
    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json
    from trtbuild.calibration import equalize
    from trtbuild.calibration.equalization import DEFAULT
    from trtbuild.console import Stopwatch
    from trtbuild.feeds import Samples
    from trtbuild.reporting import said

    watch = Stopwatch()
    console.started("equalize")
    inputs = onnxfile.inputs(onnxfile.load(model, weights=False))
    source = Samples(reader, inputs, Path.cwd(), samples, keyword_arguments(args), profiles_from(axes))

    def make(folder: Path) -> object:
        done = equalize(
            model,
            source,
            folder,
            transforms=transforms or DEFAULT,
            on_transform=lambda name: console.progress("equalize", None, f"trying {name}"),
        )
        return move_model(done, output)

    done = in_folder(output, make)
    finish(console, "equalize", watch.seconds, said.equalize(done), to_json(done))
