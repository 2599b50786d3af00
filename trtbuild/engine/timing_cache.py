"""Times of kernels that earlier builds took, so that a build need not take them again; runs in the worker process.

Shared: one file for each TensorRT version and GPU in the user's cache. It is read before a build and merged with what
is in it by then after one, both under a lock, and put in place by a rename: builds that run at once lose nothing. The
lock is the operating system's own: a worker process may have nothing but TensorRT installed.

Pinned: a file that the user names. It is read and never written, and a kernel that is not in it is an error, so two
builds take the same kernels.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trtbuild import device
from trtbuild.artifacts import BuildOptions
from trtbuild.engine.names import TIMING_CACHE, abilities, called, hold_names
from trtbuild.engine.options import Builder, set_flag
from trtbuild.errors import BuildError, IntegrityError


def shared_file(folder: Path, trt: Any) -> Path:
    """The file of this TensorRT on this machine's first GPU: times of another are of no use."""
    gpu = device.gpus()[0].name if device.gpus() else "no GPU"
    return folder / (re.sub(r"[^A-Za-z0-9.]+", "-", f"{trt.__name__} {trt.__version__} {gpu}") + ".timing")


def start(to: Builder, options: BuildOptions, folder: Path) -> list[str]:
    """Gives a builder the times that its options say; nothing where it times no kernels.

    Args:
        to: The builder.
        options: The build's options.
        folder: Where the shared files lie.

    Returns:
        Warnings.

    Raises:
        IntegrityError: A pinned file is not there, or it is another TensorRT's or GPU's.
    """
    if not abilities(to.trt).timing_cache_effective:
        return []
    hold_names(to.trt, TIMING_CACHE)
    if options.pinned_cache is not None:
        return _start_pinned(to, options.pinned_cache)
    if options.timing_cache == "shared":
        return _start_shared(to, shared_file(folder, to.trt))
    to.config.set_timing_cache(to.config.create_timing_cache(b""), False)
    return []


def keep(to: Builder, options: BuildOptions, folder: Path, *, beside: Path) -> Path | None:
    """Writes a build's times, and those that it began with, beside its plan, and adds them to the shared ones.

    Returns:
        The file beside the plan; None where the builder times no kernels.
    """
    if not abilities(to.trt).timing_cache_effective:
        return None
    cache = to.config.get_timing_cache()
    if cache is None:
        raise BuildError("TensorRT keeps no timing cache", place="TensorRT", hint="report it, with the build's log")
    file = beside.with_suffix(".timing")
    _replace(file, bytes(cache.serialize()))
    if options.timing_cache == "shared":
        _merge_shared(to, shared_file(folder, to.trt))
    return file


def _start_shared(to: Builder, file: Path) -> list[str]:
    """Takes the times in a shared file; a warning where it cannot be used, and the build begins without."""
    cache = to.config.create_timing_cache(_read(file))
    if cache is not None and to.config.set_timing_cache(cache, False):
        return []
    to.config.set_timing_cache(to.config.create_timing_cache(b""), False)
    return [f"the timing cache {file} was made by another TensorRT or GPU, and is made anew"]


def _start_pinned(to: Builder, file: Path) -> list[str]:
    """Takes the times in a file the user named, and no others."""
    hold_names(to.trt, ["BuilderFlag.ERROR_ON_TIMING_CACHE_MISS"])
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
    return []


def _merge_shared(to: Builder, file: Path) -> None:
    """Adds the times of a build to what other builds have put into the shared file meanwhile."""
    with _locked(file):
        cache = to.config.get_timing_cache()
        others = file.read_bytes() if file.is_file() else b""
        held = to.config.create_timing_cache(others) if others else None
        if held is not None:
            cache.combine(held, False)  # False: another GPU's are left out
        _replace(file, bytes(cache.serialize()))


def _read(file: Path) -> bytes:
    with _locked(file):
        return file.read_bytes() if file.is_file() else b""


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds a lock beside a file; it goes when its holder does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, data: bytes) -> None:
    """Puts a file in place whole: who reads it meanwhile sees the old one."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    partial.replace(file)
