"""``trtbuild package``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish, in_folder

if TYPE_CHECKING:
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
@common
def command(
    plans: tuple[Path, ...],
    name: str,
    proofs: tuple[Path, ...],
    repository: Path,
    release: str,
    max_queue_delay_us: int,
    instances: int,
    response_cache: bool,
    console: Console,
) -> None:
    """Write a Triton model folder from verified plans.

    PLANS are the <plan>.json files that `trtbuild compile` wrote. A plan without a passed verification is refused.
    """
    from trtbuild.artifacts import EnginePlan, Verification, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.console import Stopwatch
    from trtbuild.reporting import said
    from trtbuild.store import publish
    from trtbuild.triton import package

    watch = Stopwatch()
    console.started("package")
    fleet = [read_artifact(EnginePlan, p, "a plan's description") for p in plans]
    verified = [read_artifact(Verification, p, "a verification") for p in proofs]

    def make(folder: Path) -> object:
        done = package(
            fleet, verified, folder, name=name, release=release, max_queue_delay_us=max_queue_delay_us,
            instances=instances, response_cache=response_cache,
        )  # fmt: skip
        files = {Path(inside): file for inside, file in done.files.items()}
        publish(files, repository / name, last=Path("config.pbtxt"))
        placed = {n: replace(f, path=repository / name / n) for n, f in done.files.items()}
        return replace(done, files=placed)

    done = in_folder(repository / name, make, makes_folder=True)
    finish(console, "package", watch.seconds, said.package(done), to_json(done))
