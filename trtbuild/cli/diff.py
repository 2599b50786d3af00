"""``trtbuild diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.artifacts import Difference
    from trtbuild.console import Console
    from trtbuild.differences import PlanFile


@click.command("diff", short_help="Say what changed between two plans or two ONNX files.")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="End with 7 where the files differ, with 0 where they are the same.")
@common
def command(before: Path, after: Path, exit_code: bool, console: Console) -> None:
    """Say what changed between two plans or two ONNX files, the most important first.

    Of plans it reads what their builds wrote: <plan>.json beside them, or the report of the folder they lie in; the
    first bytes alone where that is gone. Nothing is loaded or run. -v tells every change, --json too. It ends with 0
    whatever differs, unless --exit-code is given.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.differences import headline, in_words
    from trtbuild.errors import IntegrityError

    found = compared(before, after)
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


def compared(before: Path, after: Path) -> Difference:
    """What changed from one file to another; nothing is loaded or run.

    Raises:
        UsageError: One is an ONNX file and the other is not.
    """
    from trtbuild.differences import diff_onnx, diff_plans
    from trtbuild.errors import UsageError

    graphs = [file.suffix == ".onnx" for file in (before, after)]
    if graphs[0] != graphs[1]:
        raise UsageError("one is an ONNX file and the other is not", place=str(after), hint="give two of a kind")
    return diff_onnx(before, after) if all(graphs) else diff_plans(_plan(before), _plan(after))


def _plan(file: Path) -> PlanFile:
    """What is known of a plan without loading it; nodes, digest and options only where compile's own description is."""
    import json

    from trtbuild.artifacts import EnginePlan, from_json
    from trtbuild.differences import PlanFile
    from trtbuild.engine.inspection import inspect_plan

    found = inspect_plan(file)
    beside = file.with_name(f"{file.name}.json")
    own = from_json(EnginePlan, json.loads(beside.read_text())) if beside in found.described_by else None
    return PlanFile(
        found.sha256,
        found.header.size,
        found.header.backend,
        found.header.version,
        found.header.compute_capabilities or ((found.compute_capability,) if found.compute_capability else ()),
        described=bool(found.described_by),
        precision=found.precision,
        inputs=found.inputs,
        outputs=found.outputs,
        profiles=found.profiles,
        layers=found.layers,
        work=found.work,
        nodes=own.work.nodes if own else None,
        onnx=own.onnx if own else "",
        options=own.options if own else None,
    )
