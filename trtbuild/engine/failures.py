"""Why TensorRT gave no plan, and the lever to pull: TensorRT's words, sorted.

TensorRT-RTX 1.7.1's words were seen with it. Those of TensorRT 10 and 11, which need a GPU, are from users' reports,
named beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild.errors import (
    BuildCancelledError,
    BuildError,
    NoTacticError,
    OutOfMemoryError,
    ProfileError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from trtbuild.artifacts import Target
    from trtbuild.engine.log import Log

_SMALLER = "narrow the profiles' max sizes, or take a lower precision; close what else uses the GPU"
_WORKSPACE = "raise build.workspace_mib, or leave it out; or narrow the profiles' max sizes"
_SIZES = "profiles: [{axis: [min, opt, max]}] with min <= opt <= max; every size must be one the model can take"
_ELSEWHERE = "change the model there, or leave it out of the engine; `trtbuild rewrite -v` says what rules could do"


@dataclass(frozen=True)
class Failure:
    """A kind of failure.

    Attributes:
        words: A pattern for what TensorRT logs, in any case.
        kind: The error that is raised.
        lever: What the user can do, in the spec's words.
    """

    words: str
    kind: type[BuildError]
    lever: str


FAILURES = (
    Failure(r"BuildCanceled|Build canceled by user", BuildCancelledError, "run the same command to go on"),
    # Seen with RTX 1.7.1: a workspace of 0 bytes, and of too few.
    Failure(
        r"requires workspace memory greater than|within workspace limit|insufficient workspace",
        OutOfMemoryError,
        _WORKSPACE,
    ),
    # TensorRT 10.3 (NVIDIA/TensorRT#4258): the first line is the cause, and the last one speaks of implementations.
    Failure(
        r"out ?of ?memory|could not be allocated|error allocating|device memory is insufficient|bad_alloc|"
        r"insuff?icient memory on requested size|cannot allocate memory",
        OutOfMemoryError,
        _SMALLER,
    ),
    # TensorRT 8.6 to 10 (onnx-tensorrt#758, NVIDIA/TensorRT#2791): often memory, and nothing in the log says so.
    Failure(
        r"could not find any implementation|no tactics to implement",
        NoTacticError,
        "often memory under another name: raise build.workspace_mib, narrow the profiles' max sizes, and close what "
        "else uses the GPU; else take another precision for the node with precision_overrides",
    ),
    # Seen with RTX 1.7.1, each.
    Failure(r"no optimization profile has been defined", ProfileError, f"add {_SIZES}"),
    Failure(
        r"invalid optimization profiles|for tensor .+ and profile \d|values for profile \d+ violate|profile->isValid",
        ProfileError,
        _SIZES,
    ),
    Failure(
        r"not supported by a dedicated kernel",
        UnsupportedError,
        "export with an opset below 23, which has no Attention operator: --set model.opset=20; or take precision fp16",
    ),
    Failure(
        r"FP32 GEMM is not supported",
        UnsupportedError,
        "this GPU has no FP32 matrix kernels here: take precision: fp16, or another of targets",
    ),
    Failure(
        r"cannot compile for target.+HW-specific datatypes",
        UnsupportedError,
        "this target has no such number format: take precision: fp16 or int8, or another of targets",
    ),
    Failure(
        r"not (?:currently )?supported|unsupported|exceeds the maximum value allowed|does not support",
        UnsupportedError,
        _ELSEWHERE,
    ),
)
"""From the top: what names a cause goes before what names a consequence."""


def build_error(log: Log, target: Target, *, cancelled: bool = False) -> BuildError:
    """The error for a build that gave no plan.

    Args:
        log: What TensorRT said.
        target: What was built for.
        cancelled: Whether the build was told to end.
    """
    place = f"target {target.name}"
    if cancelled:
        return BuildCancelledError("the build was told to end, and did", place=place)
    kind, lever = classify(log.errors(), log.warnings())
    return kind(f"TensorRT did not build the engine:\n    {log.said()}", place=place, hint=lever)


def classify(errors: Iterable[str], warnings: Iterable[str] = ()) -> tuple[type[BuildError], str]:
    """The kind of error and the lever to pull.

    Args:
        errors: TensorRT's error lines.
        warnings: Its warnings. Where no kernel was found, they tell whether memory was the cause.

    Example:
        >>> classify(["Error Code 2: OutOfMemory (Requested size was 16581132288 bytes.)"])[0].__name__
        'OutOfMemoryError'
    """
    found = _first(errors)
    if found is not None and found.kind is NoTacticError:
        cause = _first(warnings)
        found = cause if cause is not None and cause.kind is OutOfMemoryError else found
    return (found.kind, found.lever) if found else (BuildError, "the lines are TensorRT's own, the cause first")


def _first(lines: Iterable[str]) -> Failure | None:
    text = "\n".join(lines)
    return next((f for f in FAILURES if re.search(f.words, text, re.IGNORECASE)), None)
