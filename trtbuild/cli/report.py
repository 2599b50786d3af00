"""``trtbuild report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("report", short_help="Print the report of a finished build.")
@click.argument("folder", type=click.Path(path_type=Path), default="build")
@common
def command(folder: Path, console: Console) -> None:
    """Print the report of a finished build.

    FOLDER holds report.json. The manifest beside it is held against the files it names first.
    """
    from trtbuild.content import file_digest
    from trtbuild.errors import IntegrityError, UsageError
    from trtbuild.reporting import render_report

    try:
        document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "there is no finished build here", place=str(folder), hint="`trtbuild build` writes report and manifest"
        ) from error
    try:
        digests = {name: known["sha256"] for name, known in manifest["outputs"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise IntegrityError(
            "manifest.json is not the manifest of a build", place=str(folder), hint="build it again"
        ) from error
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or file_digest(file) != digest:
            raise IntegrityError(
                f"{name} is not the file that the manifest names", place=str(folder), hint="build it again"
            )
    console.result(document, render_report(document))
