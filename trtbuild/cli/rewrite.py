"""``trtbuild rewrite``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, in_folder, move_model, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("rewrite", short_help="Apply the rewrite rules to an ONNX file.")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="RULE", help="Apply only this rule; may be given several times.")
@click.option("--skip", multiple=True, metavar="RULE", help="Leave this rule out; may be given several times.")
@axes_option
@click.option(
    "--rules", multiple=True, metavar="FILE", type=click.Path(path_type=Path), help="Apply the rules of this file too."
)
@click.option("--check/--no-check", default=True, help="Run the result against the original and undo what differs.")
@click.option("--prove", is_flag=True, help="Compare what every edit makes, at more sizes, and undo what differs.")
@click.option("--backend", metavar="BACKEND", help="Also apply the rules that are for this backend only.")
@click.option("--explain", metavar="NODE", help="Say what each rule did at this node, or why it did nothing.")
@common
def command(
    model: Path,
    output: Path,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    axes: tuple[str, ...],
    rules: tuple[Path, ...],
    check: bool,
    prove: bool,
    backend: str | None,
    explain: str | None,
    console: Console,
) -> None:
    """Apply the rewrite rules to an ONNX file.

    With -v it says what was applied where, and what was declined and why.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import said
    from trtbuild.rewriter import explain as explained
    from trtbuild.rewriter import rewrite

    watch = Stopwatch()
    console.started("rewrite")
    told: list[str] = []

    def make(folder: Path) -> object:
        done = rewrite(
            model,
            folder,
            only=only,
            skip=skip,
            rules=rules,
            backend=backend,
            profiles=profiles_from(axes),
            check=check,
            prove=prove,
        )
        if explain is not None:
            told.extend(explained(done, model, explain, rules=rules))
        return move_model(done, output)

    done = in_folder(output, make)
    finish(console, "rewrite", watch.seconds, said.rewrite(done), to_json(done))
    if console.verbosity == 0:  # with -v they are among the lines above
        for each in (*(f"TensorRT will not build {u}" for u in done.unbuildable), *done.notes):
            console.note(each)
    if told:
        console.say("\n".join(told))
