"""``trtbuild sensitivity``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("sensitivity", short_help="Say what quantising each node does to the outputs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--table", "table_file", type=click.Path(path_type=Path), required=True, help="Its calibration table.")
@click.option("--reader", required=True, help="file.py:function or package.module:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Rows to run at most.")
@click.option(
    "--format", "formats", multiple=True, default=["int8"], show_default=True, help="int8, fp8, ...; again for more."
)
@click.option("--exact", is_flag=True, help="Run the model once a node, instead of estimating all nodes from one run.")
@click.option("--time-budget", metavar="TIME", help="Measure no longer than this: 90s, 10m, 2h. Goes with --exact.")
@axes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default="sensitivity.json", show_default=True)
@common
def command(
    model: Path,
    table_file: Path,
    reader: str,
    args: tuple[str, ...],
    samples: int,
    formats: tuple[str, ...],
    exact: bool,
    time_budget: str | None,
    axes: tuple[str, ...],
    output: Path,
    console: Console,
) -> None:
    """Say what quantising each node does to the outputs, the most harmful first.

    MODEL is the ONNX file that the table was calibrated on. An exact run that is stopped goes on where it was when it
    is called again: what it has measured lies in OUTPUT.journal until it is done.
    """
    from trtbuild import onnxfile
    from trtbuild.artifacts import CalibrationTable, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch, table
    from trtbuild.errors import UsageError
    from trtbuild.feeds import Samples
    from trtbuild.precision.searching.sensitivity import hold_formats, measure, table_rows
    from trtbuild.reporting import as_text
    from trtbuild.spec.duration import parse_seconds
    from trtbuild.store import publish

    watch = Stopwatch()
    budget = parse_seconds(time_budget, "--time-budget") if time_budget is not None else None
    if budget is not None and not exact:
        raise UsageError("only exact measuring takes a time budget", place="--time-budget", hint="add --exact")
    console.started("sensitivity")
    calibrated = read_artifact(CalibrationTable, table_file, "a calibration table")
    proto = onnxfile.load(model, weights=False)
    profiles = profiles_from(axes)
    journal = output.with_name(f"{output.name}.journal")
    found = measure(
        model,
        calibrated,
        Samples(reader, onnxfile.inputs(proto), Path.cwd(), samples, keyword_arguments(args), profiles),
        how="exact" if exact else "fast",
        formats=hold_formats(formats),
        sizes={axis: r.opt for axis, r in profiles[0].axes.items()} if profiles else None,
        journal=journal if exact else None,
        time_budget_s=budget,
        on_progress=lambda done, whole, node: console.progress("sensitivity", done / whole, node),
    )
    publish({Path(output.name): as_text(to_json(found))}, output.parent, last=Path(output.name))
    if not found.left_out:
        journal.unlink(missing_ok=True)
    for note in found.notes:
        console.note(note)
    worst = max(found.nodes, key=lambda n: n.noise, default=None)
    said = [f"{len(found.nodes)} measured" + (f", most harmful {worst.node}: {worst.sqnr_db:.1f} dB" if worst else "")]
    finish(console, "sensitivity", watch.seconds, said, to_json(found), table(table_rows(found)))
