"""Searches batch delay, preferred sizes and instances on a live server, for the most requests within a p99 limit.

One setting at a time is changed from the best so far: instances first, for they change most, then the sizes, then the
delay. Each is loaded as ``<model>__trial`` and driven by ever more threads, until the limit is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.errors import ServerError, SpeedError, UsageError
from trtbuild.golden import GoldenRequests
from trtbuild.serving.client import Client
from trtbuild.serving.copies import CONFIG, add_cpu_config, read_config, write_config
from trtbuild.serving.load import Load
from trtbuild.serving.server import CPU_CONFIG
from trtbuild.serving.trial import alone, on_trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Feed = Mapping[str, NDArray[Any]]

DELAYS_US = (0, 100, 500, 2000, 5000)
INSTANCES = (1, 2, 4)
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
BETTER_BY = 1.03
"""A setting is taken where it answers 3 % more requests: less, and it may be chance."""


@dataclass(frozen=True)
class Setting:
    """What is searched.

    Attributes:
        max_queue_delay_us: How long the batcher may wait, microseconds.
        preferred_batch_sizes: Sizes that it sends on at once; empty where any will do.
        instances: Instances in each group.
    """

    max_queue_delay_us: int
    preferred_batch_sizes: tuple[int, ...]
    instances: int

    @classmethod
    def of(cls, config: Any) -> Setting:
        """A config's."""
        batching = config.dynamic_batching
        counts = [group.count for group in config.instance_group]
        return cls(
            batching.max_queue_delay_microseconds, tuple(batching.preferred_batch_size), max(counts, default=1) or 1
        )

    def write(self, config: Any) -> None:
        """Writes it into a config; nothing else in it changes."""
        batching = config.dynamic_batching
        batching.max_queue_delay_microseconds = self.max_queue_delay_us
        del batching.preferred_batch_size[:]
        batching.preferred_batch_size.extend(self.preferred_batch_sizes)
        for group in config.instance_group:
            group.count = self.instances


@dataclass(frozen=True)
class Measured:
    """A setting under a number of threads, each with one request of one row under way.

    Attributes:
        setting: The setting.
        concurrency: Threads.
        throughput: Answered requests a second.
        p50: Half of the requests took at most this, seconds.
        p99: 99 % took at most this, seconds.
        requests: How many were answered.
    """

    setting: Setting
    concurrency: int
    throughput: float
    p50: float
    p99: float
    requests: int


@dataclass(frozen=True)
class Tuning:
    """What a search came to.

    Attributes:
        model: The model.
        version: The version that was measured.
        p99_s: The limit, seconds.
        before: The setting that the config had.
        best: The setting that answers the most requests within the limit.
        curve: Everything that was measured, in order: latency against throughput.
    """

    model: str
    version: int
    p99_s: float
    before: Setting
    best: Setting
    curve: tuple[Measured, ...]

    def most(self, setting: Setting) -> Measured | None:
        """Where a setting answers the most requests within the limit; None where it never keeps it."""
        return most(self.curve, setting, self.p99_s)


def most(curve: Sequence[Measured], setting: Setting, p99_s: float) -> Measured | None:
    """Where a setting answers the most requests within a limit; None where it never keeps it."""
    kept = [m for m in curve if m.setting == setting and m.p99 <= p99_s]
    return max(kept, key=lambda m: m.throughput, default=None)


def tune(
    url: str,
    repository: Path,
    model: str,
    golden: GoldenRequests,
    *,
    p99_s: float,
    seconds: float = 2.0,
    delays_us: Sequence[int] = DELAYS_US,
    instances: Sequence[int] = INSTANCES,
    concurrencies: Sequence[int] = CONCURRENCIES,
    on_measured: Callable[[Measured], object] = lambda _measured: None,
) -> Tuning:
    """Searches the setting under which a live server answers the most requests within a limit.

    What is served does not change; what is measured shares the machine with it.

    Args:
        url: ``grpc://...`` of a server in explicit mode: one connection serves all threads.
        repository: The folder that the server reads, and this process may write.
        model: The model; the version that serves is measured, with dynamic batching.
        golden: Where the rows come from that are sent.
        p99_s: The limit, seconds.
        seconds: How long each setting is driven at each number of threads.
        delays_us: Delays to try, microseconds.
        instances: Counts of instances to try.
        concurrencies: Numbers of threads, ascending.
        on_measured: Told each measurement.

    Raises:
        UsageError: Nothing serves, the config has no dynamic batching, or the address is not gRPC.
        SpeedError: No setting keeps the limit; ``result`` has the curve.
        ServerError: The server does not load a setting, or does not answer.
    """
    if not url.startswith("grpc://"):
        raise UsageError("the load goes over gRPC", place=url, hint="write grpc://HOST:8001")
    config = read_config(repository / model)
    if not config.HasField("dynamic_batching"):
        raise UsageError(
            "the config has no dynamic batching: there is nothing to tune",
            place=str(repository / model / CONFIG),
            hint="triton: {dynamic_batching: true}, and a model with a batch axis",
        )
    rows = _rows(golden)
    curve: list[Measured] = []
    with alone(repository, model, 0), Client(url) as client:
        served = client.ready_versions(model)
        if not served:
            raise UsageError(f"nothing serves {model}", place=url, hint="load it first")

        def measure(setting: Setting) -> float:
            with on_trial(client, repository, model, served[-1], setting.write) as name:
                for found in _driven(url, name, rows, setting, concurrencies, seconds, p99_s):
                    curve.append(found)
                    on_measured(found)
            kept = most(curve, setting, p99_s)
            return kept.throughput if kept else 0.0

        before = Setting.of(config)
        best = _searched(before, measure, delays_us, instances, config.max_batch_size)
    done = Tuning(model, served[-1], p99_s, before, best, tuple(curve))
    if done.most(best) is None:
        lowest = min(curve, key=lambda m: m.p99)
        refused = SpeedError(
            f"no setting keeps p99 within {1e3 * p99_s:g} ms: the lowest seen is {1e3 * lowest.p99:.3g} ms",
            place=model,
            hint="a higher limit, a faster plan, or a server with less beside it",
        )
        from trtbuild.artifacts import to_json

        refused.result = to_json(done)
        raise refused
    return done


def write_setting(folder: Path, setting: Setting) -> None:
    """Writes a setting into a model folder's config.

    Raises:
        UsageError: ``trtbuild ship`` put the model there: the next change of versions would write its config anew.
    """
    if any(folder.glob(f"*/shipped/{CONFIG}")):
        raise UsageError(
            "this model was shipped: its config comes from its build, and the next promote would write it anew",
            place=str(folder / CONFIG),
            hint="write the setting into the spec's triton block, build, and ship",
        )
    config = read_config(folder)
    setting.write(config)
    write_config(config, folder / CONFIG)
    if (folder / "configs" / f"{CPU_CONFIG}.pbtxt").is_file():
        add_cpu_config(folder)


def _searched(
    before: Setting, measure: Callable[[Setting], float], delays_us: Sequence[int], instances: Sequence[int], batch: int
) -> Setting:
    """One coordinate after the other; a setting is measured once."""
    best, value = before, measure(before)
    seen = {before}
    sizes = [s for s in ((), (batch // 2,), (batch,)) if not s or s[0] > 1]  # 1 would send every request on alone
    steps: list[list[dict[str, Any]]] = [
        [{"instances": n} for n in instances],
        [{"preferred_batch_sizes": s} for s in sizes],
        [{"max_queue_delay_us": d} for d in delays_us],
    ]
    for changes in steps:
        for candidate in [replace(best, **change) for change in changes]:
            if candidate in seen:
                continue
            seen.add(candidate)
            found = measure(candidate)
            if found > value * BETTER_BY:
                best, value = candidate, found
    return best


def _driven(
    url: str,
    name: str,
    rows: Sequence[Feed],
    setting: Setting,
    concurrencies: Sequence[int],
    seconds: float,
    p99_s: float,
) -> Iterator[Measured]:
    """The setting under ever more threads, until the limit is broken or more of them bring nothing."""
    highest = 0.0
    for concurrency in concurrencies:
        with Load(url, name, rows, concurrency) as load:
            time.sleep(seconds)
        if load.failures:
            raise ServerError(load.failures[0], place=url, hint="look into the server's log")
        if not load.latencies:
            return
        found = Measured(
            setting, concurrency, load.throughput, load.quantile(0.5), load.quantile(0.99), len(load.latencies)
        )
        yield found
        if found.p99 > p99_s or found.throughput < highest:
            return
        highest = found.throughput


def _rows(golden: GoldenRequests) -> list[dict[str, Any]]:
    return [
        {name: array[r : r + 1] for name, array in request.feed.items()}
        for request in golden
        for r in range(next(iter(request.feed.values())).shape[0])
    ]
