"""From a plan file to an execution context, in the worker process. Not run on a GPU by us."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.errors import BuildError, IntegrityError, MissingDependencyError, missing_package


def read_plan(request: Mapping[str, Any]) -> bytes:
    """The bytes of a plan that is the one its manifest names.

    A plan is executable code, so this comes before any library sees it.

    Raises:
        IntegrityError: Its digest is another.
    """
    return _held("plan", request["plan"], request["sha256"])


def plugin_files(request: Mapping[str, Any]) -> list[str]:
    """The plug-in libraries of a plan, each the one that its manifest names; they are executable code as well.

    Raises:
        IntegrityError: A digest is another.
    """
    for file, sha256 in request["plugins"]:
        _held("plug-in", file, sha256)
    return [file for file, _sha256 in request["plugins"]]


def _held(what: str, file: str, sha256: str) -> bytes:
    data = Path(file).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(
            f"the {what} is not the one its manifest names", place=file, hint="build it again; do not load it"
        )
    return data


def load_tensorrt(backend_name: str) -> Any:
    """The TensorRT flavour of a backend.

    Raises:
        MissingDependencyError: There is no GPU, or the package is missing.
    """
    backend = BACKENDS.load(backend_name)
    if not compute_capabilities():
        raise MissingDependencyError("this machine shows no NVIDIA GPU", place="engine", hint="run it on the target")
    try:
        return importlib.import_module(backend.PACKAGE)
    except ImportError as error:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for="running a plan") from error


@dataclass(frozen=True)
class LoadedEngine:
    """An engine, and what must outlive it."""

    engine: Any
    owners: tuple[Any, ...]


def deserialize(trt: Any, plan: bytes, place: str, plugins: Sequence[str] = ()) -> LoadedEngine:
    """An engine from a plan's bytes; the current CUDA context is the one it lives in.

    Args:
        trt: The TensorRT flavour.
        plan: Bytes that ``read_plan`` has checked.
        place: The plan, for an error.
        plugins: Plug-in libraries that ``plugin_files`` has checked.

    Raises:
        IntegrityError: TensorRT does not load it.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    if hasattr(trt.INetworkDefinition, "add_plugin_v3"):
        trt.init_libnvinfer_plugins(logger, "")  # those that come with TensorRT
    for library in plugins:
        if runtime.get_plugin_registry().load_library(library) is None:
            raise IntegrityError("TensorRT cannot load this plug-in", place=library, hint="it wants another TensorRT")
    runtime.engine_host_code_allowed = True  # a version-compatible plan brings code; ``read_plan`` knows whose it is
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise IntegrityError(
            "TensorRT cannot load the plan", place=place, hint="another version or GPU than it was built for"
        )
    return LoadedEngine(engine, (runtime, logger))


def create_context(trt: Any, engine: Any, *, cuda_graphs: bool) -> tuple[Any, bool]:
    """An execution context, and whether it captures CUDA graphs by itself.

    TensorRT-RTX compiles kernels for the shapes it sees. Eagerly: what is measured and compared is then the kernel that
    stays, not the fallback that runs while it compiles. It also captures graphs by itself, for a capture from outside
    cannot tell the two kernels apart.

    Raises:
        BuildError: TensorRT makes no context, or does not take an option.
    """
    if not hasattr(trt, "CudaGraphStrategy"):
        context, built_in = engine.create_execution_context(), False
    else:
        config = engine.create_runtime_config()
        eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.dynamic_shapes_kernel_specialization_strategy = eager
        strategies = trt.CudaGraphStrategy
        wanted = strategies.WHOLE_GRAPH_CAPTURE if cuda_graphs else strategies.DISABLED
        config.cuda_graph_strategy = wanted
        if config.cuda_graph_strategy != wanted or config.dynamic_shapes_kernel_specialization_strategy != eager:
            raise BuildError("TensorRT-RTX did not take the runtime configuration", place="engine")
        context, built_in = engine.create_execution_context(config), cuda_graphs
    if context is None:
        raise BuildError(
            "TensorRT made no execution context", place="engine", hint="often memory: close other programs on this GPU"
        )
    return context, built_in
