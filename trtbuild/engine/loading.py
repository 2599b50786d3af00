"""Loads a plan on this machine's GPU to look into it; runs in the worker process. We have not run this on a GPU yet."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.backends import BACKENDS
from trtbuild.device import compute_capabilities
from trtbuild.errors import IntegrityError, MissingDependencyError, missing_package

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def engine_information(request: Mapping[str, Any], emit: Emit) -> str:  # noqa: ARG001
    """The engine inspector's JSON of a plan.

    Args:
        request: ``backend``, ``plan`` (path), ``sha256`` of the plan, ``compute_capabilities`` it was built for (empty
            where its header does not say).
        emit: Not used.

    Raises:
        MissingDependencyError: No GPU that the plan is for, or no TensorRT.
        IntegrityError: The plan has changed since it was looked at, or TensorRT does not load it.
    """
    backend = BACKENDS.load(request["backend"])
    _hold_gpu(request["plan"], request["compute_capabilities"])
    try:
        trt = importlib.import_module(backend.PACKAGE)
    except ImportError as error:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for="loading a plan") from error
    data = Path(request["plan"]).read_bytes()
    if hashlib.sha256(data).hexdigest() != request["sha256"]:
        raise IntegrityError("the plan changed while it was read", place=request["plan"], hint="try again")
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(data)
    if engine is None:
        raise IntegrityError(
            f"TensorRT {trt.__version__} cannot load the plan",
            place=request["plan"],
            hint="another version or GPU than it was built for: `trtbuild inspect` without --load says which",
        )
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def _hold_gpu(plan: str, built_for: list[str]) -> None:
    present = compute_capabilities()
    if not present:
        raise MissingDependencyError(
            "this machine shows no NVIDIA GPU, and an engine is loaded on one",
            place=plan,
            hint="leave --load out: what the build wrote beside the plan is shown without a GPU",
        )
    if built_for and not set(built_for) & set(present):
        raise MissingDependencyError(
            f"the plan is for compute capability {', '.join(built_for)}, this machine's GPUs have {', '.join(present)}",
            place=plan,
            hint="leave --load out, or run this on the target machine",
        )
