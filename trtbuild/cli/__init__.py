"""The command line: a group that knows its commands' names and loads one when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from trtbuild import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "init": "Write a commented starter spec for a model.",
    "build": "Take a spec the whole way: proved plans in a Triton folder.",
    "export": "Export a PyTorch model to ONNX and compare the two.",
    "rewrite": "Apply the rewrite rules to an ONNX file.",
    "equalize": "Balance channels for INT8 where rows kept apart say that it helps.",
    "calibrate": "Measure activation ranges and write a calibration table.",
    "sensitivity": "Say what quantising each node does to the outputs.",
    "quantize": "Write precision into an ONNX file: Q/DQ and Cast nodes.",
    "compile": "Build a TensorRT plan from a typed ONNX file.",
    "verify": "Compare two forms of one model: ONNX, plan, PyTorch.",
    "debug": "Find where two forms of one model part, why, and the smallest part that fails.",
    "bench": "Measure ONNX files and plans side by side.",
    "package": "Write a Triton model folder from verified plans.",
    "check": "Say whether a Triton release or a running server loads a folder or a plan.",
    "serve-check": "Try a model repository on a real Triton server, without a GPU.",
    "sign": "Sign a build's provenance, or verify who signed it.",
    "ship": "Put a verified build into a Triton repository as a new version.",
    "versions": "List what a Triton repository has and what of it is served.",
    "tune-serving": "Search batch delay, preferred sizes and instances on a live server.",
    "shadow": "Compare a version with the one that a live server serves.",
    "promote": "Serve one version of a model in a Triton repository.",
    "rollback": "Serve the version that was served before.",
    "advise": "Profile a model, and say what is worth doing about its speed.",
    "estimate": "Estimate how fast plans or ONNX files are on a target, from its datasheet.",
    "report": "Print the report of a finished build, or of two side by side.",
    "inspect": "Say what a plan or an ONNX file is, without loading it.",
    "diff": "Say what changed between two plans or two ONNX files.",
    "rules": "List the rewrite rules.",
    "methods": "List the calibration methods.",
    "backends": "List the TensorRT backends.",
    "targets": "List the targets that ship, or tell all of one.",
    "doctor": "Say what this machine can do, and what to install for the rest.",
    "schema": "Print the JSON Schema of the spec.",
    "demo": "Train a small CNN on real digits and take it the whole way.",
    "completion": "Print the shell completion script.",
}
"""Command name to its one line of help; a test holds it against the commands' own."""


class LazyGroup(click.Group):
    """A group whose commands are files of this package, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the way through."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Loads one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"trtbuild.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest command for a wrong one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from trtbuild.registry import nearest_hint

            raise click.UsageError(f"No such command {args[0]!r}; {nearest_hint(args[0], COMMANDS)}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="trtbuild")
def group() -> None:
    """From a PyTorch model to a TensorRT engine that has been proved right."""


def main(args: Sequence[str] | None = None) -> None:
    """The program: runs a command and exits with its code."""
    words = list(sys.argv[1:] if args is None else args)
    if "_TRTBUILD_COMPLETE" in os.environ or not words or words[0].startswith("-"):
        group.main(words, prog_name="trtbuild")
    from trtbuild.cli._run import end, run

    end(run(group, words))
