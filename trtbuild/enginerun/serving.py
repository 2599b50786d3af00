"""What runs in the worker process: ``infer`` for a plan's numbers, ``take_turns`` for the speed of several."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.enginerun.arrays import load_arrays, save_arrays
from trtbuild.enginerun.conversation import answer
from trtbuild.enginerun.loading import load_tensorrt, read_plan
from trtbuild.enginerun.runner import EngineRunner
from trtbuild.enginerun.sharing import primary_context

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def infer(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Runs every ``feed<n>.npz`` of a folder through a plan and writes ``result<n>.npz``.

    Args:
        request: ``backend``, ``plan``, ``sha256``, ``compute_capability``, ``cuda_graphs``, ``folder``, ``count``.
        emit: Told how many are done.

    Returns:
        ``profiles``, the profile each feed took, and ``graphs``, how each was launched.
    """
    read_plan(request)  # its digest first: no library is loaded for a plan that is not ours
    load_tensorrt(request["backend"])
    folder = Path(request["folder"])
    profiles, graphs = [], []
    with primary_context(request["compute_capability"]) as device:
        runner = EngineRunner.load(device, request)
        try:
            for number in range(request["count"]):
                runner.prepare(load_arrays(folder / f"feed{number}.npz"))
                runner.call()
                save_arrays(folder / f"result{number}.npz", runner.outputs())
                profiles.append(runner.profile)
                graphs.append(runner.graph)
                emit({"done": number + 1})
        finally:
            runner.close()
    return {"profiles": profiles, "graphs": graphs}


def take_turns(request: Mapping[str, Any], emit: Emit) -> None:
    """Holds several plans of one flavour and runs the one that is asked for, so that they can take turns.

    Args:
        request: ``backend``, ``compute_capability``, and ``plans``, each as ``EngineRunner.load`` takes it.
        emit: The conversation's.

    It answers ``{"device": true}`` with the GPU's ``name`` and ``bus``; ``{"prepare": n, "feed": file, "profile":
    p}`` with the ``profile`` and the ``graph`` that plan takes; ``{"turn": n, "calls": k}`` with the times of k calls.
    """
    for plan in request["plans"]:
        read_plan(plan)
    load_tensorrt(request["backend"])
    with primary_context(request["compute_capability"]) as device, contextlib.ExitStack() as open_runners:
        runners = [EngineRunner.load(device, plan) for plan in request["plans"]]
        for runner in runners:
            open_runners.callback(runner.close)

        def reply(message: dict[str, Any]) -> Any:
            if "device" in message:
                return {"name": device.name, "bus": device.bus}
            if "prepare" in message:
                runner = runners[message["prepare"]]
                runner.prepare(load_arrays(Path(message["feed"])), message["profile"])
                return {"profile": runner.profile, "graph": runner.graph}
            runner = runners[message["turn"]]
            return [runner.call() for _ in range(message["calls"])]

        answer(request, emit, reply)
