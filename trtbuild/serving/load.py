"""Requests from several threads at once: what a server answers to them, and how long that takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trtbuild.errors import ServerError
from trtbuild.serving.client import Client

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    Feed = Mapping[str, NDArray[Any]]


@dataclass
class Load:
    """Threads that send requests, each its next as soon as its last is answered, while the ``with`` block runs.

    Attributes:
        url: The server's gRPC address: one connection serves all threads.
        model: The model to ask.
        feeds: What is sent, in turn.
        concurrency: Threads.
        requests: How many in all; None for as many as the block lets it.
        version: The version to ask; None for the server's choice.
        inspect: Called with each feed's number and answer, from several threads.
        latencies: Seconds each answered request took.
        failures: What was said of each failed one.
        seconds: How long it ran; set at its end.
    """

    url: str
    model: str
    feeds: Sequence[Feed]
    concurrency: int = 8
    requests: int | None = None
    version: int | None = None
    inspect: Callable[[int, Feed], object] | None = None
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._stopped, self._lock, self._next = threading.Event(), threading.Lock(), 0
        self._client = Client(self.url)
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(self.concurrency)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.requests is None:
            self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._started
        self._client.close()

    @property
    def throughput(self) -> float:
        """Answered requests a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """The latency that ``share`` of the answered requests stay within, seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")

    def _send(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            if self.requests is not None and number >= self.requests:
                return
            which = number % len(self.feeds)
            started = time.monotonic()
            try:
                answer = self._client.infer(self.model, self.feeds[which], self.version)
            except ServerError as error:
                self.failures.append(error.message)
                continue
            self.latencies.append(time.monotonic() - started)
            if self.inspect is not None:
                self.inspect(which, answer)
