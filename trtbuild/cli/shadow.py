"""``trtbuild shadow``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.serving import Shadow


@click.command("shadow", short_help="Compare a version with the one that a live server serves.")
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--server", required=True, metavar="URL", help="http://HOST:8000 or grpc://HOST:8001, in explicit mode.")
@click.option("--golden", type=click.Path(path_type=Path), help="Requests to send; by default those of the version.")
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True, help="Times each request is sent.")
@common
def command(
    repository: Path, model: str, version: int, server: str, golden: Path | None, rounds: int, console: Console
) -> None:
    """Compare a version with the one that a live server serves.

    The version is loaded under another name and is sent the golden requests, in turns with the one that serves. What
    is served does not change.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.golden import read
    from trtbuild.serving import shadow

    watch = Stopwatch()
    console.started("shadow")
    requests = read(golden or repository / model / str(version) / "shipped" / "golden")
    done = shadow(server, repository, model, version, requests, rounds=rounds)
    said = [f"version {done.version} of {model} beside {done.served}: {done.new.requests} requests each"]
    console.finished("shadow", hit=False, seconds=watch.seconds, said=said)
    for note in done.notes:
        console.note(note)
    console.result(to_json(done), _text(done))


def _text(done: Shadow) -> str:
    from trtbuild.console import table
    from trtbuild.reporting.said import compared

    head = ("version", "p50 ms", "p90 ms", "p99 ms")
    rows = [
        (f"{number}{what}", *(f"{1e3 * seconds:.3f}" for seconds in (times.p50, times.p90, times.p99)))
        for number, what, times in ((done.served, " (serves)", done.old), (done.version, "", done.new))
    ]
    ratio = f"p50 of {done.version} over {done.served}: {done.new.p50 / done.old.p50:.3f}"
    return "\n".join([table([head, *rows]), ratio, *(compared(o) for o in done.outputs)])
