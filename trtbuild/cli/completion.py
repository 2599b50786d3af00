"""``trtbuild completion``."""

from __future__ import annotations

import click


@click.command("completion", short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    r"""Print the shell completion script.

    \b
    bash:  eval "$(trtbuild completion bash)"
    zsh:   eval "$(trtbuild completion zsh)"
    fish:  trtbuild completion fish | source
    """
    from click.shell_completion import get_completion_class

    from trtbuild.cli import group

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(group, {}, "trtbuild", "_TRTBUILD_COMPLETE").source())
