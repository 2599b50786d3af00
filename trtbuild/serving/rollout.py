"""Swapping the version that a live server answers with: tried under another name first, put back where it is wrong.

Triton sends a request that names no version to the highest one, so a new version that is loaded beside the old one
has its traffic at once. Here it is loaded as a model of its own, ``<model>__trial``, until its answers are known.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbuild.errors import AccuracyError, ServerError, TrtbuildError, UsageError
from trtbuild.golden import GoldenRequests
from trtbuild.serving.checking import ServeFinding, answered
from trtbuild.serving.client import Client
from trtbuild.serving.copies import CONFIG, add_cpu_config, link, read_config, versions, write_config
from trtbuild.serving.server import CPU_CONFIG

TRIAL = "__trial"
_SETTLED_WITHIN_S = 120  # requests under way on the old version are answered first
_STEP_S = 0.05

Name = Callable[[Path, Sequence[int]], None]
"""Makes a model folder's config name these versions, and no others, as those to serve."""


@dataclass(frozen=True)
class Naming:
    """How a repository is told which versions to serve.

    Attributes:
        serve: Names versions.
        put_back: Names those again that were named before the last ``serve``.
    """

    serve: Name
    put_back: Name


@dataclass(frozen=True)
class Rollout:
    """A version that took another's place on a live server.

    Attributes:
        model: The model.
        version: The version that serves now.
        retired: The versions that served before.
        tried: What it answered under another name, before it had any traffic.
        confirmed: What it answered in its place.
        seconds: How long it took.
    """

    model: str
    version: int
    retired: tuple[int, ...]
    tried: ServeFinding
    confirmed: ServeFinding
    seconds: float

    @property
    def said(self) -> tuple[str, ...]:
        """Its lines for a person."""
        retired = f"; {', '.join(map(str, self.retired))} retired" if self.retired else ""
        head = f"the server answers with version {self.version} of {self.model}{retired}"
        return head, f"{self.tried.name}: {self.tried.said}", f"{self.confirmed.name}: {self.confirmed.said}"


def pin(folder: Path, serve: Sequence[int]) -> None:
    """Names the versions to serve in a model folder's ``config.pbtxt``; nothing else in it changes."""
    config = read_config(folder)
    config.version_policy.Clear()
    config.version_policy.specific.versions.extend(serve)
    write_config(config, folder / CONFIG)


def roll_out(
    url: str,
    repository: Path,
    model: str,
    version: int,
    golden: GoldenRequests,
    *,
    naming: Naming = Naming(pin, pin),
    wait_s: float = 600,
) -> Rollout:
    """Lets a live server answer with another version, without a lost request.

    The version is loaded as ``<model>__trial``, runs its warm-up, and answers the golden requests. Only then does the
    config name it; the server loads it in the old one's place, answers them again, and retires the old one. On any
    difference or error the config names the old one again, and the server loads that.

    Args:
        url: ``http://...`` or ``grpc://...`` of a server in explicit mode (``--model-control-mode=explicit``).
        repository: The folder that the server reads, and this process may write.
        model: The model.
        version: A version folder that is there and is not served.
        golden: Requests with the answers it must give.
        naming: How the repository is told which versions to serve.
        wait_s: Seconds to wait for another rollout of the model.

    Raises:
        UsageError: The version is not there, serves already, or another rollout does not end.
        AccuracyError: It answers wrongly; the old one serves.
        ServerError: The server does not load it, is not in explicit mode, or does not answer any more.
    """
    started = time.monotonic()
    folder = repository / model
    with alone(repository, model, wait_s), Client(url) as client:
        served = client.ready_versions(model)
        hold_new(folder, version, served)
        if served:  # else a server that starts again meanwhile might take the new version untried
            _name(folder, served, naming.serve)
        with on_trial(client, repository, model, version) as name:
            tried = _right(answered(client, name, version, golden, "answers on trial"), model, version, served)
        with _put_back(client, folder, version, served, naming.put_back):
            _name(folder, (version,), naming.serve)
            client.load(model)
            confirmed = _right(answered(client, model, version, golden, "answers in place"), model, version, served)
            _settle(client, model, (version,))
    return Rollout(model, version, served, tried, confirmed, time.monotonic() - started)


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


def _name(folder: Path, serve: Sequence[int], name: Name) -> None:
    """The config names these versions; what a server without a GPU reads instead of it follows."""
    name(folder, serve)
    if (folder / "configs" / f"{CPU_CONFIG}.pbtxt").is_file():
        add_cpu_config(folder)


def _right(found: ServeFinding, model: str, version: int, served: Sequence[int]) -> ServeFinding:
    if found.outcome == "passed":
        return found
    raise AccuracyError(
        f"version {version} of {model} does not give the golden {found.name}: {found.said}; {_serving(served)}",
        place=model,
        hint="verify it against the golden requests (`trtbuild verify --against`), and build it again",
    )


def _serving(served: Sequence[int]) -> str:
    return f"version {', '.join(map(str, served))} serves as before" if served else "nothing serves, as before"


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
def on_trial(client: Client, repository: Path, model: str, version: int) -> Iterator[str]:
    """The version as a model of its own; unloaded and gone at the end, and what an earlier try left before."""
    name = f"{model}{TRIAL}"
    _end_trial(client, repository, name)
    try:
        _lay_out_trial(repository, model, version, name)
        client.load(name)
        yield name
    except ServerError as error:
        raise ServerError(
            f"version {version} of {model} cannot be tried: {error.message}; {_as_it_was(client, model)}",
            place=client.url,
            hint="the server must be in explicit mode, and read this repository; then try again",
        ) from error
    finally:
        _end_trial(client, repository, name)


def _lay_out_trial(repository: Path, model: str, version: int, name: str) -> None:
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
        _settle(client, name, ())
    out = beside / f"{name}.{os.getpid()}"
    beside.mkdir(parents=True, exist_ok=True)
    place.replace(out)
    shutil.rmtree(out, ignore_errors=True)


def _beside(repository: Path) -> Path:
    """A place on the same file system that the server does not read: it takes every folder for a model."""
    root = repository.resolve()
    return root.parent / ".trtbuild" / root.name / "trials"


@contextlib.contextmanager
def _put_back(client: Client, folder: Path, version: int, served: Sequence[int], name: Name) -> Iterator[None]:
    """On any error the old versions serve again, and the error says so."""
    model = folder.name
    try:
        yield
    except BaseException as error:
        if served:
            _name(folder, served, name)
        with contextlib.suppress(ServerError):
            client.load(model) if served else client.unload(model)
            _settle(client, model, served)
        if isinstance(error, ServerError):
            raise ServerError(
                f"version {version} of {model} did not take its place: {error.message}; {_as_it_was(client, model)}",
                place=client.url,
                hint="look into the server's log, and try again",
            ) from error
        raise


def _as_it_was(client: Client, model: str) -> str:
    """What serves now, asked of the server itself."""
    try:
        return _serving(client.ready_versions(model))
    except TrtbuildError:
        return "the server does not answer any more; config.pbtxt names the old version: it serves that once it starts"


def _settle(client: Client, model: str, serve: Sequence[int]) -> None:
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
