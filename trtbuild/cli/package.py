"""``trtbuild package``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common, finish, in_folder

if TYPE_CHECKING:
    from trtbuild.artifacts import StoredFile, TritonModel
    from trtbuild.console import Console


@click.command("package", short_help="Write a Triton model folder from verified plans.")
@click.argument("plans", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the model and its folder.")
@click.option(
    "--verification", "proofs", multiple=True, required=True, type=click.Path(path_type=Path),
    help="What `trtbuild verify -o` wrote; may be given several times.",
)  # fmt: skip
@click.option("--repository", type=click.Path(path_type=Path), default="model_repository", show_default=True)
@click.option("--release", default="26.04", show_default=True, help="Triton release that shall serve it.")
@click.option("--max-queue-delay-us", type=click.IntRange(min=0), default=500, show_default=True)
@click.option("--instances", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--response-cache", is_flag=True)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE",
    help="A key of the spec's triton block, such as cuda_graphs=true; `trtbuild schema` prints them all.",
)  # fmt: skip
@common
def command(
    plans: tuple[Path, ...],
    name: str,
    proofs: tuple[Path, ...],
    repository: Path,
    settings: tuple[str, ...],
    console: Console,
    **options: Any,
) -> None:
    """Write a Triton model folder from verified plans.

    PLANS are the <plan>.json files that `trtbuild compile` wrote. A plan without a passed verification is refused. It
    prints the docker line that starts the release's server on the folder, where that can load it.
    """
    from trtbuild.artifacts import EnginePlan, Verification, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.cli._options import keyword_arguments
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import said
    from trtbuild.triton import package
    from trtbuild.triton.command import docker_run

    watch = Stopwatch()
    console.started("package")
    fleet = [read_artifact(EnginePlan, p, "a plan's description") for p in plans]
    verified = [read_artifact(Verification, p, "a verification") for p in proofs]
    asked = {**options, **keyword_arguments(settings, "--set")}

    def make(folder: Path) -> TritonModel:
        return _placed(package(fleet, verified, folder, name=name, **asked), repository)

    done = in_folder(repository / name, make, makes_folder=True)
    if done.docker_run:  # it names ./model_repository
        started = docker_run(asked["release"], done.flags, repository=str(repository), gpus=asked.get("gpus", ()))
        done = replace(done, docker_run=started)
    finish(console, "package", watch.seconds, said.package(done), to_json(done), done.docker_run)


def _placed(done: TritonModel, repository: Path) -> TritonModel:
    """Publishes the folders, what the plan's leans on first; the files where they lie now."""
    from trtbuild.store import publish

    beside: dict[str, dict[Path, StoredFile]] = {}
    for inside, file in done.beside.items():
        model, _, rest = inside.partition("/")
        beside.setdefault(model, {})[Path(rest)] = file
    for model, files in beside.items():
        publish(files, repository / model, last=Path("config.pbtxt"))
    publish({Path(i): f for i, f in done.files.items()}, repository / done.name, last=Path("config.pbtxt"))
    return replace(
        done,
        files={i: replace(f, path=repository / done.name / i) for i, f in done.files.items()},
        beside={i: replace(f, path=repository / i) for i, f in done.beside.items()},
    )
