"""``trtbuild debug``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import WrongEdit
    from trtbuild.console import Console


@click.command("debug", short_help="Find where two forms of one model part, why, and the smallest part that fails.")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("subject", required=False, type=click.Path(path_type=Path))
@click.option("--data", default="random", show_default=True, help="file.py:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, help="Rows of the first feed.")
@click.option("--bound", type=float, help="SQNR that each tensor is held to, dB. [default: by the subject's precision]")
@click.option("--budget-mb", type=float, default=512, show_default=True, help="What kept tensors may take, MB.")
@click.option("--reduce", "reduced", type=click.Path(path_type=Path), help="Write the smallest failing part here.")
@click.option(
    "--rules", multiple=True, metavar="FILE", type=click.Path(path_type=Path), help="Rules of your own to try."
)
@click.option("--only", multiple=True, metavar="RULE", help="Try only this rule; may be given several times.")
@click.option("--skip", multiple=True, metavar="RULE", help="Leave this rule out; may be given several times.")
@click.option("--target", "target_name", help="Say what the advice is estimated to cost in time on this target.")
@axes_option
@common
def command(
    reference: Path,
    subject: Path | None,
    data: str,
    args: tuple[str, ...],
    samples: int,
    bound: float | None,
    budget_mb: float,
    reduced: Path | None,
    rules: tuple[Path, ...],
    only: tuple[str, ...],
    skip: tuple[str, ...],
    target_name: str | None,
    axes: tuple[str, ...],
    console: Console,
) -> None:
    """Find where SUBJECT's numbers leave REFERENCE's, why, and what to do.

    Both are ONNX files: an export and its rewritten form, or an FP32 graph and a typed one. Without SUBJECT the rewrite
    rules are applied to REFERENCE, and it says which rule, at which node, makes the outputs differ.
    """
    import contextlib
    import tempfile
    from dataclasses import replace

    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.debugging import debug
    from trtbuild.errors import UsageError
    from trtbuild.feeds import Samples
    from trtbuild.reporting import said
    from trtbuild.rewriter import wrong_edits
    from trtbuild.spec.targets import find_target

    if subject is not None and (rules or only or skip):
        raise UsageError("rules are tried on the reference alone", place="trtbuild debug", hint="leave SUBJECT out")
    watch = Stopwatch()
    console.started("debug")
    inputs = onnxfile.inputs(onnxfile.load(reference, weights=False))
    source = Samples(data, inputs, Path.cwd(), samples, keyword_arguments(args), profiles_from(axes))
    feed: dict[str, Any] = dict(next((sample.feed for sample in source), {}))
    with contextlib.ExitStack() as stack:
        edits: tuple[WrongEdit, ...] = ()
        right, tried = reference, subject
        if tried is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trtbuild-")))
            before, after, edits = wrong_edits(reference, folder, feed, only=only, skip=skip, rules=rules)
            right, tried = before.path, after.path
        found = debug(
            right, tried, feed, bound_db=bound, budget_mb=budget_mb, reduced=reduced, edits=edits,
            rates=find_target(target_name).rates() if target_name else None,
            on_progress=lambda share, doing: console.progress("debug", share, doing),
        )  # fmt: skip
    if subject is None and not edits:
        found = replace(found, notes=(*found.notes, "no edit of the rules makes the outputs differ"))
    if console.verbosity == 0:
        console.verbosity = 1  # what was found is what was asked for
    finish(console, "debug", watch.seconds, said.debug(found), to_json(found))
