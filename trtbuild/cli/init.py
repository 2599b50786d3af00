"""``trtbuild init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("init", short_help="Write a commented starter spec for a model.")
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="trtbuild.yaml", show_default=True)
@click.option("--force", is_flag=True, help="Overwrite a spec that is there.")
@common
def command(model: str, output: Path, force: bool, console: Console) -> None:
    """Write a commented starter spec for a model.

    MODEL is an .onnx file (its inputs are read), a Hugging Face folder, or file.py:callable.
    """
    from trtbuild.errors import UsageError
    from trtbuild.spec.starter import starter
    from trtbuild.store import publish

    if output.exists() and not force:
        raise UsageError("there is a spec already", place=str(output), hint="--force overwrites it, -o names another")
    publish({Path(output.name): starter(model, output.parent)}, output.parent, last=Path(output.name))
    console.result({"spec": str(output)}, f"wrote {output}; edit it, then run: trtbuild build {output}")
