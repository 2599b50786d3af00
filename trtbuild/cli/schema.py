"""``trtbuild schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("schema", short_help="Print the JSON Schema of the spec.")
@common
def command(console: Console) -> None:
    """Print the JSON Schema of the spec, for editors that check YAML."""
    import json

    from trtbuild.spec import Spec

    schema = Spec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    console.result(schema, json.dumps(schema, indent=2))
