"""``trtbuild serve-check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.serving import ServeCheck


@click.command("serve-check", short_help="Try a model repository on a real Triton server, without a GPU.")
@click.argument("repository", required=False, type=click.Path(path_type=Path))
@click.option("--setup", is_flag=True, help="Install the server into the user's cache first; once is enough.")
@click.option("--model", help="Which model; may be left out where TensorRT serves only one.")
@click.option(
    "--golden", type=click.Path(path_type=Path), help="Golden requests; by default golden/ beside REPOSITORY."
)
@click.option("--onnx", type=click.Path(path_type=Path), help="The ONNX that the newest plan was compiled from.")
@click.option("--image", metavar="RELEASE", help="Print how to serve it on Triton's image instead, such as 26.04.")
@common
def command(
    repository: Path | None,
    setup: bool,
    model: str | None,
    golden: Path | None,
    onnx: Path | None,
    image: str | None,
    console: Console,
) -> None:
    """Try a model repository on a real Triton server, without a GPU.

    The server runs on the loopback and loads the folder as it is. A stand-in for its TensorRT backend runs the ONNX
    that the plan was compiled from: config, warm-up, batching, cache and answers are tried, the plan itself is not.
    """
    from trtbuild.console import Stopwatch
    from trtbuild.errors import UsageError

    if repository is None and not setup:
        raise UsageError(
            "there is nothing to try", place="trtbuild serve-check", hint="name a model repository, or give --setup"
        )
    if image is not None and repository is not None:
        line = _docker_line(repository, image, model)
        console.note("not run here: it needs Docker, an NVIDIA GPU and its container toolkit")
        console.result({"command": line}, line)
        return
    from trtbuild.serving import set_up

    watch = Stopwatch()
    console.started("serve-check")
    if setup:
        console.progress("serve-check", None, "installing the server")
        done = set_up()
        said = f"installed in {done.seconds:.0f} s" if done.seconds else "installed already"
        if repository is None:
            finish(console, "serve-check", watch.seconds, [f"{said}: {done.folder}"], {"folder": str(done.folder)})
            return
        console.note(f"the Triton server is {said}")
    if repository is not None:
        _try(console, repository, model, golden, onnx, watch)


def _try(
    console: Console, repository: Path, model: str | None, golden: Path | None, onnx: Path | None, watch: object
) -> None:
    from trtbuild.artifacts import to_json
    from trtbuild.errors import AccuracyError
    from trtbuild.golden import read
    from trtbuild.serving import serve_check

    requests = read(golden or repository.resolve().parent / "golden")
    done = serve_check(repository, requests, model=model, onnx=onnx)
    document = to_json(done) | {"passed": done.passed}
    lines = [f"{done.model} version {done.version}: {'passed' if done.passed else 'not passed'} on {done.server}"]
    console.finished("serve-check", hit=False, seconds=watch.seconds, said=lines)  # type: ignore[attr-defined]
    for note in done.notes:
        console.note(note)
    if done.passed:
        console.result(document, _table(done))
        return
    failed = next(f for f in done.findings if f.outcome == "not passed")
    if not console.as_json:
        console.result(document, _table(done))
    refused = AccuracyError(
        f"{failed.name}: {failed.said}",
        place=f"{done.model} on {done.server}",
        hint="-v and --json show what was tried",
    )
    refused.result = document
    raise refused


def _table(done: ServeCheck) -> str:
    from trtbuild.console import table

    return table([("tried", "outcome", "seen"), *((f.name, f.outcome, f.said) for f in done.findings)])


def _docker_line(repository: Path, release: str, model: str | None) -> str:
    """The line that serves a repository on a release's image."""
    from trtbuild.serving.copies import models
    from trtbuild.triton.command import docker_run, server_flags

    found = models(repository)
    flags = [flag for name, config in found.items() if model in (None, name) for flag in server_flags(config)]
    return docker_run(release, list(dict.fromkeys(flags)), repository=str(repository))
