"""``trtbuild targets``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("targets", short_help="List the targets that ship.")
@common
def command(console: Console) -> None:
    """List the targets that ship.

    Any other GPU is written out in the spec: {backend: tensorrt_rtx, compute_capability: "8.9"}, or as sm89.
    """
    from trtbuild.console import table
    from trtbuild.spec import shipped_targets

    found = shipped_targets()
    rows = [(n, t.compute_capability, t.backend, t.gpu) for n, t in found.items()]
    console.result(
        {n: t.model_dump(exclude={"name"}) for n, t in found.items()},
        table([("name", "capability", "backend", "gpu"), *rows]),
    )
