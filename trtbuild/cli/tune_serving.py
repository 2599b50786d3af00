"""``trtbuild tune-serving``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.serving import Setting, Tuning


@click.command("tune-serving", short_help="Search batch delay, preferred sizes and instances on a live server.")
@click.argument("repository", type=click.Path(path_type=Path))
@click.argument("model")
@click.option("--server", required=True, metavar="URL", help="grpc://HOST:8001, in explicit mode.")
@click.option("--golden", required=True, type=click.Path(path_type=Path), help="Golden requests: their rows are sent.")
@click.option("--p99-ms", type=click.FloatRange(min=0, min_open=True), required=True, help="The limit for p99.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="For each measurement.")
@click.option("--delay-us", "delays", multiple=True, type=click.IntRange(min=0), help="To try; 0 to 5000 by default.")
@click.option("--max-instances", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--max-concurrency", type=click.IntRange(min=1), default=64, show_default=True, help="Threads that ask.")
@click.option("--report", type=click.Path(path_type=Path), help="Put the curve into the report of this build.")
@click.option("--write", is_flag=True, help="Write the setting into config.pbtxt, and let the server load it.")
@common
def command(
    repository: Path, model: str, server: str, golden: Path, p99_ms: float, seconds: float,
    delays: tuple[int, ...], max_instances: int, max_concurrency: int, report: Path | None, write: bool,
    console: Console,
) -> None:  # fmt: skip
    """Search batch delay, preferred sizes and instances on a live server.

    Each setting is loaded under another name and driven by ever more threads, until p99 breaks the limit; the one that
    answers the most requests within it wins. What is served does not change, unless --write is given.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.golden import read
    from trtbuild.serving import Client, tune, write_setting
    from trtbuild.serving.tuning import CONCURRENCIES, DELAYS_US, INSTANCES

    document = _report_of(report) if report is not None else None  # before anything is measured
    watch = Stopwatch()
    console.started("tune-serving")
    done = tune(
        server, repository, model, read(golden), p99_s=p99_ms / 1e3, seconds=seconds,
        delays_us=delays or DELAYS_US,
        instances=[n for n in INSTANCES if n <= max_instances],
        concurrencies=[n for n in CONCURRENCIES if n <= max_concurrency],
        on_measured=lambda m: console.progress("tune-serving", None, f"{_words(m.setting)}: {m.throughput:.0f}/s"),
    )  # fmt: skip
    if write:
        write_setting(repository / model, done.best)
        with Client(server) as client:
            client.load(model)
    if report is not None and document is not None:
        _renew(report, document, to_json(done))
    console.finished("tune-serving", hit=False, seconds=watch.seconds, said=[_said(done)])
    console.result(to_json(done), _text(done))


def _report_of(folder: Path) -> dict[str, Any]:
    from trtbuild.errors import UsageError
    from trtbuild.reporting.html import hold_schema

    place = folder / "report.json"
    try:
        document: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "there is no report of a build", place=str(place), hint="give --report the folder that `build` wrote"
        ) from error
    hold_schema(document)
    return document


def _renew(folder: Path, document: dict[str, Any], tuning: dict[str, Any]) -> None:
    """Writes the build's report anew, with the curve; nothing that its manifest names changes."""
    from trtbuild.reporting import renewed, with_tuning
    from trtbuild.store import publish

    publish(renewed(with_tuning(document, tuning)), folder, last=Path("report.json"))


def _said(done: Tuning) -> str:
    best, before = done.most(done.best), done.most(done.before)
    then = f"{before.throughput:.0f}" if before else "none"
    return f"{best.throughput if best else 0:.0f} requests a second within {1e3 * done.p99_s:g} ms; before: {then}"


def _words(setting: Setting) -> str:
    sizes = ", ".join(map(str, setting.preferred_batch_sizes)) or "any"
    return f"{setting.instances} instances, sizes {sizes}, {setting.max_queue_delay_us} µs"


def _text(done: Tuning) -> str:
    """The curve, and the setting as the spec takes it."""
    from trtbuild.console import table

    head = ("instances", "preferred", "delay µs", "threads", "requests/s", "p50 ms", "p99 ms", "")
    rows = [
        (
            str(m.setting.instances), ", ".join(map(str, m.setting.preferred_batch_sizes)) or "any",
            str(m.setting.max_queue_delay_us), str(m.concurrency), f"{m.throughput:.1f}", f"{1e3 * m.p50:.3f}",
            f"{1e3 * m.p99:.3f}", "best" if m == done.most(done.best) else "" if m.p99 <= done.p99_s else "over",
        )
        for m in done.curve
    ]  # fmt: skip
    sizes = ", ".join(map(str, done.best.preferred_batch_sizes))
    spec = (
        f"triton: {{max_queue_delay_us: {done.best.max_queue_delay_us}, preferred_batch_sizes: [{sizes}], "
        f"instances: {done.best.instances}}}"
    )
    return f"{table([head, *rows])}\n{spec}"
