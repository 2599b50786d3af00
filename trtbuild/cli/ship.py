"""``trtbuild ship``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.shipping import Change


@click.command("ship", short_help="Put a verified build into a Triton repository as a new version.")
@click.argument("build", type=click.Path(path_type=Path))
@click.argument("repository")
@click.option("--model", help="Which model, where the build has several.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Versions of the model to keep.")
@click.option("--stage", "staged", is_flag=True, help="Put it there without serving it; `trtbuild promote` does.")
@click.option(
    "--verify-key", "keys", multiple=True, type=click.Path(path_type=Path),
    help="Public key (Ed25519, PEM) that must have signed the build; may be given several times.",
)  # fmt: skip
@click.option("--wait", type=float, default=600, show_default=True, help="Seconds to wait for another shipper.")
@common
def command(
    build: Path, repository: str, model: str | None, keep: int, staged: bool, keys: tuple[Path, ...], wait: float,
    console: Console,
) -> None:  # fmt: skip
    """Put a verified build into a Triton repository as a new version, and serve it.

    BUILD is what `trtbuild build` wrote, or model_repository/<model> in it. REPOSITORY is the folder that Triton reads,
    or an address that fsspec knows, such as s3://bucket/models. A build whose files are not those of its manifest is
    refused, and so is one that did not pass. A reader never sees half a version; the next ship makes good a killed one.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.shipping import Policy, open_storage, read_shipment, ship, stage
    from trtbuild.shipping.envelope import read_public_key

    watch = Stopwatch()
    console.started("ship")
    demanded = Policy(tuple(read_public_key(key) for key in keys))
    shipment = read_shipment(build, model)
    storage = open_storage(repository, on_wait=console.note, wait_s=wait)
    done = stage(storage, shipment, keys=demanded) if staged else ship(storage, shipment, keep=keep, keys=demanded)
    finish(console, "ship", watch.seconds, _said(done), to_json(done))
    for note in done.notes:
        console.note(note)


def _said(done: Change) -> list[str]:
    numbers = ", ".join(map(str, done.served)) or "none"
    head = f"{done.model} version {done.version}{'' if done.new else ', which was there already'}; served: {numbers}"
    removed = [f"removed: {', '.join(map(str, done.removed))}"] if done.removed else []
    return [head, *removed]
