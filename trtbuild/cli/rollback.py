"""``trtbuild rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish, served_options

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("rollback", short_help="Serve the version that was served before.")
@click.argument("repository")
@click.argument("model")
@served_options
@common
def command(repository: str, model: str, server: str | None, wait: float, console: Console) -> None:
    """Serve the version of a model that was served before; called again, the one before that.

    Its files are held against what was shipped first; then config.pbtxt is replaced as a whole.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.shipping import open_storage, rollback

    watch = Stopwatch()
    storage = open_storage(repository, on_wait=console.note, wait_s=wait)
    if server:
        from trtbuild.serving import rollback_live

        rollout = rollback_live(server, storage, model)
        finish(console, "rollback", watch.seconds, list(rollout.said), to_json(rollout))
        return
    done = rollback(storage, model)
    finish(console, "rollback", watch.seconds, [f"{model}: version {done.version} is served"], to_json(done))
