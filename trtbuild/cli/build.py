"""``trtbuild build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("build", short_help="Take a spec the whole way: proved plans in a Triton folder.")
@click.argument("spec_file", metavar="[SPEC]", default="trtbuild.yaml")
@click.option("--precision", help="Overrides the spec's precision.")
@click.option("--target", "targets", multiple=True, help="Overrides the spec's targets; may be given several times.")
@click.option("--exporter", help="Overrides model.exporter: auto, dynamo or torchscript.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Overrides any key: calibration.method=mse."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the results.")
@common
def command(
    spec_file: str,
    precision: str | None,
    targets: tuple[str, ...],
    exporter: str | None,
    overrides: tuple[str, ...],
    output: Path | None,
    console: Console,
) -> None:
    """Take a spec the whole way: proved plans in a Triton folder.

    SPEC is trtbuild.yaml when left out. The command line wins over TRTBUILD_<KEY> environment variables, those over
    the file. Finished stages are kept: run again after a failure or a change, and only what is needed is done.
    """
    from trtbuild.pipeline import build
    from trtbuild.spec import load_spec

    words = [*overrides]
    words += [f"precision={precision}"] if precision else []
    words += [f"model.exporter={exporter}"] if exporter else []
    words += [f"targets=[{', '.join(targets)}]"] if targets else []
    result = build(load_spec(spec_file, overrides=words), observer=console, output=output)
    show(result, console)


def show(result: object, console: Console) -> None:
    """The end of a build: warnings, and where things lie."""
    import json

    from trtbuild.pipeline import BuildResult

    if not isinstance(result, BuildResult):
        raise TypeError("not a build result")
    for warning in result.build.warnings:
        console.note(warning)
    document = json.loads((result.folder / "report.json").read_text(encoding="utf-8"))
    places = {
        "report": result.report,
        "page": result.report.with_suffix(".html"),
        "manifest": result.manifest,
        "triton": result.folder / "model_repository",
    }
    console.result(
        document | {"folder": str(result.folder), "manifest": str(result.manifest)},
        "\n".join(f"{name:<10}{place}" for name, place in places.items()),
    )
