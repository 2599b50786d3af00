"""Every error a user can meet, with its exit code.

::

    TrtbuildError                   1  a bug of ours, when raised bare
    ├── UsageError                  2  the command line, or something it names
    │   ├── SpecError                  the spec file: carries its line
    │   ├── FeedError                  inputs from a reader do not fit the model
    │   └── OutputError                a folder that cannot be written, a full disk
    ├── ModelError                  3  the model
    │   ├── ExportError                cannot be exported from PyTorch
    │   └── InvalidOnnxError           is not a sound ONNX file
    ├── BuildError                  4  the engine build
    │   ├── OutOfMemoryError           the builder ran out of memory, or of the workspace it may take
    │   ├── NoTacticError              no kernel implements a layer
    │   ├── UnsupportedError           TensorRT parses it and cannot build it for this target
    │   ├── ProfileError               an optimisation profile does not fit the model
    │   ├── PrecisionError             the plan does not run in the precision asked for
    │   ├── WorkerCrashedError         the builder's process died
    │   │   ├── BuildTimeoutError         it ran past its time
    │   │   └── MemoryLimitError          it took more memory than it may
    │   └── BuildCancelledError    130  someone told it to end
    ├── AccuracyError               5  the accuracy gate
    ├── SpeedError                  6  the speed gate
    ├── IntegrityError              7  a digest or a version does not match
    ├── MissingDependencyError      8  a package or a device is missing
    └── ServerError                 9  a Triton server does not start, load a model, or answer

An error names the place, the cause and the remedy: ``place``, the message, and ``hint``.
"""

from __future__ import annotations

import errno
from typing import ClassVar

EXIT_INTERRUPTED = 130


class TrtbuildError(Exception):
    """The root of everything trtbuild raises on purpose.

    Args:
        message: What is wrong, one sentence.
        place: Where: a file, ``file:line``, an input's or a node's name.
        hint: What to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint
        self.result: object = None  # JSON values that were measured before it was raised, for --json
        self.child_traceback: str | None = None  # where it was raised, when that was in another process

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        remedy = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.place, self.hint)


def _rebuild(kind: type[TrtbuildError], message: str, place: str | None, hint: str | None) -> TrtbuildError:
    return kind(message, place=place, hint=hint)


class UsageError(TrtbuildError):
    """The command line, or something that it names, is wrong."""

    exit_code = 2


class SpecError(UsageError):
    """The spec is wrong; ``place`` is ``file:line``."""


class FeedError(UsageError):
    """A reader's samples do not fit the model: wrong name, shape, dtype, NaN, or none at all."""


class OutputError(UsageError):
    """A result cannot be written where the user asked for it."""


class ModelError(TrtbuildError):
    """The model cannot be exported, read or parsed."""

    exit_code = 3


class ExportError(ModelError):
    """The PyTorch model cannot be exported, or its ONNX gives other numbers."""


class InvalidOnnxError(ModelError):
    """The file is not a sound ONNX model."""


class BuildError(TrtbuildError):
    """TensorRT did not build the engine."""

    exit_code = 4


class OutOfMemoryError(BuildError):
    """TensorRT ran out of memory: the device's, the machine's, or the workspace it was allowed."""


class NoTacticError(BuildError):
    """TensorRT has no kernel for a layer, or none within its limits."""


class UnsupportedError(BuildError):
    """TensorRT takes the graph and cannot build a part of it for this target."""


class ProfileError(BuildError):
    """An optimisation profile is missing, or does not fit the model."""


class PrecisionError(BuildError):
    """The engine was built but does not run in the precision that was asked for."""


class WorkerCrashedError(BuildError):
    """The process that ran TensorRT died of a signal or ended without an answer."""


class BuildTimeoutError(WorkerCrashedError):
    """The process that ran TensorRT was stopped at its time limit."""


class MemoryLimitError(WorkerCrashedError):
    """The process that ran TensorRT was stopped at its memory limit."""


class BuildCancelledError(BuildError):
    """The process that ran TensorRT was told to end, by someone else than trtbuild."""

    exit_code = EXIT_INTERRUPTED


class AccuracyError(TrtbuildError):
    """The accuracy gate did not pass."""

    exit_code = 5


class SpeedError(TrtbuildError):
    """The speed gate did not pass."""

    exit_code = 6


class IntegrityError(TrtbuildError):
    """A file is not the one its manifest names, or it does not fit what it is used with."""

    exit_code = 7


class MissingDependencyError(TrtbuildError):
    """A package or a device that this step needs is missing."""

    exit_code = 8


class ServerError(TrtbuildError):
    """A Triton server does not start, cannot load a model, or does not answer."""

    exit_code = 9


def missing_package(package: str, extra: str, *, needed_for: str) -> MissingDependencyError:
    """The error for an optional package that is not installed, naming the extra that brings it."""
    return MissingDependencyError(
        f"the package {package!r} is not installed, and {needed_for} needs it",
        hint=f"pip install 'trtbuild[{extra}]'",
    )


_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space and run again; finished stages are kept",
    errno.EDQUOT: "the disk quota is used up: free some space and run again; finished stages are kept",
    errno.EROFS: "the file system is read-only: choose another folder with --output or TRTBUILD_CACHE",
    errno.EACCES: "no permission to write there: choose another folder with --output or TRTBUILD_CACHE",
    errno.EPERM: "no permission to write there: choose another folder with --output or TRTBUILD_CACHE",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another folder with --output or TRTBUILD_CACHE",
    errno.EISDIR: "a folder is in the way: name a file",
    errno.EEXIST: "a file is in the way: choose another folder with --output or TRTBUILD_CACHE",
    errno.EFBIG: "the file is larger than the file system or a limit allows",
}


def refuses_to_write(error: OSError) -> bool:
    """True for the errors by which an operating system says that a place cannot be written."""
    return error.errno in _REMEDIES


def as_output_error(error: OSError, place: str) -> OutputError:
    """Turns an operating system's refusal to write into an error with a remedy."""
    hint = _REMEDIES.get(error.errno or 0, "choose another folder with --output, or look into the cause")
    return OutputError(f"cannot write: {error.strerror or error}", place=place, hint=hint)
