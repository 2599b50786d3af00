import doctest
import importlib
import json
import subprocess
import sys

import click
import pytest

import trtbuild
from trtbuild.cli import COMMANDS, group

HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "numpy",
    "tensorrt",
    "tensorrt_rtx",
    "polygraphy",
    "pydantic",
    "ruamel",
    "rich",
)


def loaded_by(*words):
    """Which of the heavy packages a command line loads."""
    code = (
        "import json, sys\n"
        "from trtbuild.cli import main\n"
        "try:\n"
        f"    main({list(words)!r})\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        f"print('\\n' + json.dumps([code, [m for m in {HEAVY!r} if m in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code in (0, None), done.stderr
    return loaded, done.stdout


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(word):
    loaded, said = loaded_by(word)
    assert loaded == []
    assert "trtbuild" in said


@pytest.mark.parametrize("command", ["rules", "methods", "backends"])
def test_listing_plug_ins_loads_nothing_heavy(command):
    loaded, said = loaded_by(command)
    assert loaded == []
    assert len(said.splitlines()) > 2


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_each_command_loads_nothing_heavy(command):
    assert loaded_by(command, "--help")[0] == []


def test_importing_the_package_loads_nothing_of_it():
    code = "import sys, trtbuild; print([m for m in sys.modules if m.startswith('trtbuild.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_table_of_commands_says_what_each_command_says(name):
    command = importlib.import_module(f"trtbuild.cli.{name.replace(chr(45), chr(95))}").command
    assert (command.name, command.short_help) == (name, COMMANDS[name])
    assert command.help


def test_every_command_file_is_in_the_table():
    from pathlib import Path

    folder = Path(trtbuild.__file__).parent / "cli"
    assert {f.stem.replace("_", "-") for f in folder.glob("*.py") if not f.stem.startswith("_")} == set(COMMANDS)
    assert group.list_commands(click.Context(group)) == list(COMMANDS)


def test_every_public_name_can_be_had():
    for name in trtbuild.__all__:
        assert getattr(trtbuild, name) is not None
    assert set(trtbuild.__all__) <= set(dir(trtbuild))
    with pytest.raises(AttributeError, match="no_such_name"):
        trtbuild.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "name", ["spec", "spec.shapes", "rewriter", "calibration", "precision", "verification"],
)  # fmt: skip
def test_examples_of_the_public_functions_run(name):
    found = doctest.testmod(importlib.import_module(f"trtbuild.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
