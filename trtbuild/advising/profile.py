"""Where a graph's time goes in ONNX Runtime, node by node."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from trtbuild import onnxfile, onnxrun
from trtbuild.artifacts import GraphProfile, TimeShare

_MOST_MODULES = 16


def graph_profile(model: Path, feed: Mapping[str, Any], *, runs: int = 5) -> GraphProfile:
    """Runs a model with ONNX Runtime's profiler on; optimisation off, so that the nodes are those of the file.

    Args:
        model: An ONNX file.
        feed: One feed.
        runs: Runs after the one that warms up; each node's time is their median.

    Raises:
        InvalidOnnxError: ONNX Runtime cannot run it.
    """
    operators = {n.name: n.op_type for n in onnxfile.load(model, weights=False).graph.node}
    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        provider, times = onnxrun.node_seconds(model, feed, runs=runs + 1, folder=Path(folder))
    seconds = {name: statistics.median(each[1:] or each) for name, each in times.items()}
    depth = _depth(seconds)
    return GraphProfile(
        provider,
        runs,
        sum(seconds.values()),
        _shares(seconds, lambda name: name),
        _shares(seconds, lambda name: operators.get(name, "?")),
        _shares(seconds, lambda name: _module(name, depth)),
    )


def _shares(seconds: Mapping[str, float], group: Callable[[str], str]) -> tuple[TimeShare, ...]:
    summed: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, time in seconds.items():
        summed[group(name)] = summed.get(group(name), 0.0) + time
        counts[group(name)] = counts.get(group(name), 0) + 1
    whole = sum(summed.values()) or 1.0
    found = (TimeShare(name, time, time / whole, counts[name]) for name, time in summed.items())
    return tuple(sorted(found, key=lambda each: -each.seconds))


def _depth(names: Iterable[str]) -> int:
    """How much of a path to keep: as much as gives no more modules than a person looks at."""
    paths = [name.strip("/").split("/")[:-1] for name in names]
    deepest = max(map(len, paths), default=0)
    fit = (d for d in range(deepest, 0, -1) if len({tuple(p[:d]) for p in paths}) <= _MOST_MODULES)
    return next(fit, 1)


def _module(name: str, depth: int) -> str:
    return "/".join(name.strip("/").split("/")[:-1][:depth]) or "(top)"
