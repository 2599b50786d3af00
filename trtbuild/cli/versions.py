"""``trtbuild versions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.shipping import ModelVersions


@click.command("versions", short_help="List what a Triton repository has and what of it is served.")
@click.argument("repository")
@click.option("--check", is_flag=True, help="Hold every file against what was shipped.")
@common
def command(repository: str, check: bool, console: Console) -> None:
    """List what a Triton repository has and what of it is served.

    With --check every file is held against its record and its manifest, and against the keys that the repository
    demands; it ends with 7 where one does not fit.
    """
    from trtbuild.artifacts import to_json
    from trtbuild.shipping import check_version, open_storage, read_policy, read_versions

    storage = open_storage(repository)
    found = read_versions(storage)
    if check:
        policy = read_policy(storage)
        for model in found:
            for number in (*(v.number for v in model.versions), *model.broken):
                check_version(storage, model.model, model.version(number), policy)
    lines = _lines(found) if found else f"nothing is shipped in {storage.place}"
    console.result({"repository": storage.place, "models": [to_json(m) for m in found]}, lines)


def _lines(found: tuple[ModelVersions, ...]) -> str:
    from trtbuild.console import table

    rows = [("model", "version", "state", "shipped", "manifest")]
    for model in found:
        rows += [
            (model.model, str(v.number), _state(model, v.number), v.shipped_at[:19] + "Z", v.manifest[:12])
            for v in model.versions
        ]
        rows += [(model.model, str(n), "changed since it was shipped", "", "") for n in model.broken]
        rows += [(model.model, str(n), "not shipped by trtbuild", "", "") for n in model.others]
    return table(rows)


def _state(model: ModelVersions, number: int) -> str:
    if number in model.served.versions:
        return "served"
    return "served before" if number in model.served.before else "kept"
