"""Commands that list plug-in files: rules, calibration methods, backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


def listing(name: str, package: str, noun: str, plural: str) -> click.Command:
    """The command ``name`` that lists the plug-ins of a package without importing them."""

    @click.command(name, short_help=f"List the {plural}.", help=f"List the {plural}.")
    @common
    def command(console: Console) -> None:
        from trtbuild.console import table
        from trtbuild.registry import Registry

        found = Registry(package, noun).summaries()
        console.result(found, table([("name", "what it does"), *found.items()]))

    return command
