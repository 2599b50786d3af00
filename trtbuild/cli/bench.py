"""``trtbuild bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, profiles_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtbuild.artifacts import EnginePlan, TensorSpec
    from trtbuild.console import Console


@click.command("bench", short_help="Measure ONNX files and plans side by side.")
@click.argument("subjects", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--torch", "modules", multiple=True, metavar="SOURCE", help="A PyTorch module beside them, eager.")
@click.option("--torch-compile", "compiled", multiple=True, metavar="SOURCE", help="The same through torch.compile.")
@click.option("--shapes", help="As trtexec, Polygraphy or onnxslim write them: x:1x3x224x224; instead of profiles.")
@axes_option
@click.option(
    "--at", type=click.Choice(["opt", "ends", "axes"]), default="ends", show_default=True,
    help="Points of a profile: its opt, its min and max too, or each axis alone at its ends as well.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True, help="Calls that are counted.")
@click.option("--warm-up", type=click.IntRange(min=0), default=3, show_default=True, help="Calls before them.")
@click.option(
    "--turn", type=click.IntRange(min=1), default=4, show_default=True, help="Calls a subject has in a round."
)
@click.option("--baseline", metavar="SUBJECT", help="What ratios are against. [default: the first]")
@click.option("--cuda-graphs", is_flag=True, help="Launch plans through CUDA graphs.")
@common
def command(
    subjects: tuple[Path, ...],
    modules: tuple[str, ...],
    compiled: tuple[str, ...],
    shapes: str | None,
    axes: tuple[str, ...],
    console: Console,
    **options: Any,
) -> None:
    """Measure ONNX files, plans and PyTorch modules side by side, in rounds.

    SUBJECTS are .onnx files (ONNX Runtime) and <plan>.json files (the plan, where this machine has its GPU). A SOURCE
    is file.py:callable or package.module:callable returning an nn.Module, or a Hugging Face folder; it is fed the
    inputs of the first of the SUBJECTS.
    """
    from trtbuild.artifacts import EnginePlan, to_json
    from trtbuild.benchmark import bench
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import render_speed, said
    from trtbuild.spec.shapes import parse_shapes

    watch = Stopwatch()
    console.started("bench")
    plans = [read_artifact(EnginePlan, s, "a plan's description") for s in subjects if s.suffix == ".json"]
    models = {str(s): s for s in subjects if s.suffix != ".json"}
    inputs = _inputs(models, plans) if modules or compiled else ()
    variants = [_variant(s, inputs, compiled=False) for s in modules]
    variants += [_variant(s, inputs, compiled=True) for s in compiled]
    done = bench(
        models, plans, variants=variants, profiles=profiles_from(axes),
        shapes=parse_shapes(shapes) if shapes else None,
        on_progress=lambda share, what: console.progress("bench", share, what), **options,
    )  # fmt: skip
    document = to_json(done)
    head, lines = said.bench(done)[0], list(done.notes)
    finish(console, "bench", watch.seconds, [head, *lines], document, render_speed(document))


def _inputs(models: dict[str, Path], plans: Sequence[EnginePlan]) -> tuple[TensorSpec, ...]:
    from trtbuild import onnxfile

    first = next(iter(models.values()), None)
    return onnxfile.inputs(onnxfile.load(first, weights=False)) if first is not None else plans[0].inputs


def _variant(source: str, inputs: Sequence[TensorSpec], *, compiled: bool) -> Any:
    from trtbuild.benchmark import Variant
    from trtbuild.exporters.modules import load_module
    from trtbuild.exporters.timed import timed

    module = load_module(source, Path.cwd(), None)
    device, prepare = timed(module, [t.name for t in inputs], source, compiled=compiled)
    how = "torch.compile" if compiled else "torch eager"
    return Variant(f"{source} ({how}, {device})", tuple(inputs), prepare, device)
