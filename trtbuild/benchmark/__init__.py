"""The bench stage: latency and throughput, all subjects side by side in one run.

A plan runs on a GPU between CUDA events; an ONNX file runs in ONNX Runtime, on the provider that the result names.
Warm-up first. The ONNX files take turns, so that a machine that drifts does not favour one of them; the plans follow,
one after the other, each in a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import Benchmark, EnginePlan, Latency, OptimizationProfile, Timing
from trtbuild.device import gpus
from trtbuild.enginerun import can_run, time_on_gpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKAGES = ("onnxruntime", "numpy")
NOT_RUN = "not run on a GPU: this machine has none of the plans' compute capability"


def bench(
    models: Mapping[str, Path],
    plans: Sequence[EnginePlan] = (),
    *,
    profiles: Sequence[OptimizationProfile] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    warm_up: int = 3,
    runs: int = 20,
) -> Benchmark:
    """Measures ONNX files and plans at one set of shapes.

    Args:
        models: Label to ONNX file.
        plans: Plans; the ones this machine has a GPU for are run.
        profiles: Opt sizes of the dynamic axes.
        shapes: Input name to shape, instead of the profile's opt.
        ranges: Values of the random inputs.
        warm_up: Calls of each subject that are not counted.
        runs: Calls of each subject that are.

    Returns:
        Latencies in milliseconds and rows a second.
    """
    timings = _time_onnx(models, profiles, shapes or {}, ranges or {}, warm_up, runs)
    ran = [plan for plan in plans if can_run(plan)]
    for plan in ran:
        at = dict(shapes or {}) or {t.name: plan.profiles[0].shape(t, "opt") for t in plan.inputs if plan.profiles}
        milliseconds = time_on_gpu(plan, at, warm_up=warm_up, runs=runs)
        timings.append(_timing(f"plan {plan.target.name}", {k: tuple(v) for k, v in at.items()}, milliseconds))
    gpu = gpus()[0].name if ran else None
    return Benchmark(tuple(timings), gpu, () if ran or not plans else (NOT_RUN,))


def _time_onnx(
    models: Mapping[str, Path],
    profiles: Sequence[OptimizationProfile],
    shapes: Mapping[str, Sequence[int]],
    ranges: Mapping[str, tuple[float, float]],
    warm_up: int,
    runs: int,
) -> list[Timing]:
    from trtbuild.onnxrun import providers, run, session

    ready: dict[str, tuple[Any, Any]] = {}
    for label, path in models.items():
        ready[label] = (session(path, optimise=True), _feed(path, profiles, shapes, ranges))
    milliseconds: dict[str, list[float]] = {label: [] for label in models}
    for number in range(warm_up + runs):
        for label, (loaded, feed) in ready.items():
            started = time.perf_counter()
            run(loaded, feed)
            if number >= warm_up:
                milliseconds[label].append((time.perf_counter() - started) * 1e3)
    provider = providers()[0].removesuffix("ExecutionProvider")
    return [
        _timing(f"{label} (ONNX Runtime, {provider})", {k: a.shape for k, a in ready[label][1].items()}, taken)
        for label, taken in milliseconds.items()
    ]


def _feed(
    path: Path,
    profiles: Sequence[OptimizationProfile],
    shapes: Mapping[str, Sequence[int]],
    ranges: Mapping[str, tuple[float, float]],
) -> dict[str, NDArray[Any]]:
    import numpy as np

    from trtbuild.errors import UsageError
    from trtbuild.feeds import random_feed
    from trtbuild.registry import nearest_hint

    inputs = onnxfile.inputs(onnxfile.load(path, weights=False))
    sizes = {a: r.opt for a, r in profiles[0].axes.items()} if profiles else {}
    known = {t.name: t for t in inputs}
    for name, shape in shapes.items():
        if name not in known:
            raise UsageError(f"the model has no input {name!r}", place=str(path), hint=nearest_hint(name, known))
        if len(shape) != len(known[name].shape):
            raise UsageError(
                f"input {name!r} has {len(known[name].shape)} axes, the shape {list(shape)} has {len(shape)}",
                place=str(path),
                hint=f"the model takes {list(known[name].shape)}",
            )
        sizes |= {d: n for d, n in zip(known[name].shape, shape, strict=True) if isinstance(d, str)}
    return random_feed(inputs, sizes, ranges, np.random.default_rng(0))


def _timing(subject: str, shapes: Mapping[str, tuple[int, ...]], milliseconds: Sequence[float]) -> Timing:
    import numpy as np

    p50, p95, p99 = (float(v) for v in np.percentile(milliseconds, [50, 95, 99]))
    rows = next((s[0] for s in shapes.values() if s), 1)
    latency = Latency(p50, p95, p99, float(np.mean(milliseconds)), len(milliseconds))
    return Timing(subject, {k: tuple(int(d) for d in v) for k, v in shapes.items()}, latency, rows * 1e3 / p50)
