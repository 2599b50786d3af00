"""``trtbuild report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("report", short_help="Print the report of a finished build, or of two side by side.")
@click.argument("folder", type=click.Path(path_type=Path), default="build")
@click.argument("other", type=click.Path(path_type=Path), required=False)
@click.option(
    "--format", "form", type=click.Choice(["md", "html", "json"]), default="md", show_default=True,
    help="Markdown for a terminal or a comment, one self-contained HTML file, or JSON.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
@common
def command(folder: Path, other: Path | None, form: str, output: Path | None, console: Console) -> None:
    """Print the report of a finished build, or of two builds side by side.

    FOLDER holds report.json; OTHER is a second build to set beside it. The manifest beside each is held against the
    files it names first.
    """
    from trtbuild.reporting import as_text, compare, render_comparison, render_html, render_report

    document = _finished(folder)
    if other is not None:
        second = _finished(other)
        _hold_comparable(document, folder)
        _hold_comparable(second, other)
        plans = _plan_differences((folder, document), (other, second))
        document = compare(document, second, names=(str(folder), str(other)), plans=plans)
    render = {"md": render_report if other is None else render_comparison, "html": render_html, "json": as_text}[form]
    text = render(document)
    if output is None:
        console.result(document, text)
        return
    _write(output, text)
    console.result({"written": str(output)})


def _hold_comparable(document: dict[str, Any], folder: Path) -> None:
    from trtbuild.errors import UsageError

    if "verdict" not in document:
        raise UsageError(
            "its report is from an older trtbuild", place=str(folder), hint="run `trtbuild build` again; it is kept"
        )


def _finished(folder: Path) -> dict[str, Any]:
    """The report of a build whose files are what its manifest says."""
    from trtbuild.content import file_digest
    from trtbuild.errors import IntegrityError, UsageError

    try:
        document: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
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
    return document


def _plan_differences(a: tuple[Path, dict[str, Any]], b: tuple[Path, dict[str, Any]]) -> list[dict[str, Any]]:
    """What changed in the plans for each target that both builds have and packaged."""
    from trtbuild.cli.diff import compared
    from trtbuild.differences import in_words

    sides = [_packaged(folder, document) for folder, document in (a, b)]
    shared = [target for target in sides[0] if target in sides[1]]
    return [{"target": t, "lines": in_words(compared(sides[0][t], sides[1][t]))} for t in shared]


def _packaged(folder: Path, document: dict[str, Any]) -> dict[str, Path]:
    """Target to its plan file in the published folder."""
    pinned = document["pinned"]["outputs"]
    files = {known["sha256"]: folder / name for name, known in pinned.items() if name.endswith(".plan")}
    return {p["target"]: files[p["sha256"]] for p in document["plans"] if p["sha256"] in files}


def _write(file: Path, text: str) -> None:
    from trtbuild.errors import as_output_error

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise as_output_error(error, str(file)) from error
