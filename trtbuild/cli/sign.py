"""``trtbuild sign``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common, finish

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("sign", short_help="Sign a build's provenance, or verify who signed it.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="Sign with this private key (Ed25519, PEM).")
@click.option(
    "--verify-key", "public", multiple=True, type=click.Path(path_type=Path),
    help="Verify that this public key signed it; may be given several times.",
)  # fmt: skip
@common
def command(build: Path, key: Path | None, public: tuple[Path, ...], console: Console) -> None:
    """Sign a build's provenance, or verify who signed it.

    Writes provenance.dsse.json into BUILD: an in-toto statement with SLSA's provenance of every file of the manifest,
    signed. A second key adds its signature. TRTBUILD_KEY_PASSWORD opens an encrypted key.
    """
    from trtbuild.console import Stopwatch
    from trtbuild.errors import UsageError
    from trtbuild.shipping.envelope import read_public_key
    from trtbuild.shipping.signing import sign_build, verify_build

    if (key is None) == (not public):
        raise UsageError("give --key or --verify-key", place="trtbuild sign", hint="--key signs, --verify-key verifies")
    watch = Stopwatch()
    if key is not None:
        place = sign_build(build, key, os.environ.get("TRTBUILD_KEY_PASSWORD"))
        said = f"signed: {place}"
    else:
        keys = [read_public_key(file) for file in public]
        place = verify_build(build, keys)
        said = f"signed by {', '.join(map(str, public))}, and every file is the one that was signed"
    finish(console, "sign", watch.seconds, [said], {"envelope": str(place), "signed": key is not None})
