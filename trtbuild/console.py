"""What a person sees: progress while stages run, plain lines in a pipe, errors, and JSON for machines.

Human words go to standard error, results to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtbuild.errors import TrtbuildError


class Observer:
    """Told what a build is doing; this one keeps quiet."""

    def started(self, stage: str) -> None:
        """A stage begins."""

    def progress(self, stage: str, share: float | None, text: str) -> None:
        """A stage is at ``share`` (0 to 1, None when unknown); ``text`` is what it is at."""

    def finished(self, stage: str, *, hit: bool, seconds: float, said: Sequence[str]) -> None:
        """A stage has its result."""

    def note(self, text: str) -> None:
        """Something a person should know."""


class Console(Observer):
    """Shows a build on standard error.

    Args:
        verbosity: -1 errors only, 0 a line a stage, 1 what each did, 2 tracebacks too.
        as_json: Whether standard output carries one JSON object.
    """

    def __init__(self, verbosity: int = 0, *, as_json: bool = False) -> None:
        self.verbosity = verbosity
        self.as_json = as_json
        self._bar: Any = None
        self._task: Any = None
        self._out = sys.stdout  # the user's code may print: its words go elsewhere, the result goes here
        self._watched = sys.stderr.isatty() and verbosity >= 0

    def started(self, stage: str) -> None:
        """Shows a bar when a person watches."""
        if not self._watched:
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[at]}"), console=RichConsole(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(f"{stage:<20}", total=None, at="")
        self._bar.start()

    def progress(self, stage: str, share: float | None, text: str) -> None:
        """Moves the bar."""
        del stage
        if self._bar is not None:
            self._bar.update(self._task, total=None if share is None else 1.0, completed=share or 0.0, at=text)

    def finished(self, stage: str, *, hit: bool, seconds: float, said: Sequence[str]) -> None:
        """Prints the stage's line, and with ``-v`` what it did."""
        self.close()
        if self.verbosity < 0:
            return
        head = said[0] if said else ""
        mark = "kept" if hit else "done"
        self.say(f"{mark}  {stage:<20} {seconds:7.2f} s  {head}")
        for line in said[1:] if self.verbosity > 0 else ():
            self.say(f"        {line}")

    def note(self, text: str) -> None:
        """Prints a note between the lines."""
        if self.verbosity >= 0:
            self.say(f"note  {text}")

    def close(self) -> None:
        """Takes the bar down."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """Human words."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def result(self, value: Any, text: str | None = None) -> None:
        """The result: one JSON object with ``--json``, else its text form."""
        if self.as_json:
            self._out.write(json.dumps(value, indent=2, sort_keys=True) + "\n")
        elif text:
            self._out.write(text.rstrip("\n") + "\n")
        self._out.flush()

    def error(self, error: TrtbuildError) -> None:
        """An error with its place and hint; as JSON too where that was asked for."""
        self.close()
        self.say(f"error: {error}")
        self.document(error)

    def document(self, error: TrtbuildError) -> None:
        """An error as the one JSON object, where that was asked for."""
        if self.as_json:
            document = {
                "kind": type(error).__name__, "message": error.message, "place": error.place, "hint": error.hint,
                "exit_code": error.exit_code,
            }  # fmt: skip
            measured = error.result if isinstance(error.result, dict) else {}
            sys.stdout.write(json.dumps({**measured, "error": document}) + "\n")


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds passed."""
        return time.monotonic() - self._started


def human_size(size: int) -> str:
    """Bytes in the unit a person would use: 1.5 MiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{size} B"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)
