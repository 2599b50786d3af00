"""``trtbuild ship``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish, served_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtbuild.console import Console
    from trtbuild.serving import Rollout
    from trtbuild.shipping import Change, Policy, Shipment, Storage


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
@served_options
@common
def command(
    build: Path, repository: str, model: str | None, keep: int, staged: bool, keys: tuple[Path, ...],
    server: str | None, wait: float, console: Console,
) -> None:  # fmt: skip
    """Put a verified build into a Triton repository as a new version, and serve it.

    BUILD is what `trtbuild build` wrote, or model_repository/<model> in it. REPOSITORY is the folder that Triton reads,
    or an address that fsspec knows, such as s3://bucket/models. A build whose files are not those of its manifest is
    refused, and so is one that did not pass. A reader never sees half a version; the next ship makes good a killed one.
    Steps before and after the plan go with it, the ensemble that joins them last.
    With --server the new version is tried under another name, takes its place only if its answers are right, and on
    any error the old one serves again.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.console import Stopwatch
    from trtbuild.errors import UsageError
    from trtbuild.shipping import Policy, open_storage, read_shipments, ship, stage
    from trtbuild.shipping.envelope import read_public_key

    if staged and server:
        raise UsageError("--stage serves nothing", place="--server", hint="leave one of the two out")
    watch = Stopwatch()
    console.started("ship")
    demanded = Policy(tuple(read_public_key(key) for key in keys))
    shipments = read_shipments(build, model)
    storage = open_storage(repository, on_wait=console.note, wait_s=wait)
    if server:
        done, rollout = _live(server, storage, shipments, keep, demanded)
        changes, said = [done], list(rollout.said if rollout else ())
        document = to_json(done) | {"rollout": to_json(rollout) if rollout else None}
    else:
        changes, said = (
            [
                stage(storage, s, keys=demanded) if staged else ship(storage, s, keep=keep, keys=demanded)
                for s in shipments
            ],
            [],
        )
        document = to_json(changes[0]) if len(changes) == 1 else {"models": [to_json(c) for c in changes]}
    finish(console, "ship", watch.seconds, [*(line for c in changes for line in _said(c)), *said], document)
    for note in dict.fromkeys(n for c in changes for n in c.notes):
        console.note(note)


def _live(
    server: str, storage: Storage, shipments: Sequence[Shipment], keep: int, keys: Policy
) -> tuple[Change, Rollout | None]:
    from trtbuild.errors import UsageError
    from trtbuild.serving import ship_live

    if len(shipments) > 1:
        raise UsageError(
            f"a live server is led over one model at a time, and these are {', '.join(s.model for s in shipments)}",
            place="--server",
            hint="ship them without it and load the ensemble yourself, or give the folder of the plan's model",
        )
    return ship_live(server, storage, shipments[0], keep=keep, keys=keys)


def _said(done: Change) -> list[str]:
    numbers = ", ".join(map(str, done.served)) or "none"
    head = f"{done.model} version {done.version}{'' if done.new else ', which was there already'}; served: {numbers}"
    removed = [f"removed: {', '.join(map(str, done.removed))}"] if done.removed else []
    return [head, *removed]
