"""Runs plans on a GPU, in the worker process: ``infer`` for their numbers, ``time_plan`` for their speed.

A plan is executable code, so its digest is checked before any library touches it. We have not run this on a GPU yet.
"""

from __future__ import annotations

import hashlib
import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import worker
from trtbuild.artifacts import EnginePlan
from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.errors import IntegrityError, MissingDependencyError, missing_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.worker import Emit


def can_run(plan: EnginePlan) -> bool:
    """Whether this machine has a GPU of the plan's compute capability."""
    return plan.target.compute_capability in compute_capabilities()


def run_plan(plan: EnginePlan, feeds: Sequence[Mapping[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]]]:
    """Runs feeds through a plan on this machine's GPU.

    Returns:
        Output name to array, one dict a feed.
    """
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="trtbuild-") as folder:
        for number, feed in enumerate(feeds):
            np.savez(Path(folder) / f"feed{number}.npz", **dict(feed))  # type: ignore[arg-type]
        worker.call(
            "trtbuild.enginerun:infer",
            {**_plan_request(plan), "folder": folder, "count": len(feeds)},
            environment=_environment(plan),
        )
        results = []
        for number in range(len(feeds)):
            with np.load(Path(folder) / f"result{number}.npz") as arrays:
                results.append({name: arrays[name] for name in arrays.files})
        return results


def time_on_gpu(plan: EnginePlan, shapes: Mapping[str, Sequence[int]], *, warm_up: int, runs: int) -> list[float]:
    """Milliseconds of each run of a plan at one set of shapes, between CUDA events; host copies are not counted."""
    request = {
        **_plan_request(plan),
        "shapes": {k: list(v) for k, v in shapes.items()},
        "warm_up": warm_up,
        "runs": runs,
    }
    return list(worker.call("trtbuild.enginerun:time_plan", request, environment=_environment(plan)))


def _plan_request(plan: EnginePlan) -> dict[str, Any]:
    return {"backend": plan.target.backend, "plan": str(plan.plan.path), "sha256": plan.plan.sha256}


def _environment(plan: EnginePlan) -> dict[str, str]:
    return dict(BACKENDS.load(plan.target.backend).ENVIRONMENT)


# ------------------------------------------------------------------------------------------------- in the worker


def infer(request: Mapping[str, Any], emit: Emit) -> None:
    """Runs every ``feed<n>.npz`` of a folder through a plan with Polygraphy and writes ``result<n>.npz``."""
    import numpy as np

    plan = _read_plan(request)
    _load_tensorrt(request)
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    from polygraphy.comparator import Comparator
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    folder = Path(request["folder"])
    feeds = []
    for number in range(request["count"]):
        with np.load(folder / f"feed{number}.npz") as arrays:
            feeds.append({name: arrays[name] for name in arrays.files})
    results = Comparator.run([TrtRunner(EngineFromBytes(plan), name="engine")], data_loader=feeds)
    for number, iteration in enumerate(results["engine"]):
        np.savez(folder / f"result{number}.npz", **dict(iteration.items()))
        emit({"done": number + 1})


def time_plan(request: Mapping[str, Any], emit: Emit) -> list[float]:  # noqa: ARG001
    """Milliseconds of each of ``runs`` calls after ``warm_up`` ones."""
    trt = _load_tensorrt(request)
    try:
        import pycuda.autoinit  # noqa: F401 - makes the context that everything below needs
        import pycuda.driver as cuda
    except ImportError as error:
        raise missing_package("pycuda", "gpu", needed_for="timing a plan") from error
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(_read_plan(request))
    if engine is None:
        raise IntegrityError(
            "TensorRT cannot load the plan", place=request["plan"], hint="another version or GPU than it was built for"
        )
    context = engine.create_execution_context()
    for name, shape in request["shapes"].items():
        context.set_input_shape(name, tuple(shape))
    buffers = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        size = trt.volume(context.get_tensor_shape(name)) * engine.get_tensor_dtype(name).itemsize
        buffers.append(cuda.mem_alloc(max(int(size), 1)))
        cuda.memset_d8(buffers[-1], 0, max(int(size), 1))
        context.set_tensor_address(name, int(buffers[-1]))
    stream = cuda.Stream()
    before, after = cuda.Event(), cuda.Event()
    times = []
    for number in range(request["warm_up"] + request["runs"]):
        before.record(stream)
        context.execute_async_v3(stream.handle)
        after.record(stream)
        after.synchronize()
        if number >= request["warm_up"]:
            times.append(float(before.time_till(after)))
    return times


def _read_plan(request: Mapping[str, Any]) -> bytes:
    data = Path(request["plan"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != request["sha256"]:
        raise IntegrityError(
            "the plan is not the one its manifest names", place=request["plan"], hint="build it again; do not load it"
        )
    return data


def _load_tensorrt(request: Mapping[str, Any]) -> Any:
    backend = BACKENDS.load(request["backend"])
    if not compute_capabilities():
        raise MissingDependencyError("this machine shows no NVIDIA GPU", place="engine", hint="run it on the target")
    try:
        return importlib.import_module(backend.PACKAGE)
    except ImportError as error:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for="running a plan") from error
