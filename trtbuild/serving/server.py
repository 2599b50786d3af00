"""A Triton server on this machine's loopback, with the stand-in for TensorRT, that lives no longer than its parent."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbuild.errors import ServerError
from trtbuild.interpreters import OWN_VARIABLES
from trtbuild.serving.environment import ServerEnvironment, hold_installed

CPU_CONFIG = "cpu"
"""Name of the second config, ``configs/cpu.pbtxt``, that the server prefers: the model's own with KIND_CPU."""

LOOPBACK = "127.0.0.1"
_LOG = "server.log"
_TRIES = 4  # another program may take a free port before the server does
_LIVE_WITHIN_S = 60
_STANDIN = Path(__file__).with_name("standin.py")
_HARMLESS = re.compile(r"NVML|CUDA|cuda|GPU|DCGM|pinned", re.IGNORECASE)
_NOISE = re.compile(r"^[EWI]\d+ [\d:.]+ +\d+ [\w.]+:\d+\] ?")

# Stays between us and the server: when its standard input closes, we are gone, and so go the server and the stubs of
# its python backend, which outlive a server that is killed, with the memory they shared.
_KEEPER = """
import glob, os, shutil, signal, subprocess, sys, threading
folder, prefix = sys.argv[1:3]
server = subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL)
def follow():
    code = server.wait()
    os._exit(code if code >= 0 else 128 - code)
threading.Thread(target=follow, daemon=True).start()
sys.stdin.buffer.read()
for left in glob.glob("/dev/shm/" + prefix + "*"):
    os.unlink(left)
shutil.rmtree(folder, ignore_errors=True)
os.killpg(0, signal.SIGKILL)
"""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes:
        http: ``http://127.0.0.1:PORT``.
        grpc: ``grpc://127.0.0.1:PORT``.
        metrics: Where its metrics are.
        process: What keeps it: ends when the server does, and ends it when this process does.
        log: Its log file.
        repository: The folder it serves.
    """

    http: str
    grpc: str
    metrics: str
    process: subprocess.Popen[bytes]
    log: Path
    repository: Path

    def kill(self) -> None:
        """Kills it at once, as a machine that goes away would."""
        _end(self.process)

    def causes(self) -> list[str]:
        """What its log gives as errors, without what a machine without a GPU always says."""
        return causes(self.log.read_text(encoding="utf-8", errors="replace"))


def causes(log: str) -> list[str]:
    """The errors of a server's log, without their prefix and without what a machine without a GPU always says."""
    lines = [line for line in log.splitlines() if line.startswith(("E", "error:"))]
    said = [_NOISE.sub("", line).strip('"') for line in lines if not _HARMLESS.search(line)]
    return [line.split("\\n", 1)[0] for line in said]  # a python backend's traceback follows


@contextlib.contextmanager
def serving(
    repository: Path,
    *,
    environment: ServerEnvironment | None = None,
    flags: Sequence[str] = (),
    cache_bytes: int = 16 << 20,
    onnx: Path | None = None,
) -> Iterator[RunningServer]:
    """Starts a server in explicit mode on free ports of the loopback; it is gone at the end.

    Args:
        repository: What it serves; each model has ``configs/cpu.pbtxt`` and its ONNX beside its plan (``copied``).
        environment: The installed server; by default the one in the user's cache.
        flags: More of the server's flags, such as ``--log-verbose=1``.
        cache_bytes: Size of the response cache, bytes.
        onnx: A folder of ``<SHA-256 of a plan>.onnx``, for versions that come without their ONNX beside them.

    Raises:
        MissingDependencyError: It has not been set up.
        ServerError: It did not start; its log says why.
    """
    installed = environment or hold_installed()
    with tempfile.TemporaryDirectory(prefix="trtbuild-server-") as name:
        folder = Path(name)
        backends = _backends(folder / "backends", installed)
        fixed = [
            f"--model-repository={repository.resolve()}", "--model-control-mode=explicit",
            f"--model-config-name={CPU_CONFIG}", "--disable-auto-complete-config",
            f"--backend-directory={backends}", f"--cache-directory={installed.caches}",
            f"--cache-config=local,size={cache_bytes}", "--allow-gpu-metrics=false", "--exit-timeout-secs=3",
            f"--backend-config=python,shm-region-prefix-name={_prefix(folder)}",
            f"--backend-config=tensorrt,shm-region-prefix-name={_prefix(folder)}", *flags,
        ]  # fmt: skip
        known = {"TRTBUILD_STANDIN_ONNX": str(onnx.resolve())} if onnx else {}
        server = _start(installed, fixed, folder, repository, known)
        try:
            yield server
        finally:
            _end(server.process)
            for left in Path("/dev/shm").glob(f"{_prefix(folder)}*"):  # noqa: S108 - a killed server leaves them there
                left.unlink(missing_ok=True)


def _prefix(folder: Path) -> str:
    return f"{folder.name}-"


def _backends(folder: Path, installed: ServerEnvironment) -> Path:
    """A folder of backends: the wheel's python backend, and the stand-in as ``tensorrt``."""
    (folder / "tensorrt").mkdir(parents=True)
    shutil.copyfile(_STANDIN, folder / "tensorrt" / "model.py")
    (folder / "python").symlink_to(installed.python_backend, target_is_directory=True)
    return folder


def _start(
    installed: ServerEnvironment, fixed: Sequence[str], folder: Path, repository: Path, variables: Mapping[str, str]
) -> RunningServer:
    log = folder / _LOG
    for _ in range(_TRIES):
        ports = _free_ports(3)
        addresses = [
            word
            for service, port in zip(("http", "grpc", "metrics"), ports, strict=True)
            for word in (f"--{service}-address={LOOPBACK}", f"--{service}-port={port}")
        ]
        process = _launch([str(installed.binary), *fixed, *addresses], installed, folder, variables)
        http, grpc, metrics = (f"{LOOPBACK}:{port}" for port in ports)
        if _lives(process, ports):
            return RunningServer(
                f"http://{http}", f"grpc://{grpc}", f"http://{metrics}/metrics", process, log, repository
            )
        _end(process)
        said = log.read_text(encoding="utf-8", errors="replace")
        if "already in use" not in said:
            break
    reasons = causes(said) or said.strip().splitlines()[-3:]
    raise ServerError(
        f"the Triton server did not start: {'; '.join(reasons) or f'it ended with status {process.returncode}'}",
        place=str(installed.binary),
        hint="if the environment is damaged, delete its folder and run `trtbuild serve-check --setup` again",
    )


def _launch(
    words: Sequence[str], installed: ServerEnvironment, folder: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """The process, in the packages' folder.

    The python backend's interpreter hears no PYTHONPATH and looks into the current folder first: there it finds NumPy
    and ONNX Runtime, and no ``model.py`` that would shadow the backend's own.
    """
    kept = {k: v for k, v in os.environ.items() if k not in OWN_VARIABLES}
    with (folder / _LOG).open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(folder), _prefix(folder), *words],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, cwd=installed.folder,
            env={**kept, **installed.variables(), **variables, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches the parent only; it decides
        )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets: list[Any] = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _lives(process: subprocess.Popen[bytes], ports: Sequence[int]) -> bool:
    """Waits until the server answers and takes calls on every port; False where it ended instead, or does not."""
    from http.client import HTTPConnection, HTTPException

    end = time.monotonic() + _LIVE_WITHIN_S
    while time.monotonic() < end and process.poll() is None:
        with (
            contextlib.suppress(OSError, HTTPException),
            contextlib.closing(HTTPConnection(LOOPBACK, ports[0], timeout=2)) as asked,
        ):
            asked.request("GET", "/v2/health/live")
            if asked.getresponse().status == 200:
                for port in ports[1:]:  # HTTP is the first to answer
                    socket.create_connection((LOOPBACK, port), timeout=2).close()
                return process.poll() is None
        time.sleep(0.03)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the server, its keeper and its stubs, which are one group: it has nothing to put in order."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
