"""Options that commands share, and what they turn into."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from trtbuild.artifacts import EqualizedOnnx, ExportedOnnx, OptimizationProfile, RewrittenOnnx, TypedOnnx
    from trtbuild.console import Console

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound="ExportedOnnx | RewrittenOnnx | EqualizedOnnx | TypedOnnx")


def common(function: F) -> F:
    """Adds ``--json``, ``-v`` and ``-q``; the command gets a ``console``."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
    @click.option("-v", "--verbose", count=True, help="Say what each stage did; twice: show tracebacks too.")
    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
    @functools.wraps(function)
    def command(*args: Any, as_json: bool, verbose: int, quiet: bool, **kwargs: Any) -> Any:
        import contextlib
        import sys

        from trtbuild.console import Console

        console = Console(-1 if quiet else verbose, as_json=as_json)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output carries the result and nothing else
                return function(*args, console=console, **kwargs)
        finally:
            console.close()

    return command  # type: ignore[return-value]


def served_options(function: F) -> F:
    """Adds ``--server`` and ``--wait``, for commands that change what a repository serves."""
    function = click.option(
        "--wait", type=float, default=600, show_default=True, help="Seconds to wait for another shipper."
    )(function)
    return click.option(
        "--server", metavar="URL",
        help="A server in explicit mode that reads the repository: http://HOST:8000 or grpc://HOST:8001. What is "
        "served changes only if it gives the golden answers.",
    )(function)  # fmt: skip


def axes_option(function: F) -> F:
    """Adds ``--axis``, an optimisation profile by axis name."""
    return click.option(
        "--axis", "axes", multiple=True, metavar="NAME=MIN:OPT:MAX",
        help="Sizes of a dynamic axis, for example batch=1:8:32. Give one for each axis.",
    )(function)  # fmt: skip


def profiles_from(axes: tuple[str, ...]) -> tuple[OptimizationProfile, ...]:
    """One optimisation profile from ``--axis`` words; none without them."""
    from trtbuild.artifacts import AxisRange, OptimizationProfile
    from trtbuild.spec.shapes import parse_axes

    found = parse_axes(axes)
    return (OptimizationProfile({k: AxisRange(*v) for k, v in found.items()}),) if found else ()


def keyword_arguments(words: tuple[str, ...], option: str = "--arg") -> dict[str, Any]:
    """``key=value`` words as a mapping; values are YAML."""
    from trtbuild.errors import UsageError
    from trtbuild.spec.yamlfile import parse_yaml, plain

    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} sets nothing", place=option, hint="write key=value")
        found[key] = plain(parse_yaml(value, f"{option} {word}"))
    return found


def finish(console: Console, stage: str, seconds: float, said: list[str], value: Any, text: str | None = None) -> None:
    """Ends a single-stage command: its line for a person, its value for a machine, or its text on standard output."""
    console.finished(stage, hit=False, seconds=seconds, said=said)
    console.result(value, text)


def in_folder(place: Any, make: Callable[[Any], Any], *, makes_folder: bool = False) -> Any:
    """Runs a stage in a folder of its own beside ``place``; what ``make`` moves into place is there as a whole.

    Raises:
        OutputError: The folder of ``place`` cannot be written, or ``place`` is a folder where a file shall be.
    """
    import tempfile
    from pathlib import Path

    from trtbuild.errors import OutputError, as_output_error, refuses_to_write

    if not makes_folder and Path(place).is_dir():
        raise OutputError("there is a folder of that name", place=str(place), hint="name a file")
    try:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=Path(place).parent, prefix=".trtbuild-") as folder:
            return make(Path(folder))
    except OSError as error:
        if refuses_to_write(error):
            raise as_output_error(error, str(error.filename or place)) from error
        raise


def move_model(done: T, place: Path) -> T:
    """Renames a stage's model into its place; returns the artifact that names it there.

    External data takes the name ``<place>.data``, so that two models in one folder never share a data file.
    """
    from trtbuild import onnxfile

    stored = done.model
    if stored.companions:
        stored = onnxfile.save(onnxfile.load(stored.path), stored.path.parent / place.name)
    moved = tuple(replace(c, path=place.parent / c.path.name) for c in stored.companions)
    for companion, there in zip(stored.companions, moved, strict=True):
        companion.path.replace(there.path)
    stored.path.replace(place)
    return replace(done, model=replace(stored, path=place, companions=moved))
