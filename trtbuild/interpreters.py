"""Other Python interpreters of this machine, with a TensorRT of their own: which versions they have.

One process holds one TensorRT, and releases 10 and 11 share their import name. So a target may name the Python that
builds for it. It needs nothing of trtbuild's: see ``worker``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trtbuild.errors import MissingDependencyError, UsageError

OLDEST = (3, 10)
"""The first Python that trtbuild's source runs with."""

OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
"""Variables that are about this process's Python, and would mislead another one."""

_LIMIT = 120  # seconds for an answer; a first import from a slow disk takes some

_QUESTION = """
import json, sys
sys.path[:] = [p for p in sys.path if p]
answer = {"version": list(sys.version_info[:2]), "distributions": {}, "packages": {}}
if sys.version_info >= (3, 10):
    from importlib import import_module, metadata, util
    for found in metadata.distributions():
        name = (found.metadata["Name"] or "").lower().replace("_", "-")
        answer["distributions"].setdefault(name, found.version)
    for name in sys.argv[1:]:
        if util.find_spec(name):
            try:
                answer["packages"][name] = str(import_module(name).__version__)
            except Exception as error:
                answer["packages"][name] = "broken: %s" % error
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter.

    Attributes:
        path: Where it lies.
        version: Its major and minor version.
        distributions: Name of each installed distribution to its version.
        packages: Import name of each package that was asked for and is there to its version; ``broken: ...`` where it
            cannot be imported.
    """

    path: str
    version: tuple[int, int]
    distributions: Mapping[str, str]
    packages: Mapping[str, str]

    def versions(self, distributions: Iterable[str], package: str) -> dict[str, str]:
        """What belongs in the key of what it builds: the versions of a package, and of what brings it."""
        found = {name: self.distributions.get(name, "absent") for name in distributions}
        return {**found, package: self.packages.get(package, "absent")}


@cache
def interpreter(path: str, package: str) -> Interpreter:
    """Asks an interpreter, once a process, what it is and whether it has a package.

    Raises:
        UsageError: There is none at that path, or it does not answer.
        MissingDependencyError: It is too old.
    """
    place = Path(path)
    if not place.is_file():
        inside = place / "bin" / "python"
        raise UsageError(
            "there is no such Python",
            place=path,
            hint=f"name the interpreter, not its folder: {inside}"
            if inside.is_file()
            else "check `python` of the target",
        )
    environment = {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES}
    try:
        done = subprocess.run(
            [path, "-c", _QUESTION, package],
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=True,
            env=environment,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        major, minor = answer["version"]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError, TypeError) as error:
        said = (getattr(error, "stderr", None) or "").strip().splitlines()
        raise UsageError(
            f"this is no Python that answers: {said[-1] if said else error}",
            place=path,
            hint="check `python` of the target",
        ) from error
    if (major, minor) < OLDEST:
        raise MissingDependencyError(
            f"it is Python {major}.{minor}, and trtbuild's source needs {OLDEST[0]}.{OLDEST[1]} or later",
            place=path,
            hint="make a virtual environment with a later Python, and install TensorRT there",
        )
    return Interpreter(path, (major, minor), answer["distributions"], answer["packages"])


def hold_package(path: str, package: str, distribution: str) -> Interpreter:
    """Checks that an interpreter can import a package.

    Raises:
        UsageError: There is no such interpreter.
        MissingDependencyError: It is too old, or cannot import the package.
    """
    found = interpreter(path, package)
    version = found.packages.get(package, "")
    if not version or version.startswith("broken: "):
        raise MissingDependencyError(
            f"{version.removeprefix('broken: ')} (importing {package!r})"
            if version
            else f"it has no package {package!r}",
            place=path,
            hint=f"{path} -m pip install {distribution}; it needs nothing else",
        )
    return found
