"""``trtbuild rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("rollback", short_help="Serve the version that was served before.")
@click.argument("repository")
@click.argument("model")
@click.option("--wait", type=float, default=600, show_default=True, help="Seconds to wait for another shipper.")
@common
def command(repository: str, model: str, wait: float, console: Console) -> None:
    """Serve the version of a model that was served before; called again, the one before that.

    Its files are held against what was shipped first; then config.pbtxt is replaced as a whole.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.shipping import open_storage, rollback

    watch = Stopwatch()
    done = rollback(open_storage(repository, on_wait=console.note, wait_s=wait), model)
    finish(console, "rollback", watch.seconds, [f"{model}: version {done.version} is served"], to_json(done))
