"""The real Triton server of the ``nvidia-pytriton`` wheel, in a folder of its own, apart from trtbuild's packages.

The wheel holds the server, the python backend and the local response cache, and no TensorRT backend. The folder is
made beside its place and renamed, so that it is there as a whole or not at all; pip keeps what it has downloaded.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from trtbuild.content import json_digest
from trtbuild.errors import MissingDependencyError, as_output_error, refuses_to_write
from trtbuild.store import default_root

PINS: Mapping[str, str] = {"nvidia-pytriton": "0.7.0", "numpy": "1.26.4", "onnxruntime": "1.23.2"}
"""What is installed, without what these ask for: the wheel's Python front end is not used.

NumPy stays below 2: the python backend reads the size of an item where NumPy 1 has it, and answers with no bytes."""

SERVER_VERSION, RELEASE = "2.51.0", "24.10"
"""Triton's version in that wheel, and the container release it belongs to."""

PYTHONS = tuple((3, minor) for minor in range(10, 13))
"""Pythons that trtbuild runs on and for which there is such a NumPy; the wheel has a stub for 3.13 too."""

_MARK = "environment.json"
_LIMIT_S = 900  # for pip: some 90 MB over a slow line


@dataclass(frozen=True)
class ServerEnvironment:
    """An installed server.

    Attributes:
        folder: The packages' folder, what ``pip install --target`` made.
        seconds: How long setting it up took; 0 where it stood already.
    """

    folder: Path
    seconds: float = 0.0

    @property
    def binary(self) -> Path:
        """The server's program."""
        return self._server / "bin" / "tritonserver"

    @property
    def python_backend(self) -> Path:
        """The folder of the python backend, its stub beside it."""
        return self._server / "backends" / "python"

    @property
    def caches(self) -> Path:
        """The folder of the response caches."""
        return self._server / "caches"

    @property
    def _server(self) -> Path:
        return self.folder / "pytriton" / "tritonserver"

    def variables(self) -> dict[str, str]:
        """The environment variables that the server and the python backend's stub need."""
        library = _libpython()
        libraries = [str(self.folder / "nvidia_pytriton.libs")]
        found = {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if library is not None:
            libraries.append(str(library.parent))
            found["PYTHONHOME"] = sys.base_prefix
        return {**found, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def default_folder() -> Path:
    """Where the server is set up: in the user's cache, one folder for these versions and this Python."""
    name = f"triton-{SERVER_VERSION}-py3{sys.version_info[1]}-{json_digest(dict(PINS))[:8]}"
    return default_root() / "servers" / name


def installed(folder: Path | None = None) -> ServerEnvironment | None:
    """The server, where it has been set up."""
    place = folder or default_folder()
    return ServerEnvironment(place) if (place / _MARK).is_file() else None


def hold_installed(folder: Path | None = None) -> ServerEnvironment:
    """The server.

    Raises:
        MissingDependencyError: It has not been set up.
    """
    found = installed(folder)
    if found is None:
        raise MissingDependencyError(
            "the Triton server is not set up",
            place=str(folder or default_folder()),
            hint="trtbuild serve-check --setup",
        )
    return found


def set_up(folder: Path | None = None, *, timeout_s: float = _LIMIT_S) -> ServerEnvironment:
    """Installs the server; does nothing where it stands already.

    Two calls at once wait for each other; one that was killed leaves nothing that a later one trips over.

    Args:
        folder: Where to; by default in the user's cache.
        timeout_s: Seconds that pip may take.

    Raises:
        MissingDependencyError: This machine or Python cannot run it, or pip cannot install it.
        OutputError: The folder cannot be written.
    """
    from filelock import FileLock

    place = folder or default_folder()
    found = installed(place)
    if found:
        return found
    _hold_possible()
    started = time.monotonic()
    unfinished = place.with_name(f"{place.name}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{place.name}.lock")):
            found = installed(place)  # another process may have been faster
            if found:
                return found
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(unfinished, timeout_s)
            _lay_out(unfinished)
            unfinished.replace(place)
    except OSError as error:
        if refuses_to_write(error):
            raise as_output_error(error, str(error.filename or place)) from error
        raise
    return ServerEnvironment(place, time.monotonic() - started)


def _hold_possible() -> None:
    """This machine can run the wheel's server."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingDependencyError(
            f"there is no Triton server for {sys.platform} on {platform.machine()} in a wheel",
            place="serve-check",
            hint="run it on Linux on x86-64, or use Triton's image: --image",
        )
    if sys.version_info[:2] not in PYTHONS:
        raise MissingDependencyError(
            f"the wheel's python backend needs a NumPy below 2, and there is none for Python 3.{sys.version_info[1]}",
            place="serve-check",
            hint=f"run trtbuild with Python 3.{PYTHONS[0][1]} to 3.{PYTHONS[-1][1]}",
        )
    if _libpython() is None and not find_library(f"python3.{sys.version_info[1]}"):
        raise MissingDependencyError(
            f"there is no {_library_name()}, and Triton's python backend needs it",
            place=sys.base_prefix,
            hint=f"apt-get install libpython3.{sys.version_info[1]}, or take a Python built with --enable-shared",
        )


def _library_name() -> str:
    return f"libpython3.{sys.version_info[1]}.so.1.0"


def _libpython() -> Path | None:
    """This Python's own shared library; None where it was built without, and the system's must do."""
    folders = [sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"]
    places = [Path(folder) / _library_name() for folder in folders if folder]
    return next((p for p in places if p.is_file()), None)


def _install(folder: Path, timeout_s: float) -> None:
    words = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps", "--only-binary", ":all:"]
    pins = [f"{name}=={version}" for name, version in PINS.items()]
    remedy = (
        f"pip must reach an index that has them: look at `pip config list`, or lay the wheels in a folder "
        f"and set PIP_FIND_LINKS to it (pip download --no-deps {' '.join(pins)})"
    )
    try:
        done = subprocess.run(
            [*words, "--disable-pip-version-check", "--no-input", *pins], capture_output=True, text=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingDependencyError(
            f"pip did not install the Triton server within {timeout_s:g} s", place="serve-check --setup", hint=remedy
        ) from error
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        remedy = f"{sys.executable} -m ensurepip"
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
    raise MissingDependencyError(
        f"pip could not install the Triton server: {lines[-1].removeprefix('ERROR: ') if lines else 'it said nothing'}",
        place="serve-check --setup",
        hint=remedy,
    )


def _lay_out(folder: Path) -> None:
    """Puts the python backend's stub where the server looks for it, and writes the mark that all is there."""
    here = ServerEnvironment(folder)
    version = f"3.{sys.version_info[1]}"
    stub = here.binary.parents[1] / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy2(stub, here.python_backend / stub.name)
    for program in (here.binary, here.python_backend / stub.name):
        program.chmod(program.stat().st_mode | 0o111)
    document = {"packages": dict(PINS), "python": version, "triton": SERVER_VERSION, "release": RELEASE}
    (folder / _MARK).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
