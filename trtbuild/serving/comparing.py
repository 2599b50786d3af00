"""Replays golden requests against what a live server serves and against another version, which nobody else asks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import OutputComparison
from trtbuild.errors import UsageError
from trtbuild.golden import GoldenRequest, GoldenRequests
from trtbuild.metrics import PairStatistics
from trtbuild.serving.client import Client
from trtbuild.serving.trial import alone, hold_new, on_trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Answer = Mapping[str, NDArray[Any]]

ROUNDS = 10


@dataclass(frozen=True)
class Latency:
    """How long requests took, one at a time.

    Attributes:
        p50: Half of them took at most this, seconds.
        p90: 90 % took at most this, seconds.
        p99: 99 % took at most this, seconds.
        requests: How many there were.
    """

    p50: float
    p90: float
    p99: float
    requests: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """From each request's time."""
        import numpy as np

        p50, p90, p99 = (float(q) for q in np.quantile(seconds, (0.5, 0.9, 0.99)))
        return cls(p50, p90, p99, len(seconds))


@dataclass(frozen=True)
class Shadow:
    """A version beside the one that serves.

    Attributes:
        model: The model.
        served: The version that serves.
        version: The other one.
        outputs: Each output of the other against that which serves, over all golden requests.
        old: Times of the version that serves.
        new: Times of the other.
        notes: What a reader must know of the times.
    """

    model: str
    served: int
    version: int
    outputs: tuple[OutputComparison, ...]
    old: Latency
    new: Latency
    notes: tuple[str, ...]


def shadow(
    url: str,
    repository: Path,
    model: str,
    version: int,
    golden: GoldenRequests,
    *,
    rounds: int = ROUNDS,
    wait_s: float = 600,
) -> Shadow:
    """Loads a version under another name and sends it what the serving one is sent; nothing that is served changes.

    The first round warms up and is compared; in the others both take turns, there and back, and are timed.

    Args:
        url: ``http://...`` or ``grpc://...`` of a server in explicit mode.
        repository: The folder that the server reads, and this process may write.
        model: The model.
        version: A version folder that is there and is not served.
        golden: What is sent; the recorded answers are not looked at.
        rounds: How often each request is sent to each, timed.
        wait_s: Seconds to wait for a rollout of the model.

    Raises:
        UsageError: The version is not there or serves already, nothing serves, or a rollout does not end.
        ServerError: The server does not load it, or does not answer.
    """
    with alone(repository, model, wait_s), Client(url) as client:
        served = client.ready_versions(model)
        hold_new(repository / model, version, served)
        if not served:
            raise UsageError(
                f"nothing serves {model}: there is nothing to compare with", place=url, hint="load it first"
            )
        requests = list(golden)
        with on_trial(client, repository, model, version) as name:
            sides = ((model, served[-1]), (name, version))
            outputs = _compared([[client.infer(m, r.feed, v) for m, v in sides] for r in requests])
            times = _timed(client, sides, requests, rounds)
        cached = "response_cache" in client.config(model) and client.config(model)["response_cache"].get("enable")
    notes = ["the serving version answers from its response cache: its times are not the model's"] if cached else []
    return Shadow(model, served[-1], version, outputs, Latency.of(times[0]), Latency.of(times[1]), tuple(notes))


def _compared(pairs: Sequence[Sequence[Answer]]) -> tuple[OutputComparison, ...]:
    statistics = {name: PairStatistics(name, detailed=True) for name in pairs[0][0]}
    for old, new in pairs:
        if set(old) != set(new) or any(old[n].shape != new[n].shape for n in old):
            raise UsageError(
                "the two versions have other outputs",
                place=", ".join(sorted(new)),
                hint="nothing of them can be compared",
            )
        for name, seen in statistics.items():
            seen.add(old[name], new[name])
    return tuple(s.result() for s in statistics.values())


def _timed(
    client: Client, sides: Sequence[tuple[str, int]], requests: Sequence[GoldenRequest], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of every request on each side; the order turns round each time, so that a steady drift cancels."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for request in requests:
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                started = time.perf_counter()
                client.infer(sides[side][0], request.feed, sides[side][1])
                times[side].append(time.perf_counter() - started)
    return times
