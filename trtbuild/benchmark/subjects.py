"""What can be measured: an ONNX file in ONNX Runtime, a plan on a GPU, and any callable of the caller's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trtbuild import onnxfile
from trtbuild.artifacts import EnginePlan, Kind, TensorSpec
from trtbuild.benchmark.rounds import Call

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.enginerun import RunningPlan

    Feed = Mapping[str, NDArray[Any]]


class Subject(Protocol):
    """One thing that is measured.

    Attributes:
        name: As tables call it.
        device: ``CPU``, or a GPU's name.
        inputs: What it is fed.
        kind: What it is.
    """

    name: str
    device: str
    inputs: tuple[TensorSpec, ...]
    kind: Kind

    def prepare(self, feed: Feed, profile: int | None) -> str | None:
        """Makes ready for calls on a feed; returns what a reader should know of how it runs."""

    def turn(self, calls: int) -> Sequence[Call]:
        """Runs so many calls; ``total`` is from inputs in host memory to outputs in host memory, milliseconds."""


@dataclass(frozen=True)
class Variant:
    """A subject of the caller's own: a PyTorch module, another runtime.

    torch is imported by the exporters only, so a module comes in as a callable: ``exporters.timed`` makes it.

    Attributes:
        name: As tables call it.
        inputs: What it is fed.
        prepare: Takes a feed; returns what runs one call on it and returns when its outputs are in host memory. It may
            return milliseconds by phase.
        device: ``CPU``, or a GPU's name.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    prepare: Callable[[Feed], Callable[[], Mapping[str, float] | None]]
    device: str = "CPU"


class CallableSubject:
    """A ``Variant`` taking turns."""

    def __init__(self, variant: Variant, kind: Kind = "other") -> None:
        self.kind = kind
        self.name, self.device, self.inputs = variant.name, variant.device, variant.inputs
        self._prepare = variant.prepare
        self._step: Callable[[], Mapping[str, float] | None] = lambda: None

    def prepare(self, feed: Feed, profile: int | None) -> str | None:
        """Hands it the feed."""
        del profile
        self._step = self._prepare(feed)
        return None

    def turn(self, calls: int) -> list[Call]:
        """Times each call by the CPU's clock."""
        return [_timed(self._step) for _ in range(calls)]


def onnx_subject(label: str, path: Path) -> CallableSubject:
    """An ONNX file in ONNX Runtime, its own optimisation on, on the provider that the name says."""
    from trtbuild.device import gpus
    from trtbuild.onnxrun import providers, run, session

    loaded = session(path, optimise=True)
    inputs = onnxfile.inputs(onnxfile.load(path, weights=False))
    provider = providers()[0].removesuffix("ExecutionProvider")
    device = gpus()[0].name if provider == "CUDA" and gpus() else "CPU"

    def prepare(feed: Feed) -> Callable[[], None]:
        def step() -> None:
            run(loaded, feed)

        return step

    return CallableSubject(Variant(f"{label} (ONNX Runtime, {provider})", inputs, prepare, device), "onnx")


class PlanSubject:
    """A plan in its worker."""

    def __init__(self, name: str, running: RunningPlan) -> None:
        self.name, self.device = name, running.gpu
        self.kind: Kind = "plan"
        self.inputs = tuple(  # NumPy draws no such numbers; the worker rounds them
            replace(t, dtype="float32") if "float" in t.dtype else t for t in running.plan.inputs
        )
        self._running = running

    def prepare(self, feed: Feed, profile: int | None) -> str | None:
        """Puts the feed into pinned memory of the worker, and takes the profile."""
        _taken, graph = self._running.prepare(feed, profile)
        return None if graph == "no" else f"{self.name}: CUDA graph {graph}"

    def turn(self, calls: int) -> list[Call]:
        """The worker's own times."""
        return list(self._running.turn(calls))


def plan_names(plans: Sequence[EnginePlan]) -> list[str]:
    """A name for each plan: target and precision, and its digest where that is not enough."""
    short = [f"plan {plan.target.name} {plan.precision}" for plan in plans]
    return [
        name if short.count(name) == 1 else f"{name} {plan.plan.sha256[:8]}"
        for name, plan in zip(short, plans, strict=True)
    ]


def _timed(step: Callable[[], Mapping[str, float] | None]) -> Call:
    started = time.perf_counter()
    said = step()
    return {"total": (time.perf_counter() - started) * 1e3, **(said or {})}
