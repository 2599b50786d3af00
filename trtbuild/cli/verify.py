"""``trtbuild verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("verify", short_help="Compare an ONNX file with its FP32 reference.")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("subject", type=click.Path(path_type=Path))
@click.option("--data", default="random", show_default=True, help="file.py:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Rows to run at most.")
@click.option("--metric", default="cosine", show_default=True, help="cosine, sqnr, top1, or file.py:function.")
@click.option("--min", "minimum", type=float, help="Smallest value that passes. [default: 0.99 for cosine]")
@click.option("--max-drop", type=float, help="Largest drop of a task metric that passes.")
@click.option("--table", "table_file", type=click.Path(path_type=Path), help="Refuse samples this table was made from.")
@axes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the verification as JSON, for `package`.")
@common
def command(
    reference: Path,
    subject: Path,
    data: str,
    args: tuple[str, ...],
    samples: int,
    metric: str,
    minimum: float | None,
    max_drop: float | None,
    table_file: Path | None,
    axes: tuple[str, ...],
    output: Path | None,
    console: Console,
) -> None:
    """Compare an ONNX file with its FP32 reference.

    REFERENCE is the FP32 ONNX. SUBJECT is the ONNX that was compiled, or <plan>.json on a machine with the plan's GPU.
    """
    from trtbuild import onnxfile
    from trtbuild.artifacts import CalibrationTable, EnginePlan, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.errors import AccuracyError
    from trtbuild.feeds import Samples
    from trtbuild.reporting import as_text, said
    from trtbuild.store import publish
    from trtbuild.verification import Rule, verify

    if minimum is None and max_drop is None and metric == "cosine":
        minimum = 0.99
    watch = Stopwatch()
    console.started("verify")
    profiles = profiles_from(axes)
    inputs = onnxfile.inputs(onnxfile.load(reference, weights=False))
    source = Samples(data, inputs, Path.cwd(), samples, keyword_arguments(args), profiles)
    other = read_artifact(EnginePlan, subject, "a plan's description") if subject.suffix == ".json" else subject
    table = read_artifact(CalibrationTable, table_file, "a calibration table") if table_file else None
    proof = verify(
        reference, other, source, rule=Rule(metric, minimum, max_drop, "command line"), profiles=profiles,
        calibrated_on=table.row_digests if table else (),
        on_sample=lambda n: console.progress("verify", min(1, n / samples), f"{n} rows"),
    )  # fmt: skip
    if output is not None:
        publish({Path(output.name): as_text(to_json(proof))}, output.parent, last=Path(output.name))
    if console.verbosity == 0:
        console.verbosity = 1  # the numbers are what was asked for
    document = to_json(proof) | {"passed": proof.passed}
    if not proof.passed:
        console.finished("verify", hit=False, seconds=watch.seconds, said=said.verify(proof))
        failed = next(g for g in proof.gates if not g.passed)
        refused = AccuracyError(
            f"{failed.rule} does not hold: {failed.value:.6g}",
            place=str(subject),
            hint="a higher precision, another calibration, or a rule that fits the task: --metric, --min, --max-drop",
        )
        refused.result = document
        raise refused
    finish(console, "verify", watch.seconds, said.verify(proof), document)
