"""Times of kernels that earlier builds took, so that a build need not take them again; runs in the worker process.

Shared: one file for each TensorRT version and GPU in the user's cache. It is read before a build and merged with what
is in it by then after one, both under a lock, and put in place by a rename: builds that run at once lose nothing.

Pinned: a file that the user names. It is read and never written, and a kernel that is not in it is an error, so two
builds take the same kernels.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from trtbuild import device
from trtbuild.engine.names import TIMING_CACHE, called, hold_names
from trtbuild.engine.options import Builder, set_flag
from trtbuild.errors import BuildError, IntegrityError

_LOCK_TIMEOUT_S = 60  # reading and writing a few megabytes takes far less


def shared_file(folder: Path, trt: Any) -> Path:
    """The file of this TensorRT on this machine's first GPU: times of another are of no use."""
    gpu = device.gpus()[0].name if device.gpus() else "no GPU"
    return folder / (re.sub(r"[^A-Za-z0-9.]+", "-", f"{trt.__name__} {trt.__version__} {gpu}") + ".timing")


def start_shared(to: Builder, file: Path) -> list[str]:
    """Takes the times that are in a shared file.

    Returns:
        A warning where the file cannot be used; the build then begins without one.
    """
    hold_names(to.trt, TIMING_CACHE)
    cache = to.config.create_timing_cache(_read(file))
    if cache is not None and to.config.set_timing_cache(cache, False):
        return []
    to.config.set_timing_cache(to.config.create_timing_cache(b""), False)
    return [f"the timing cache {file} was made by another TensorRT or GPU, and is made anew"]


def start_pinned(to: Builder, file: Path) -> None:
    """Takes the times in a file the user named, and no others.

    Raises:
        IntegrityError: There is no such file, or it is another TensorRT's or GPU's.
    """
    hold_names(to.trt, (*TIMING_CACHE, "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS"))
    place = f"build.timing_cache: {file}"
    if not file.is_file():
        raise IntegrityError("there is no such file", place=place, hint="`trtbuild compile` writes one beside a plan")
    cache = to.config.create_timing_cache(file.read_bytes())
    if cache is None or not to.config.set_timing_cache(cache, False):
        raise IntegrityError(
            f"{called(to.trt)} on this GPU cannot use it: it was made by another version or on another GPU",
            place=place,
            hint="build once with timing_cache: shared and take the file that lies beside the plan",
        )
    set_flag(to, "ERROR_ON_TIMING_CACHE_MISS", wanted=True)


def start_empty(to: Builder) -> None:
    """Begins without times; those of this build can still be written beside the plan."""
    hold_names(to.trt, TIMING_CACHE)
    to.config.set_timing_cache(to.config.create_timing_cache(b""), False)


def write(to: Builder, file: Path) -> None:
    """Writes the times that a build took, and those that it began with."""
    cache = to.config.get_timing_cache()
    if cache is None:
        raise BuildError("TensorRT keeps no timing cache", place="TensorRT", hint="write   build.timing_cache: off")
    _replace(file, bytes(cache.serialize()))


def merge_shared(to: Builder, file: Path) -> None:
    """Adds the times of a build to what other builds have put into the shared file meanwhile."""
    from filelock import FileLock

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=_LOCK_TIMEOUT_S):
        cache = to.config.get_timing_cache()
        others = file.read_bytes() if file.is_file() else b""
        held = to.config.create_timing_cache(others) if others else None
        if held is not None:
            cache.combine(held, False)  # False: another GPU's are left out
        _replace(file, bytes(cache.serialize()))


def _read(file: Path) -> bytes:
    from filelock import FileLock

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=_LOCK_TIMEOUT_S):
        return file.read_bytes() if file.is_file() else b""


def _replace(file: Path, data: bytes) -> None:
    """Puts a file in place whole: who reads it meanwhile sees the old one."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(file)
