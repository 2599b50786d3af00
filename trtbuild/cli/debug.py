"""``trtbuild debug``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("debug", short_help="Find where two forms of one model part, why, and the smallest part that fails.")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("subject", type=click.Path(path_type=Path))
@click.option("--data", default="random", show_default=True, help="file.py:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, help="Rows of the first feed.")
@click.option("--bound", type=float, help="SQNR that each tensor is held to, dB. [default: by the subject's precision]")
@click.option("--budget-mb", type=float, default=512, show_default=True, help="What kept tensors may take, MB.")
@click.option("--reduce", "reduced", type=click.Path(path_type=Path), help="Write the smallest failing part here.")
@axes_option
@common
def command(
    reference: Path,
    subject: Path,
    data: str,
    args: tuple[str, ...],
    samples: int,
    bound: float | None,
    budget_mb: float,
    reduced: Path | None,
    axes: tuple[str, ...],
    console: Console,
) -> None:
    """Find where SUBJECT's numbers leave REFERENCE's, why, and what to do.

    Both are ONNX files: an export and its rewritten form, or an FP32 graph and a typed one.
    """
    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.debugging import debug
    from trtbuild.feeds import Samples
    from trtbuild.reporting import said

    watch = Stopwatch()
    console.started("debug")
    inputs = onnxfile.inputs(onnxfile.load(reference, weights=False))
    source = Samples(data, inputs, Path.cwd(), samples, keyword_arguments(args), profiles_from(axes))
    feed: dict[str, Any] = dict(next((sample.feed for sample in source), {}))
    found = debug(
        reference, subject, feed, bound_db=bound, budget_mb=budget_mb, reduced=reduced,
        on_progress=lambda share, doing: console.progress("debug", share, doing),
    )  # fmt: skip
    if console.verbosity == 0:
        console.verbosity = 1  # what was found is what was asked for
    finish(console, "debug", watch.seconds, said.debug(found), to_json(found))
