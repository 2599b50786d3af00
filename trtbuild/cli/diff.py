"""``trtbuild diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("diff", short_help="Say what changed between two plans or two ONNX files.")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="End with 7 where the files differ, with 0 where they are the same.")
@common
def command(before: Path, after: Path, exit_code: bool, console: Console) -> None:
    """Say what changed between two plans or two ONNX files, the most important first.

    Of plans it reads the descriptions that compile and build write beside them, or the first bytes alone; nothing is
    loaded or run. -v tells every change, --json too. It ends with 0 whatever differs, unless --exit-code is given.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.differences import diff, headline, in_words
    from trtbuild.errors import IntegrityError

    found = diff(before, after)
    document = {
        **to_json(found),
        "same": found.same,
        "equivalent": found.equivalent,
        "headline": headline(found),
    }
    lines = in_words(found, shown=None) if console.verbosity > 0 else in_words(found)
    if exit_code and not found.same:
        error = IntegrityError(
            headline(found), place=str(after), hint="`trtbuild diff` without --exit-code ends with 0"
        )
        error.result = document
        if not console.as_json:
            console.result(document, "\n".join(lines))
        raise error
    console.result(document, "\n".join(lines))
