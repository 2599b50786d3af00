"""The child's side of the worker: a script that any Python from 3.10 on runs, whatever is installed there.

It answers one request and ends. The current folder is not on its import path: a user's ``tensorrt.py`` there would be
taken for TensorRT. trtbuild is taken from where this file lies, and nothing else from there, so that a Python with
another TensorRT keeps its own packages.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CANCEL = "cancel"
"""The line by which the parent asks the child to end."""

GRACE = 0.5
"""Seconds that the work has to end by itself when it is cancelled."""

CANCELLED = 130
"""Exit status of a child that was cancelled and whose work did not end by itself."""


def main(function: str) -> None:
    """Takes one request from standard input, sends events, and one answer, to standard output."""
    _bring_trtbuild()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints to standard output joins the noise
    lock, cancelled = threading.Lock(), threading.Event()

    def send(message: str) -> None:
        with lock:
            answers.write(message + "\n")

    def emit(event: Mapping[str, Any]) -> bool:
        send(json.dumps({"event": event}))
        return not cancelled.is_set()

    def cancel() -> None:
        if not cancelled.is_set():
            cancelled.set()
            last = threading.Timer(GRACE, os._exit, [CANCELLED])
            last.daemon = True
            last.start()

    _cancel_on_signals(cancel)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, args=(cancel,), daemon=True).start()
    send(_answer(function, request, emit))
    answers.flush()


def _bring_trtbuild() -> None:
    """Makes trtbuild importable from where this file lies, without what is installed beside it."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [p for p in sys.path if p and Path(p).resolve() != here]
    home = here.parent
    found = importlib.util.spec_from_file_location(
        "trtbuild", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    if found is None or found.loader is None:
        raise ImportError(f"no trtbuild in {home}")
    package = importlib.util.module_from_spec(found)
    sys.modules["trtbuild"] = package
    found.loader.exec_module(package)


def _answer(function: str, request: Any, emit: Callable[[Mapping[str, Any]], bool]) -> str:
    """The last line that the parent reads: the function's result, or its error."""
    import traceback

    from trtbuild import errors

    module, _, name = function.partition(":")
    try:
        return json.dumps({"result": getattr(importlib.import_module(module), name)(request, emit)})
    except errors.TrtbuildError as error:
        document = _document(error)
    except OSError as error:
        if not errors.refuses_to_write(error):
            raise
        document = _document(errors.as_output_error(error, str(error.filename or "")))
    except Exception as error:  # noqa: BLE001 - reported to the parent, which decides
        ours = errors.TrtbuildError(f"{type(error).__name__}: {error}", place=function)
        document = {**_document(ours), "traceback": traceback.format_exc()}
    return json.dumps({"error": document})


def _document(error: Any) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "place": error.place,
        "hint": error.hint,
        "result": error.result,
    }


def _cancel_on_signals(cancel: Callable[[], None]) -> None:
    """Cancels on Ctrl-C and on being told to end.

    A thread waits for the signals: Python runs a handler in the main thread only, and that is inside of TensorRT.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def wait() -> None:
        signal.sigwait(numbers)
        cancel()

    threading.Thread(target=wait, daemon=True).start()


def _listen(cancel: Callable[[], None]) -> None:
    """Cancels when the parent says so, and ends the process when the parent is gone."""
    for line in sys.stdin:
        if line.strip() == CANCEL:
            cancel()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
