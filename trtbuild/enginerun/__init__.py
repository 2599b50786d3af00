"""Runs plans on a GPU, in a worker process: ``run_plan`` for their numbers, ``plans_in_turn`` for their speed.

A plan is executable code, so its digest is checked before any library touches it. What needs a GPU in this package has
not been run on one by us: it is written against the API of each TensorRT, which the tests hold every name to. Choosing
a profile, arrays on their way, and the conversation with the worker run anywhere, and are tested.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import worker
from trtbuild.artifacts import EnginePlan
from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.enginerun.arrays import load_arrays, save_arrays
from trtbuild.enginerun.conversation import conversation
from trtbuild.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.enginerun.conversation import Ask

    Feed = Mapping[str, NDArray[Any]]
    Prepare = Callable[[Feed, int | None], tuple[int | None, str]]


def can_run(plan: EnginePlan) -> bool:
    """Whether this machine has a GPU of the plan's compute capability, and the plan can be run as it is."""
    return not plan.not_ready and plan.target.compute_capability in compute_capabilities()


@dataclass(frozen=True)
class PlanRun:
    """What a plan gave.

    Attributes:
        outputs: Output name to array, one mapping a feed.
        profiles: The optimisation profile that each feed took.
        graphs: How each was launched: ``no``, ``captured``, ``built in``, or why it could not be captured.
    """

    outputs: tuple[dict[str, NDArray[Any]], ...]
    profiles: tuple[int | None, ...]
    graphs: tuple[str, ...]


def run_plan(plan: EnginePlan, feeds: Sequence[Feed]) -> list[dict[str, NDArray[Any]]]:
    """The outputs of a plan on this machine's GPU, one mapping a feed; errors as ``trace_plan``'s."""
    return list(trace_plan(plan, feeds).outputs)


def trace_plan(plan: EnginePlan, feeds: Sequence[Feed], *, cuda_graphs: bool = False) -> PlanRun:
    """Runs feeds through a plan on this machine's GPU and says how.

    Args:
        plan: The plan; its file is held against its digest in the worker.
        feeds: Input name to array.
        cuda_graphs: Launch through a CUDA graph, where the engine's work can be captured.

    Raises:
        IntegrityError: The file is not the one that the plan names, or TensorRT cannot load it.
        FeedError: No profile takes a feed's shapes.
        MissingDependencyError: There is no such GPU, or a package is missing.
    """
    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        for number, feed in enumerate(feeds):
            save_arrays(Path(folder) / f"feed{number}.npz", feed)
        said = worker.call(
            "trtbuild.enginerun.serving:infer",
            {**_request(plan, cuda_graphs), "folder": folder, "count": len(feeds)},
            **_where(plan),
        )
        outputs = tuple(load_arrays(Path(folder) / f"result{number}.npz") for number in range(len(feeds)))
        return PlanRun(outputs, tuple(said["profiles"]), tuple(said["graphs"]))


@dataclass(frozen=True)
class RunningPlan:
    """A plan that lies loaded in a worker beside others, and runs when it is told to.

    Attributes:
        plan: The plan.
        gpu: Name of the GPU.
        bus: Its PCI bus id.
        prepare: Takes a feed, and the profile to run it in or None for the nearest; returns the profile it took and how
            calls are launched.
        turn: Runs so many calls; returns the milliseconds of each, by phase and in ``total``.
    """

    plan: EnginePlan
    gpu: str
    bus: str
    prepare: Prepare
    turn: Callable[[int], list[dict[str, float]]]


@contextlib.contextmanager
def plans_in_turn(plans: Sequence[EnginePlan], *, cuda_graphs: bool = False) -> Iterator[list[RunningPlan]]:
    """Loads plans, one worker a flavour, compute capability and interpreter, so that they can take turns call by call.

    Args:
        plans: Plans that ``can_run``.
        cuda_graphs: Launch through CUDA graphs.
    """
    groups: dict[tuple[str, str, str], list[EnginePlan]] = {}
    for plan in plans:
        target = plan.target
        groups.setdefault((target.backend, target.compute_capability, target.python), []).append(plan)
    with contextlib.ExitStack() as open_workers:
        folder = Path(open_workers.enter_context(tempfile.TemporaryDirectory(prefix="trtbuild-")))
        running: list[RunningPlan] = []
        for (backend, capability, _python), group in groups.items():
            request = {
                "backend": backend,
                "compute_capability": capability,
                "plans": [_request(plan, cuda_graphs) for plan in group],
            }
            talk = conversation("trtbuild.enginerun.serving:take_turns", request, **_where(group[0]))
            ask = open_workers.enter_context(talk)
            device = ask({"device": True})
            feeds = folder / str(len(running))
            feeds.mkdir()
            running += [
                RunningPlan(plan, device["name"], device["bus"], *_told(ask, number, feeds / f"{number}.npz"))
                for number, plan in enumerate(group)
            ]
        yield sorted(running, key=lambda r: next(n for n, plan in enumerate(plans) if plan is r.plan))


def _told(ask: Ask, number: int, file: Path) -> tuple[Prepare, Callable[[int], list[dict[str, float]]]]:
    """How one plan of a worker is told to prepare and to take its turn."""

    def prepare(feed: Feed, profile: int | None) -> tuple[int | None, str]:
        save_arrays(file, feed)
        said = ask({"prepare": number, "feed": str(file), "profile": profile})
        return said["profile"], said["graph"]

    def turn(calls: int) -> list[dict[str, float]]:
        return list(ask({"turn": number, "calls": calls}))

    return prepare, turn


def _request(plan: EnginePlan, cuda_graphs: bool) -> dict[str, Any]:
    if plan.not_ready:
        raise IntegrityError(
            f"nothing can run this plan here: {plan.not_ready}",
            place=str(plan.plan.path),
            hint="build it again without that option",
        )
    return {
        "backend": plan.target.backend,
        "plan": str(plan.plan.path),
        "sha256": plan.plan.sha256,
        "plugins": [[str(p.path), p.sha256] for p in plan.plugins],
        "compute_capability": plan.target.compute_capability,
        "cuda_graphs": cuda_graphs,
    }


def _where(plan: EnginePlan) -> dict[str, Any]:
    """The process that runs a plan: variables of its flavour, and the interpreter whose TensorRT built it."""
    environment = dict(BACKENDS.load(plan.target.backend).ENVIRONMENT)
    return {"environment": environment, "python": plan.target.python or None}


__all__ = ["PlanRun", "RunningPlan", "can_run", "plans_in_turn", "run_plan", "trace_plan"]
