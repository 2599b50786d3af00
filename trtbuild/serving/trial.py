"""A version on a live server under another name: ``<model>__trial`` answers, and nobody asks it but we."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trtbuild.errors import ServerError, TrtbuildError, UsageError
from trtbuild.serving.client import Client
from trtbuild.serving.copies import CONFIG, add_cpu_config, link, read_config, versions, write_config
from trtbuild.serving.server import CPU_CONFIG

TRIAL = "__trial"
_SETTLED_WITHIN_S = 120  # requests under way on the old version are answered first
_STEP_S = 0.05


def hold_new(folder: Path, version: int, served: Sequence[int]) -> None:
    """The version is there, and is not one that serves.

    Raises:
        UsageError: It is not so.
    """
    if version in served:
        raise UsageError(
            f"version {version} serves already", place=str(folder), hint="ship the model as another version"
        )
    if not folder.is_dir() or version not in versions(folder):
        there = ", ".join(map(str, versions(folder))) if folder.is_dir() else "none"
        raise UsageError(f"there is no version {version}", place=str(folder), hint=f"it has {there}")


@contextlib.contextmanager
def alone(repository: Path, model: str, wait_s: float) -> Iterator[None]:
    """One rollout of a model at a time."""
    from filelock import FileLock, Timeout

    place = _beside(repository)
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / f"{model}.lock", timeout=wait_s):
            yield
    except Timeout as error:
        raise UsageError(
            f"another rollout of {model} is under way", place=str(repository), hint="wait for it, and try again"
        ) from error


@contextlib.contextmanager
def on_trial(
    client: Client, repository: Path, model: str, version: int, change: Callable[[Any], None] = lambda _config: None
) -> Iterator[str]:
    """The version as a model of its own; unloaded and gone at the end, and what an earlier try left before.

    Args:
        client: The server.
        repository: The folder that it reads.
        model: The model.
        version: The version.
        change: What the trial's config has otherwise.

    Yields:
        The name to ask.

    Raises:
        ServerError: The server does not load it, or does not answer.
    """
    name = f"{model}{TRIAL}"
    _end_trial(client, repository, name)
    try:
        _lay_out_trial(repository, model, version, name, change)
        client.load(name)
        yield name
    except ServerError as error:
        raise ServerError(
            f"version {version} of {model} cannot be tried: {error.message}; {as_it_was(client, model)}",
            place=client.url,
            hint="the server must be in explicit mode, and read this repository; then try again",
        ) from error
    finally:
        _end_trial(client, repository, name)


def _lay_out_trial(repository: Path, model: str, version: int, name: str, change: Callable[[Any], None]) -> None:
    """A model folder with this version alone, moved into the repository as a whole."""
    source = repository / model
    beside = _beside(repository) / name
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.is_dir() and (not entry.name.isdigit() or int(entry.name) == version):
            shutil.copytree(entry, beside / entry.name, copy_function=link)
        elif entry.is_file():
            link(str(entry), str(beside / entry.name))
    own = beside / str(version) / "shipped" / CONFIG  # what `trtbuild ship` keeps of the config this version came with
    config = read_config(own.parent if own.is_file() else beside)
    config.name = name
    config.version_policy.Clear()
    config.response_cache.enable = False
    change(config)
    write_config(config, beside / CONFIG)
    if (beside / "configs" / f"{CPU_CONFIG}.pbtxt").is_file():
        add_cpu_config(beside)
    beside.replace(repository / name)


def _end_trial(client: Client, repository: Path, name: str) -> None:
    place, beside = repository / name, _beside(repository)
    if not place.is_dir():
        return
    with contextlib.suppress(ServerError):  # it may be gone, and its memory with it
        client.unload(name)
        settle(client, name, ())
    out = beside / f"{name}.{os.getpid()}"
    beside.mkdir(parents=True, exist_ok=True)
    place.replace(out)
    shutil.rmtree(out, ignore_errors=True)


def _beside(repository: Path) -> Path:
    """A place on the same file system that the server does not read: it takes every folder for a model."""
    root = repository.resolve()
    return root.parent / ".trtbuild" / root.name / "trials"


def as_it_was(client: Client, model: str) -> str:
    """What serves now, asked of the server itself."""
    try:
        return serving_words(client.ready_versions(model))
    except TrtbuildError:
        return "the server does not answer any more; config.pbtxt names the old version: it serves that once it starts"


def settle(client: Client, model: str, serve: Sequence[int]) -> None:
    """Waits until these versions alone are ready, and none comes or goes.

    A version that goes first answers what it has begun, and holds its memory until then. And while any does, the
    server as a whole says that it is not ready, where it was not started with ``--strict-readiness=false``.
    """
    end = time.monotonic() + _SETTLED_WITHIN_S
    while True:
        states = client.versions(model)
        ready = sorted(v for v, state in states.items() if state == "READY")
        if ready == sorted(serve) and not {"LOADING", "UNLOADING"} & set(states.values()):
            return
        if time.monotonic() > end:
            raise ServerError(
                f"{model} does not settle: {states}, and version {list(serve)} should be ready",
                place=client.url,
                hint="look into the server's log",
            )
        time.sleep(_STEP_S)


def serving_words(served: Sequence[int]) -> str:
    """What goes on serving, for the end of a sentence."""
    return f"version {', '.join(map(str, served))} serves as before" if served else "nothing serves, as before"
