"""``trtbuild promote``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish, served_options

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("promote", short_help="Serve one version of a model in a Triton repository.")
@click.argument("repository")
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@served_options
@common
def command(repository: str, model: str, version: int, server: str | None, wait: float, console: Console) -> None:
    """Serve one version of a model in a Triton repository.

    Its files are held against what was shipped first; then config.pbtxt is replaced as a whole.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.shipping import open_storage, promote

    watch = Stopwatch()
    storage = open_storage(repository, on_wait=console.note, wait_s=wait)
    if server:
        from trtbuild.serving import promote_live

        rollout = promote_live(server, storage, model, version)
        finish(console, "promote", watch.seconds, list(rollout.said), to_json(rollout))
        return
    done = promote(storage, model, version)
    finish(console, "promote", watch.seconds, [f"{model}: version {version} is served"], to_json(done))
