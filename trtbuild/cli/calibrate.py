"""``trtbuild calibrate``, and ``trtbuild calibrate merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import axes_option, common, finish, keyword_arguments, profiles_from

if TYPE_CHECKING:
    from trtbuild.artifacts import CalibrationTable
    from trtbuild.console import Console


class _ModelOrMerge(click.Group):
    """A group whose first word may be a model: ``calibrate model.onnx`` is ``calibrate run model.onnx``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


method_option = click.option("--method", default="auto", show_default=True, help="`trtbuild methods` lists them.")
cache_options = (
    click.option("--cache", type=click.Path(path_type=Path), help="Write TensorRT's calibration cache as well."),
    click.option("--cache-version", default="10.3.0", show_default=True, help="TensorRT that will read the cache."),
)


@click.group("calibrate", cls=_ModelOrMerge, short_help="Measure activation ranges and write a calibration table.")
def command() -> None:
    """Measure activation ranges and write a calibration table.

    `trtbuild calibrate MODEL` measures a model; `trtbuild calibrate run --help` has its options. A large set can be
    done in pieces, on as many machines as there are: each writes its shard, and `trtbuild calibrate merge` makes the
    table of them. The result is the same as that of one run.
    """


@command.command("run", short_help="Measure a model; the word run can be left out.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--reader", help="file.py:function or package.module:function yielding feeds, or random.")
@click.option("--arg", "args", multiple=True, metavar="KEY=VALUE", help="A keyword argument for the reader.")
@click.option("--samples", type=click.IntRange(min=1), default=512, show_default=True, help="Rows to run at most.")
@method_option
@click.option("--budget-mb", type=click.FloatRange(min=0, min_open=True), default=48, show_default=True,
              help="Memory for the tensors that are measured at a time.")  # fmt: skip
@click.option("--shard", metavar="I/N", help="Measure one of N shards, from 1 to N, and write its statistics.")
@click.option("--from-cache", type=click.Path(path_type=Path), help="Read TensorRT's cache instead of samples.")
@cache_options[0]
@cache_options[1]
@axes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: table.json; shard-I-of-N.npz.")
@common
def run(
    model: Path,
    reader: str | None,
    args: tuple[str, ...],
    samples: int,
    method: str,
    budget_mb: float,
    shard: str | None,
    from_cache: Path | None,
    cache: Path | None,
    cache_version: str,
    axes: tuple[str, ...],
    output: Path | None,
    console: Console,
) -> None:
    """Measure a model's activation ranges.

    MODEL is the ONNX file that will be quantised: the table belongs to this very graph. It is only read.
    """
    from trtbuild import onnxfile
    from trtbuild.calibration import calibrate, every_float_tensor
    from trtbuild.console import Stopwatch

    watch = Stopwatch()
    console.started("calibrate")
    _hold_one_source(reader, from_cache, shard, cache)
    if from_cache is not None:
        table = _of_cache(from_cache, model)
    else:
        source = _samples(reader or "", model, samples, args, axes)
        on_sample = lambda n: console.progress("calibrate", min(1, n / samples), f"{n} rows")  # noqa: E731
        if shard is not None:
            _shard(model, source, shard, budget_mb, on_sample, output, console, watch)
            return
        every = every_float_tensor(onnxfile.stored(model)) if cache else ()  # without a scale, TensorRT leaves INT8
        table = calibrate(model, source, method=method, extra=every, budget_mb=budget_mb, on_sample=on_sample)
    _finish(table, output or Path("table.json"), cache, cache_version, console, watch)


@command.command("merge", short_help="Make one table of several shards.")
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--method", default="mse", show_default=True,
              help="`trtbuild methods` lists them; auto needs the model, not statistics.")  # fmt: skip
@cache_options[0]
@cache_options[1]
@click.option("-o", "--output", type=click.Path(path_type=Path), default="table.json", show_default=True)
@common
def merge_shards(
    shards: tuple[Path, ...], method: str, cache: Path | None, cache_version: str, output: Path, console: Console
) -> None:
    """Make one table of several shards: the same as that of one run over all samples.

    SHARDS are the files that `trtbuild calibrate --shard` wrote.
    """
    from trtbuild.calibration import METHODS, ActivationStatistics, merge, table_from
    from trtbuild.console import Stopwatch
    from trtbuild.errors import UsageError

    watch = Stopwatch()
    console.started("calibrate")
    if hasattr(METHODS.load(method), "choose"):
        raise UsageError(
            f"{method} runs the model to choose, and statistics are no model",
            place="--method",
            hint="name a method, such as mse or entropy",
        )
    table = table_from(merge([ActivationStatistics.load(file) for file in shards]), method)
    _finish(table, output, cache, cache_version, console, watch)


def _hold_one_source(reader: str | None, from_cache: Path | None, shard: str | None, cache: Path | None) -> None:
    from trtbuild.errors import UsageError

    if (reader is None) == (from_cache is None):
        raise UsageError(
            "ranges come from samples or from a cache: name one of the two",
            place="calibrate",
            hint="give --reader file.py:function or --from-cache calibration.cache",
        )
    if shard is not None and (from_cache or cache):
        raise UsageError("a shard is no table yet", place="--shard", hint="`trtbuild calibrate merge` takes --cache")


def _samples(reader: str, model: Path, limit: int, args: tuple[str, ...], axes: tuple[str, ...]) -> Any:
    from trtbuild import onnxfile
    from trtbuild.feeds import Samples

    inputs = onnxfile.inputs(onnxfile.load(model, weights=False))
    return Samples(reader, inputs, Path.cwd(), limit, keyword_arguments(args), profiles_from(axes))


def _of_cache(file: Path, model: Path) -> CalibrationTable:
    from trtbuild import onnxfile
    from trtbuild.calibration.trt_cache import read_cache, table_from_cache

    return table_from_cache(read_cache(file), onnxfile.stored(model))


def _shard(
    model: Path,
    source: Any,
    shard: str,
    budget_mb: float,
    on_sample: Any,
    output: Path | None,
    console: Console,
    watch: Any,
) -> None:
    from dataclasses import replace

    from trtbuild import onnxfile
    from trtbuild.calibration import collect, wanted_of
    from trtbuild.cli._options import in_folder

    number, total = _fraction(shard)
    stored = onnxfile.stored(model)
    seen = collect(
        stored, replace(source, shard=(number, total)), wanted_of(stored), budget_mb=budget_mb, on_sample=on_sample
    )
    place = output or Path(f"shard-{number}-of-{total}.npz")

    def write(folder: Path) -> None:
        seen.save(folder / place.name)
        (folder / place.name).replace(place)

    in_folder(place, write)
    said = f"shard {number} of {total}, {len(seen.row_digests)} samples, {len(seen.tensors)} tensors: {place}"
    finish(console, "calibrate", watch.seconds, [said], {"shard": str(place), "samples": len(seen.row_digests)})


def _fraction(text: str) -> tuple[int, int]:
    from trtbuild.errors import UsageError

    number, slash, total = text.partition("/")
    if not slash or not number.isdecimal() or not total.isdecimal() or not 1 <= int(number) <= int(total):
        raise UsageError(f"{text!r} is no shard", place="--shard", hint="write 1/8 for the first of eight, up to 8/8")
    return int(number), int(total)


def _finish(
    table: CalibrationTable, output: Path, cache: Path | None, version: str, console: Console, watch: Any
) -> None:
    from trtbuild.artifacts import to_json
    from trtbuild.calibration.trt_cache import cache_from_table, cache_text
    from trtbuild.reporting import as_text, said
    from trtbuild.store import publish

    files = {Path(output.name): as_text(to_json(table))}
    publish(files, output.parent, last=Path(output.name))
    if cache is not None:
        text = cache_text(cache_from_table(table, version=version))
        publish({Path(cache.name): text}, cache.parent, last=Path(cache.name))
    if table.synthetic:
        console.note("calibrated on random data: the INT8 ranges mean nothing for real inputs")
    finish(console, "calibrate", watch.seconds, said.calibrate(table), to_json(table))
