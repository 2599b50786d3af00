"""Runs a function of ours in a child process that may crash, hang or be cancelled without hurting anyone.

TensorRT can die of a signal on a malformed model, keeps one flavour a process, and swallows Ctrl-C. So it runs in a
child: JSON in on standard input, events as JSON lines out, and one result or one error at the end. The child ends by
itself when its parent does: its standard input closes. What a library prints there goes to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from trtbuild import errors
from trtbuild.errors import (
    BuildCancelledError,
    BuildTimeoutError,
    MemoryLimitError,
    TrtbuildError,
    WorkerCrashedError,
)
from trtbuild.interpreters import OWN_VARIABLES
from trtbuild.worker.child import CANCEL, CANCELLED, GRACE
from trtbuild.worker.limits import Limits, hold_measurable

Emit = Callable[[Mapping[str, Any]], "bool | None"]
"""What the child's function calls to tell its parent something; False says that the work is cancelled."""

_CHILD = Path(__file__).with_name("child.py")
_LAST_LINES = 15
_children: set[subprocess.Popen[str]] = set()


def call(
    function: str,
    request: Mapping[str, Any],
    *,
    on_event: Callable[[Mapping[str, Any]], object] = lambda _event: None,
    timeout_s: float = 3600,
    memory_limit_mib: int | None = None,
    environment: Mapping[str, str] | None = None,
    python: str | None = None,
) -> Any:
    """Calls ``function(request, emit)`` in a child process.

    When this call is left by an exception (Ctrl-C, or one of ``on_event``), the child is told to end, and killed
    where it has not within half a second.

    Args:
        function: ``package.module:function``; it must be importable.
        request: JSON values for it.
        on_event: Called with each event it emits.
        timeout_s: Seconds after which the child is killed.
        memory_limit_mib: MiB of memory of its own above which the child is killed; None for no limit.
        environment: Variables to set on top of this process's.
        python: The interpreter to run it with; this process's own when left out or empty. It needs nothing of
            trtbuild's installed.

    Returns:
        What the function returned, through JSON.

    Raises:
        TrtbuildError: The one the function raised.
        BuildTimeoutError: The child ran past ``timeout_s``.
        MemoryLimitError: It held more than ``memory_limit_mib``.
        BuildCancelledError: Someone else told it to end.
        WorkerCrashedError: It died of a signal, or exited without an answer.
    """
    if memory_limit_mib is not None:
        hold_measurable()
    last: dict[str, Any] = {}

    def take(event: Mapping[str, Any]) -> None:
        last.update(event)
        on_event(event)

    with (
        tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as noise,
        _child_of(function, noise, python, environment or {}) as child,
        (limits := Limits(child, timeout_s, memory_limit_mib)).watching(),
    ):
        try:
            answer = _converse(child, request, take)
        except BaseException:
            _cancel(child)
            raise
        child.wait()
        if answer is None:
            raise _death(child.returncode, limits, timeout_s, memory_limit_mib, _circumstances(last, noise))
        if "error" in answer:
            raise _error_from(answer["error"])
        return answer["result"]


def kill_all() -> None:
    """Kills every child that still runs; for an interrupted program that must end now."""
    for child in list(_children):
        with contextlib.suppress(OSError):
            child.kill()


@contextlib.contextmanager
def _child_of(
    function: str, noise: IO[str], python: str | None, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The child process; it is gone at the end."""
    inherited = {k: v for k, v in os.environ.items() if not python or k not in OWN_VARIABLES}
    child = subprocess.Popen(
        [python or sys.executable, str(_CHILD), function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
        env={**inherited, **environment},
        start_new_session=True,  # Ctrl-C reaches the parent only; it decides
    )
    _children.add(child)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        _children.discard(child)
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _converse(
    child: subprocess.Popen[str], request: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], object]
) -> dict[str, Any] | None:
    if child.stdin is None or child.stdout is None:
        raise TypeError("the child was started without pipes")
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
    answer = None
    for line in child.stdout:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if "event" in message:
            on_event(message["event"])
        elif "result" in message or "error" in message:
            answer = message
    return answer


def _cancel(child: subprocess.Popen[str]) -> None:
    """Tells the child to end and gives it a moment: TensorRT looks up between two steps of a build only."""
    with contextlib.suppress(OSError, ValueError):
        if child.stdin is not None:
            child.stdin.write(CANCEL + "\n")
            child.stdin.flush()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)


def _circumstances(last: Mapping[str, Any], noise: IO[str]) -> str:
    """What the child was at and its last lines, to stand behind a message."""
    noise.seek(0)
    tail = "".join(noise.readlines()[-_LAST_LINES:]).rstrip()
    phase = f", in the phase {last['phase']!r}" if "phase" in last else ""
    lines = "".join(f"\n    {line}" for line in tail.splitlines())
    return phase + (f"\n  its last lines:{lines}" if tail else "")


def _death(
    code: int, limits: Limits, timeout_s: float, memory_limit_mib: int | None, circumstances: str
) -> WorkerCrashedError | BuildCancelledError:
    """Why a child ended without an answer."""
    if limits.expired:
        return BuildTimeoutError(
            f"the TensorRT process was stopped after {timeout_s:g} s{circumstances}",
            place="worker",
            hint="raise build.timeout_s, or narrow the profiles' max sizes",
        )
    if limits.held_mib is not None:
        return MemoryLimitError(
            f"the TensorRT process was stopped: it held {limits.held_mib} MiB of memory, the limit is "
            f"{memory_limit_mib}{circumstances}",
            place="worker",
            hint="raise build.memory_limit_mib, or narrow the profiles' max sizes; fewer profiles and a smaller model "
            "take less too",
        )
    if code == CANCELLED:
        return BuildCancelledError(f"the TensorRT process was told to end{circumstances}", place="worker")
    if code < 0:
        cause = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = (
            "the operating system may have run out of memory: close other programs, or build one target at a time; "
            "build.memory_limit_mib stops a build before that"
            if -code == signal.SIGKILL
            else "TensorRT crashed on this model: check it with onnx.checker, and report it with the typed ONNX"
        )
        return WorkerCrashedError(f"the TensorRT process died of {cause}{circumstances}", place="worker", hint=hint)
    return WorkerCrashedError(
        f"the TensorRT process ended with status {code} and no answer{circumstances}",
        place="worker",
        hint="-vv shows more",
    )


def _error_from(document: Mapping[str, Any]) -> TrtbuildError:
    kind = getattr(errors, str(document["kind"]), TrtbuildError)
    error: TrtbuildError = kind(document["message"], place=document["place"], hint=document["hint"])
    error.child_traceback = document.get("traceback") or None
    error.result = document.get("result")
    return error
