"""Runs a function of ours in a child process that may crash, hang or be cancelled without hurting anyone.

TensorRT can die of a signal on a malformed model, keeps one flavour a process, and swallows Ctrl-C. So it runs in a
child: JSON in on standard input, events as JSON lines out, and one result or one error at the end. The child ends by
itself when its parent does: its standard input closes. What a library prints there goes to a log file.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from trtbuild import errors
from trtbuild.errors import TrtbuildError, WorkerCrashedError

Emit = Callable[[Mapping[str, Any]], None]
"""What the child's function calls to tell its parent something."""

_LAST_LINES = 15
_children: set[subprocess.Popen[str]] = set()


def call(
    function: str,
    request: Mapping[str, Any],
    *,
    on_event: Emit = lambda _event: None,
    timeout_s: float = 3600,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Calls ``function(request, emit)`` in a child process.

    Args:
        function: ``package.module:function``; it must be importable.
        request: JSON values for it.
        on_event: Called with each event it emits.
        timeout_s: Seconds after which the child is killed.
        environment: Variables to set on top of this process's.

    Returns:
        What the function returned, through JSON.

    Raises:
        TrtbuildError: The one the function raised.
        WorkerCrashedError: The child died of a signal, exited without an answer, or ran past ``timeout_s``.
    """
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as noise:
        child = subprocess.Popen(
            [sys.executable, "-m", "trtbuild.worker", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C reaches the parent only; it decides
        )
        _children.add(child)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            child.kill()

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            answer = _converse(child, request, on_event)
            child.wait()
        finally:
            timer.cancel()
            child.kill()
            child.wait()
            _children.discard(child)
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if answer is None:
            raise _crash(child.returncode, _tail(noise), timeout_s if expired.is_set() else None)
        if "error" in answer:
            raise _error_from(answer["error"])
        return answer["result"]


def kill_all() -> None:
    """Kills every child that still runs; for an interrupted program that must end now."""
    for child in list(_children):
        with contextlib.suppress(OSError):
            child.kill()


def _converse(child: subprocess.Popen[str], request: Mapping[str, Any], on_event: Emit) -> dict[str, Any] | None:
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


def _tail(noise: IO[str]) -> str:
    noise.seek(0)
    return "".join(noise.readlines()[-_LAST_LINES:]).rstrip()


def _crash(code: int, tail: str, expired_after: float | None) -> WorkerCrashedError:
    last = f"\n  its last lines:\n{_indent(tail)}" if tail else ""
    if expired_after is not None:
        return WorkerCrashedError(
            f"the TensorRT process was stopped after {expired_after:g} s{last}",
            place="worker",
            hint="raise build.timeout_s, or narrow the optimisation profiles",
        )
    if code < 0:
        cause = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = (
            "the operating system may have run out of memory: close other programs, or build one target at a time"
            if -code == signal.SIGKILL
            else "TensorRT crashed on this model: check it with onnx.checker, and report it with the typed ONNX"
        )
        return WorkerCrashedError(f"the TensorRT process died of {cause}{last}", place="worker", hint=hint)
    return WorkerCrashedError(
        f"the TensorRT process ended with status {code} and no answer{last}", place="worker", hint="-vv shows more"
    )


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _error_from(document: Mapping[str, Any]) -> TrtbuildError:
    kind = getattr(errors, str(document["kind"]), TrtbuildError)
    error: TrtbuildError = kind(document["message"], place=document["place"], hint=document["hint"])
    error.child_traceback = document.get("traceback") or None
    return error


# ------------------------------------------------------------------------------------------------- in the child


def _serve(function: str) -> None:
    """The child's side: one request, events, one answer."""
    import traceback

    _leave_current_folder()

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints to standard output joins the noise
    lock = threading.Lock()

    def send(message: Mapping[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(message) + "\n")

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    module, _, name = function.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(request, lambda event: send({"event": event}))
        send({"result": result})
    except TrtbuildError as error:
        send({"error": _document(type(error).__name__, error.message, error.place, error.hint, "")})
    except OSError as error:
        if not errors.refuses_to_write(error):
            raise
        refused = errors.as_output_error(error, str(error.filename or ""))
        send({"error": _document("OutputError", refused.message, refused.place, refused.hint, "")})
    except Exception as error:  # noqa: BLE001 - reported to the parent, which decides
        text = traceback.format_exc()
        send({"error": _document("TrtbuildError", f"{type(error).__name__}: {error}", function, None, text)})
    answers.flush()


def _leave_current_folder() -> None:
    """Takes the current folder off the import path, unless trtbuild itself is imported from it.

    ``python -m`` puts it first, and a user's ``tensorrt.py`` there would be taken for TensorRT.
    """
    home = Path(__file__).resolve().parent.parent
    if sys.path and Path(sys.path[0] or ".").resolve() != home:
        del sys.path[0]


def _document(kind: str, message: str, place: str | None, hint: str | None, text: str) -> dict[str, Any]:
    return {"kind": kind, "message": message, "place": place, "hint": hint, "traceback": text}


def _die_with_parent() -> None:
    while sys.stdin.readline():
        pass
    os._exit(1)


if __name__ == "__main__":
    _serve(sys.argv[1])
