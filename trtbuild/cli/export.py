"""``trtbuild export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, in_folder, move_model, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import TensorSpec
    from trtbuild.console import Console


@click.command("export", short_help="Export a PyTorch model to ONNX and compare the two.")
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME:DTYPE:DIMS",
    help="An input, for example ids:int64:batch,seq or x:float32:batch,3,224,224.",
)  # fmt: skip
@click.option("--output-name", "outputs", multiple=True, help="Names for the outputs, in order.")
@axes_option
@click.option("--exporter", type=click.Choice(["auto", "dynamo", "torchscript"]), default="auto", show_default=True)
@click.option("--opset", type=int, default=20, show_default=True)
@click.option("--weights", help="A state_dict file, loaded with weights_only=True.")
@common
def command(
    source: str,
    output: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    axes: tuple[str, ...],
    exporter: str,
    opset: int,
    weights: str | None,
    console: Console,
) -> None:
    """Export a PyTorch model to ONNX and compare the two.

    SOURCE is file.py:callable or package.module:callable returning an nn.Module, a Hugging Face folder, or an ONNX
    file.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.exporters import export
    from trtbuild.reporting import said

    watch = Stopwatch()
    console.started("export")

    def make(folder: Path) -> object:
        done = export(
            source, folder, inputs=[_tensor(i) for i in inputs], outputs=outputs or None, exporter=exporter,  # type: ignore[arg-type]
            opset=opset, profiles=profiles_from(axes), weights=weights, on_note=console.note,
        )  # fmt: skip
        return move_model(done, output)

    done = in_folder(output, make)
    finish(console, "export", watch.seconds, said.export(done), to_json(done))


def _tensor(word: str) -> TensorSpec:
    from trtbuild.artifacts import TensorSpec
    from trtbuild.errors import UsageError

    parts = word.rsplit(":", 2)
    if len(parts) != 3:
        raise UsageError(f"{word!r} is not an input", place="--input", hint="write ids:int64:batch,seq")
    name, dtype, dims = parts
    known = ("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool")
    if dtype not in known:
        from trtbuild.registry import nearest_hint

        raise UsageError(f"{dtype!r} is no element type", place=f"--input {word}", hint=nearest_hint(dtype, known))
    shape = tuple(int(d) if d.isdigit() else d for d in dims.strip("[]").split(",") if d)
    return TensorSpec(name, dtype, shape)
