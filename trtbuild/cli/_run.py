"""Runs a command to its exit code: errors with place, cause and remedy, and Ctrl-C that ends within a second."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from trtbuild.errors import EXIT_INTERRUPTED, MissingDependencyError, TrtbuildError, UsageError

if TYPE_CHECKING:
    from trtbuild.console import Console

if TYPE_CHECKING:
    from trtbuild.console import Console

GRACE = 0.75  # seconds that Python code has to end by itself after Ctrl-C; a build takes up to 0.5 of them


def run(group: click.Group, words: Sequence[str]) -> int:
    """Runs a command line.

    Args:
        group: The commands.
        words: The command line without the program's name.

    Returns:
        The exit code: 0 done, 1 a bug of ours, 2 usage or spec, 3 model, 4 build, 5 accuracy, 6 speed, 7 integrity,
        8 a missing package or device, 130 interrupted.
    """
    with ending_on_interrupt():
        try:
            group.main(list(words), prog_name="trtbuild", standalone_mode=False)
        except click.exceptions.Exit as error:
            return error.exit_code
        except click.ClickException as error:
            error.show()
            if "--json" in words:
                _console(words).document(UsageError(error.format_message(), hint="--help shows what there is"))
            return error.exit_code
        except (KeyboardInterrupt, click.exceptions.Abort):
            _say_interrupted()
            return EXIT_INTERRUPTED
        except TrtbuildError as error:
            _console(words).error(error)
            _show_traceback(words, error)
            return error.exit_code
        except ImportError as error:
            _console(words).error(_missing(error))
            _show_traceback(words, error)
            return MissingDependencyError.exit_code
        except BrokenPipeError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the one place where a bug of ours ends
            bug = TrtbuildError(
                f"{type(error).__name__}: {error}",
                place="trtbuild",
                hint="a bug of ours: please report it with what -vv shows; finished stages are kept",
            )
            _console(words).error(bug)
            _show_traceback(words, error)
            return bug.exit_code
    return 0


def end(code: int) -> NoReturn:
    """Ends the program; after Ctrl-C at once, for taking large libraries down takes longer than a person waits."""
    if code == EXIT_INTERRUPTED:
        from trtbuild.worker import kill_all

        kill_all()
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _console(words: Sequence[str]) -> Console:
    from trtbuild.console import Console

    return Console(as_json="--json" in words)


def _missing(error: ImportError) -> MissingDependencyError:
    extras = {
        "torch": "torch", "transformers": "torch", "onnxscript": "torch", "tensorrt_rtx": "rtx", "tensorrt": "gpu",
        "pycuda": "gpu", "cuda": "gpu", "tritonclient": "triton", "sklearn": "demo", "tokenizers": "readers",
        "PIL": "readers", "cryptography": "sign", "fsspec": "remote",
        "gevent": "triton", "geventhttpclient": "triton",
    }  # fmt: skip
    name = (error.name or "").split(".")[0]
    extra = extras.get(name)
    hint = f"pip install 'trtbuild[{extra}]'" if extra else f"pip install {name}" if name else "see `trtbuild doctor`"
    return MissingDependencyError(f"{error}", place="import", hint=hint)


def _show_traceback(words: Sequence[str], error: BaseException) -> None:
    short = sum(w.count("v") for w in words if re.fullmatch("-[vq]+", w))
    if short + sum(w == "--verbose" for w in words) < 2:
        return
    traceback.print_exception(error)
    inner = getattr(error, "child_traceback", None)
    if inner:
        sys.stderr.write(f"in the worker process:\n{inner}\n")


_said = threading.Event()


def _say_interrupted() -> None:
    """Says it once, whether Python ends by itself or is ended."""
    from trtbuild.store import default_root

    if _said.is_set():
        return
    _said.set()

    text = f"\ninterrupted; finished stages are kept in {default_root()}: run the same command to go on\n"
    os.write(2, text.encode())


@contextlib.contextmanager
def ending_on_interrupt() -> Iterator[None]:
    """Ends the program within a second of Ctrl-C, also while a library's own code runs and Python's cannot.

    Everything on disk is written beside its place and renamed, so that ending at once loses nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    old_term = signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGTERM, old_term)
        os.close(writer)


def _watch(reader: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            received = os.read(reader, 1)
            if not received:
                return
            if received[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            time.sleep(GRACE)
            from trtbuild.worker import kill_all

            kill_all()
            _say_interrupted()
            os._exit(EXIT_INTERRUPTED)
