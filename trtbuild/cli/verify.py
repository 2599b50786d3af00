"""``trtbuild verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import EnginePlan, TensorSpec, Verification
    from trtbuild.console import Console
    from trtbuild.verification import Comparable, Rule


@click.command("verify", short_help="Compare two forms of one model: ONNX, plan, PyTorch.")
@click.argument("reference")
@click.argument("subject", required=False)
@click.option("--data", default="random", show_default=True, help="file.py:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Rows to run at most.")
@click.option(
    "--metric", help="cosine, sqnr, psnr, top1_agreement, max_abs, ..., top1, or file.py:function. [default: cosine]"
)
@click.option("--min", "minimum", type=float, help="Smallest value that passes. [default: by the subject's precision]")
@click.option("--max", "maximum", type=float, help="Largest value that passes, for errors such as max_abs.")
@click.option("--max-drop", type=float, help="Largest drop of a task metric that passes, with 95 % confidence.")
@click.option("--table", "table_file", type=click.Path(path_type=Path), help="Refuse samples this table was made from.")
@click.option("--golden", type=click.Path(path_type=Path), help="Keep the first samples and answers in this folder.")
@click.option("--against", type=click.Path(path_type=Path), help="Compare with golden requests instead of REFERENCE.")
@axes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the verification as JSON, for `package`.")
@common
def command(
    reference: str,
    subject: str | None,
    data: str,
    args: tuple[str, ...],
    samples: int,
    metric: str | None,
    minimum: float | None,
    maximum: float | None,
    max_drop: float | None,
    table_file: Path | None,
    golden: Path | None,
    against: Path | None,
    axes: tuple[str, ...],
    output: Path | None,
    console: Console,
) -> None:
    """Compare two forms of one model: SUBJECT with REFERENCE, which is right.

    Each is an ONNX file, <plan>.json on a machine with the plan's GPU, or file.py:function returning a PyTorch module.
    At least one of them must be an ONNX file or a plan. With --against FOLDER give the subject alone.
    """
    from trtbuild.artifacts import CalibrationTable, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.errors import UsageError
    from trtbuild.feeds import Samples
    from trtbuild.golden import read
    from trtbuild.reporting import as_text
    from trtbuild.store import publish
    from trtbuild.verification import verify, verify_against

    if (against is None) == (subject is None):
        raise UsageError(
            "give REFERENCE and SUBJECT, or --against FOLDER and the subject alone",
            place="trtbuild verify",
            hint="trtbuild verify fp32.onnx int8.onnx",
        )
    rule = _rule(metric, minimum, maximum, max_drop)
    watch = Stopwatch()
    console.started("verify")
    if against is not None:
        recorded = read(against)
        tried = _side(reference, recorded.inputs, recorded.outputs)
        proof, name = verify_against(recorded, tried, rule=rule), reference
    else:
        inputs, outputs = _interface(reference, str(subject))
        profiles = profiles_from(axes)
        table = read_artifact(CalibrationTable, table_file, "a calibration table") if table_file else None
        proof = verify(
            _side(reference, inputs, outputs), _side(str(subject), inputs, outputs),
            Samples(data, inputs, Path.cwd(), samples, keyword_arguments(args), profiles),
            rule=rule, profiles=profiles, calibrated_on=table.row_digests if table else (), inputs=inputs,
            golden_folder=golden,
            on_sample=lambda n: console.progress("verify", min(1, n / samples), f"{n} rows"),
        )  # fmt: skip
        name = str(subject)
    if output is not None:
        publish({Path(output.name): as_text(to_json(proof))}, output.parent, last=Path(output.name))
    _end(console, proof, name, watch.seconds)


def _end(console: Console, proof: Verification, subject: str, seconds: float) -> None:
    from trtbuild.artifacts import to_json
    from trtbuild.errors import AccuracyError
    from trtbuild.reporting import said

    if console.verbosity == 0:
        console.verbosity = 1  # the numbers are what was asked for
    document = to_json(proof) | {"passed": proof.passed}
    if proof.passed:
        finish(console, "verify", seconds, said.verify(proof), document)
        return
    console.finished("verify", hit=False, seconds=seconds, said=said.verify(proof))
    failed = next(g for g in proof.gates if not g.passed)
    hint = "a higher precision, another calibration, or a rule that fits the task: --metric, --min, --max, --max-drop"
    if failed.undecided:
        message, hint = f"cannot tell whether {failed.rule}: {failed.undecided}", "give --samples more rows"
    else:
        message = f"{failed.rule} does not hold: {failed.value:.6g}"
    refused = AccuracyError(message, place=subject, hint=hint)
    refused.result = document
    raise refused


def _rule(metric: str | None, minimum: float | None, maximum: float | None, max_drop: float | None) -> Rule | None:
    """The rule the options say; None where they leave it to the subject's precision."""
    from trtbuild.verification import Rule

    if metric is None and minimum is None and maximum is None and max_drop is None:
        return None
    return Rule(metric or "cosine", minimum, max_drop, "command line", max=maximum)


def _interface(*sides: str) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """Inputs and names of outputs, from the first side that is a file."""
    from trtbuild import onnxfile
    from trtbuild.errors import UsageError

    for side in sides:
        if _is_module(side):
            continue
        if side.endswith(".json"):
            plan = _described(side)
            return plan.inputs, tuple(t.name for t in plan.outputs)
        model = onnxfile.load(Path(side), weights=False)
        return onnxfile.inputs(model), tuple(t.name for t in onnxfile.outputs(model))
    raise UsageError(
        "two PyTorch modules do not say what their inputs are",
        place="trtbuild verify",
        hint="let one of the two be an ONNX file or a plan",
    )


def _side(text: str, inputs: tuple[TensorSpec, ...], outputs: tuple[str, ...]) -> Comparable:
    if _is_module(text):
        from trtbuild.exporters import module_function
        from trtbuild.verification import CallableModel

        call, digest = module_function(text, Path.cwd(), inputs=inputs, outputs=outputs)
        return CallableModel(f"{text} in PyTorch", digest, call)
    return _described(text) if text.endswith(".json") else Path(text)


def _described(file: str) -> EnginePlan:
    from trtbuild.artifacts import EnginePlan
    from trtbuild.cli._artifacts import read_artifact

    return read_artifact(EnginePlan, Path(file), "a plan's description")


def _is_module(text: str) -> bool:
    return ":" in text and not Path(text).exists()
