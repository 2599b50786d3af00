"""Swapping the version that a live server answers with: tried under another name first, put back where it is wrong.

Triton sends a request that names no version to the highest one, so a new version that is loaded beside the old one
has its traffic at once. Here it is loaded as a model of its own, ``<model>__trial``, until its answers are known.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtbuild.errors import AccuracyError, ServerError
from trtbuild.golden import GoldenRequests
from trtbuild.serving.checking import ServeFinding, answered
from trtbuild.serving.client import Client
from trtbuild.serving.copies import CONFIG, add_cpu_config, read_config, write_config
from trtbuild.serving.server import CPU_CONFIG
from trtbuild.serving.trial import alone, as_it_was, hold_new, on_trial, serving_words, settle

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
            settle(client, model, (version,))
    return Rollout(model, version, served, tried, confirmed, time.monotonic() - started)


def _name(folder: Path, serve: Sequence[int], name: Name) -> None:
    """The config names these versions; what a server without a GPU reads instead of it follows."""
    name(folder, serve)
    if (folder / "configs" / f"{CPU_CONFIG}.pbtxt").is_file():
        add_cpu_config(folder)


def _right(found: ServeFinding, model: str, version: int, served: Sequence[int]) -> ServeFinding:
    if found.outcome == "passed":
        return found
    raise AccuracyError(
        f"version {version} of {model} does not give the golden {found.name}: {found.said}; {serving_words(served)}",
        place=model,
        hint="verify it against the golden requests (`trtbuild verify --against`), and build it again",
    )


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
            settle(client, model, served)
        if isinstance(error, ServerError):
            raise ServerError(
                f"version {version} of {model} did not take its place: {error.message}; {as_it_was(client, model)}",
                place=client.url,
                hint="look into the server's log, and try again",
            ) from error
        raise
