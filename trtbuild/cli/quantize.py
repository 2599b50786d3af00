"""``trtbuild quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, in_folder, keyword_arguments, move_model, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("quantize", short_help="Write precision into an ONNX file: Q/DQ and Cast nodes.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int8_weights", "int4"]),
    default="int8",
    show_default=True,
    help="int8_weights and int4 store weights in it and compute in FP16.",
)
@click.option("--table", "table_file", type=click.Path(path_type=Path), help="Calibration table; int8 and fp8 need it.")
@click.option("--rest", type=click.Choice(["fp16", "bf16", "fp32"]), default="fp16", show_default=True,
              help="What a quantised precision leaves in float runs in.")  # fmt: skip
@click.option("--io", type=click.Choice(["keep", "low"]), default="keep", show_default=True,
              help="Whether float inputs and outputs keep their types or take the lower one.")  # fmt: skip
@click.option("--override", "overrides", multiple=True, metavar="PATTERN=PRECISION",
              help="What nodes of that name shall be in, such as '*/attention/*=fp16'; again for more.")  # fmt: skip
@axes_option
@common
def command(
    model: Path,
    output: Path,
    precision: str,
    table_file: Path | None,
    rest: str,
    io: str,
    overrides: tuple[str, ...],
    axes: tuple[str, ...],
    console: Console,
) -> None:
    """Write precision into an ONNX file: Q/DQ and Cast nodes.

    Precision lives in the graph: TensorRT 11 and TensorRT-RTX have no flags for it, and 10 takes it as well.
    """
    from trtbuild.artifacts import CalibrationTable, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.precision import assign_precision
    from trtbuild.reporting import said

    watch = Stopwatch()
    console.started("quantize")
    table = read_artifact(CalibrationTable, table_file, "a calibration table") if table_file else None

    def make(folder: Path) -> object:
        done = assign_precision(
            model,
            folder,
            precision=precision,  # type: ignore[arg-type]
            table=table,
            profiles=profiles_from(axes),
            rest=rest,  # type: ignore[arg-type]
            io=io,  # type: ignore[arg-type]
            overrides=keyword_arguments(overrides, "--override"),
        )
        return move_model(done, output)

    done = in_folder(output, make)
    finish(console, "quantize", watch.seconds, said.assign_precision(done), to_json(done))
