"""The bench stage: latency and throughput, all subjects side by side in one run.

Plans run on a GPU, each flavour loaded in a worker that is told when its turn is; ONNX files run in ONNX Runtime, on
the provider that the result names; whatever else the caller brings runs as a callable. All warm up, then take turns in
rounds. What of it needs a GPU has not been run on one by us.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trtbuild.artifacts import Benchmark, EnginePlan, GpuState, OptimizationProfile, Timing
from trtbuild.benchmark.advice import advise
from trtbuild.benchmark.gate import GATED, NOT_RUN, judge_speed, speed_error
from trtbuild.benchmark.points import At, Point, point_given, points_of
from trtbuild.benchmark.rounds import Call, take_turns
from trtbuild.benchmark.statistics import NOISY, latency, phases
from trtbuild.benchmark.subjects import CallableSubject, PlanSubject, Subject, Variant, onnx_subject, plan_names
from trtbuild.device import states
from trtbuild.enginerun import can_run, plans_in_turn
from trtbuild.errors import UsageError
from trtbuild.registry import nearest_hint

PACKAGES = ("onnxruntime", "numpy")

Progress = Callable[[float, str], None]


def bench(
    models: Mapping[str, Path],
    plans: Sequence[EnginePlan] = (),
    *,
    variants: Sequence[Variant] = (),
    profiles: Sequence[OptimizationProfile] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    at: At = "ends",
    warm_up: int = 3,
    runs: int = 20,
    turn: int = 4,
    baseline: str | None = None,
    cuda_graphs: bool = False,
    on_progress: Progress = lambda _share, _what: None,
) -> Benchmark:
    """Measures ONNX files, plans and callables, in rounds, at the shapes of their profiles.

    Args:
        models: Label to ONNX file.
        plans: Plans; the ones this machine has a GPU for are run.
        variants: Subjects of the caller's own, such as a PyTorch module.
        profiles: Optimisation profiles; those of the first plan when left out.
        shapes: Input name to shape, instead of the profiles.
        ranges: Values of the random inputs.
        at: Which points of each profile.
        warm_up: Calls of each subject at each point that are not counted.
        runs: Calls of each subject at each point that are.
        turn: Calls a subject has in a round.
        baseline: The subject, by its name or label, that ratios are against; the first one when left out.
        cuda_graphs: Launch plans through CUDA graphs.
        on_progress: Told the share done and what is measured.

    Returns:
        Latencies in milliseconds by phase, rows a second, ratios, the GPU's state, advice on profiles.

    Raises:
        UsageError: A shape or the baseline names nothing, or there is nothing to measure.
    """
    ran = [plan for plan in plans if can_run(plan)]
    profiles = tuple(profiles) or (plans[0].profiles if plans else ())
    with contextlib.ExitStack() as open_workers:
        running = open_workers.enter_context(plans_in_turn(ran, cuda_graphs=cuda_graphs)) if ran else []
        subjects: list[Subject] = [onnx_subject(label, path) for label, path in models.items()]
        subjects += [CallableSubject(variant) for variant in variants]
        subjects += [PlanSubject(name, one) for name, one in zip(plan_names(ran), running, strict=True)]
        if not subjects:
            return Benchmark((), None, _not_run(plans, ran))
        chosen = _baseline(baseline, [s.name for s in subjects])
        points = [_given(subjects[0], shapes)] if shapes else points_of(profiles, at)
        buses = tuple(dict.fromkeys(one.bus for one in running)) or None
        watched = any(s.device != "CPU" for s in subjects)
        before = states("before", buses) if watched else ()
        timings, notes = [], dict.fromkeys(_not_run(plans, ran))
        warm: tuple[GpuState, ...] = ()
        for number, point in enumerate(points):
            taken, said = _measure(subjects, point, ranges or {}, warm_up, runs, turn)
            timings += _against(taken, chosen)
            notes |= dict.fromkeys(said)
            if watched and not warm:
                warm = states("warm", buses)
            on_progress((number + 1) / len(points), _words(point))
        seen = (*before, *warm, *(states("after", buses) if watched else ()))
    notes |= dict.fromkeys([*_disturbed(seen), *_noisy(timings)])
    gpu = next((one.gpu for one in running), None)
    return Benchmark(tuple(timings), gpu, tuple(notes), chosen, seen, advise(timings, profiles))


def _given(subject: Subject, shapes: Mapping[str, Sequence[int]]) -> Point:
    return point_given(subject.inputs, shapes, subject.name)


def _measure(
    subjects: Sequence[Subject],
    point: Point,
    ranges: Mapping[str, tuple[float, float]],
    warm_up: int,
    runs: int,
    turn: int,
) -> tuple[list[Timing], list[str]]:
    """Every subject at one point; each is fed the same random numbers, in the types that it takes."""
    import numpy as np

    from trtbuild.feeds import random_feed

    said, shapes = [], []
    for subject in subjects:
        feed = random_feed(subject.inputs, point.sizes, ranges, np.random.default_rng(0))
        note = subject.prepare(feed, point.profile)
        said += [note] if note else []
        shapes.append({name: tuple(int(d) for d in array.shape) for name, array in feed.items()})
    calls = take_turns([s.turn for s in subjects], warm_up=warm_up, runs=runs, turn=turn)
    rows = zip(subjects, shapes, calls, strict=True)
    return [_timing(subject, point, shape, taken) for subject, shape, taken in rows], said


def _timing(subject: Subject, point: Point, shapes: Mapping[str, tuple[int, ...]], calls: Sequence[Call]) -> Timing:
    total = latency([call["total"] for call in calls])
    rows = next((s[0] for s in shapes.values() if s), 1)
    return Timing(
        subject=subject.name,
        shapes=dict(shapes),
        latency=total,
        throughput=rows * 1e3 / total.p50,
        items=point.items,
        profile=point.profile,
        end=point.end,
        axis=point.axis,
        phases=phases(calls),
        device=subject.device,
        kind=subject.kind,
    )


def _against(timings: Sequence[Timing], baseline: str) -> list[Timing]:
    """The same rows with their ratios to the baseline's row."""
    base = next(t for t in timings if t.subject == baseline).latency.p50
    return [replace(t, ratio=base / t.latency.p50) for t in timings]


def _baseline(asked: str | None, names: Sequence[str]) -> str:
    if asked is None:
        return names[0]
    found = next((n for n in names if n == asked), None) or next((n for n in names if n.startswith(f"{asked} (")), None)
    if found is None:
        raise UsageError(f"no subject is called {asked!r}", place="baseline", hint=nearest_hint(asked, names))
    return found


def _not_run(plans: Sequence[EnginePlan], ran: Sequence[EnginePlan]) -> tuple[str, ...]:
    """Says which plans this machine cannot run."""
    left = [plan.target for plan in plans if plan not in ran]
    if not left:
        return ()
    names = ", ".join(dict.fromkeys(f"{t.name} ({t.compute_capability})" for t in left))
    return (f"not run on a GPU: this machine has none of the compute capability of {names}",)


def _disturbed(seen: Sequence[GpuState]) -> list[str]:
    """What the GPU's state says against the numbers."""
    slowed = {s.name: (*dict.fromkeys(r for o in seen if o.name == s.name for r in o.slowed_by),) for s in seen}
    return [f"{name} was slowed by {', '.join(reasons)}" for name, reasons in slowed.items() if reasons]


def _noisy(timings: Sequence[Timing]) -> list[str]:
    """Which rows are not worth comparing."""
    rows: dict[str, int] = {}
    for timing in timings:
        rows[timing.subject] = rows.get(timing.subject, 0) + (timing.latency.spread > NOISY)
    return [
        f"{subject}: in {count} of its rows the middle half of the calls spreads over more than {NOISY:.0%} of the "
        "median; the machine was busy: measure again"
        for subject, count in rows.items()
        if count
    ]


def _words(point: Point) -> str:
    sizes = ", ".join(f"{axis}={size}" for axis, size in point.sizes.items())
    return f"{point.end}{f' of {point.axis}' if point.axis else ''} {sizes}".strip()


__all__ = [
    "GATED",
    "NOT_RUN",
    "PACKAGES",
    "Point",
    "Variant",
    "advise",
    "bench",
    "judge_speed",
    "plan_names",
    "points_of",
    "speed_error",
]
