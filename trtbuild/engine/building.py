"""Builds one plan; runs in the worker process, with one TensorRT flavour loaded.

TensorRT's setters do not raise: they log an error and keep the old value. So what was set is read back, every error
the log brings becomes an exception, and the first one that is not about a missing GPU is the cause.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import Target, from_json
from trtbuild.backends import BACKENDS
from trtbuild.engine.failures import build_error
from trtbuild.engine.log import Log
from trtbuild.engine.monitor import monitor
from trtbuild.engine.refusals import first_hint, refusal
from trtbuild.errors import BuildError, InvalidOnnxError, ProfileError, missing_package

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def build_plan(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Parses, configures and builds.

    Args:
        request: ``backend``, ``onnx``, ``plan`` and ``log`` (paths), ``target``, ``profiles`` (input name to min, opt
            and max shape, one mapping a profile), ``tf32``, ``workspace_mib``, ``optimization_level``.
        emit: Takes progress events.

    Returns:
        ``version``, ``layers`` (the log's message, or None), ``inspector`` (JSON text, or None), ``warnings``.
    """
    backend = BACKENDS.load(request["backend"])
    try:
        trt = importlib.import_module(backend.PACKAGE)
    except ImportError as error:
        raise missing_package(backend.PACKAGE, backend.EXTRA, needed_for=f"the backend {request['backend']}") from error
    log = Log(trt)
    logger = log.logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = _parse(trt, logger, network, request["onnx"], log)
    config = builder.create_builder_config()
    target = from_json(Target, request["target"])
    _configure(trt, config, request)
    backend.aim(trt, config, target)
    log.raise_errors("configuring the build")
    _add_profiles(builder, network, config, request["profiles"], log)
    progress = monitor(trt, emit)
    config.progress_monitor = progress
    plan = builder.build_serialized_network(network, config)
    Path(request["log"]).write_text(log.text(), encoding="utf-8")
    if plan is None:
        raise build_error(log, target, cancelled=progress.cancelled)
    data = bytes(plan)
    Path(request["plan"]).write_bytes(data)
    layers = next((m for _s, m in log.messages if m.startswith("Layers:")), None)
    inspector = None if layers is not None or not backend.NEEDS_GPU_TO_BUILD else _inspect(trt, logger, data)
    del parser  # it owns what the network points to
    return {"version": str(trt.__version__), "layers": layers, "inspector": inspector, "warnings": log.warnings()}


def _parse(trt: Any, logger: Any, network: Any, onnx: str, log: Log) -> Any:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        refused = [
            refusal(e.desc(), node=_said_by(e, "node_name"), operator=_said_by(e, "node_operator")) for e in errors
        ]
        refused = list(dict.fromkeys(refused)) or [refusal(text) for text in log.errors()] or [refusal("")]
        raise InvalidOnnxError(
            "TensorRT cannot parse it:\n    " + "\n    ".join(map(str, refused)),
            place=onnx,
            hint=first_hint(refused),
        )
    return parser


def _said_by(error: Any, name: str) -> str:
    """What a parser error knows by that name; older releases know less."""
    return str(getattr(error, name, lambda: "")())


def _configure(trt: Any, config: Any, request: Mapping[str, Any]) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    tf32 = trt.BuilderFlag.TF32
    config.set_flag(tf32) if request["tf32"] else config.clear_flag(tf32)  # TensorRT turns it on by itself
    if config.get_flag(tf32) != request["tf32"]:
        raise BuildError("the TF32 flag did not take", place="TensorRT")
    if request["workspace_mib"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_mib"] << 20)
    if request["optimization_level"] is not None:
        level = request["optimization_level"]
        config.builder_optimization_level = level
        if config.builder_optimization_level != level:
            raise BuildError(f"optimisation level {level} did not take", place="TensorRT", hint="levels are 0 to 5")


def _add_profiles(builder: Any, network: Any, config: Any, profiles: Any, log: Log) -> None:
    present = {network.get_input(i).name for i in range(network.num_inputs)}
    for number, shapes in enumerate(profiles):
        profile = builder.create_optimization_profile()
        for name, (low, opt, high) in shapes.items():
            if name not in present:
                raise ProfileError(f"profile {number} names {name!r}, which is no input", place="TensorRT")
            profile.set_shape(name, tuple(low), tuple(opt), tuple(high))
            if [tuple(s) for s in profile.get_shape(name)] != [tuple(low), tuple(opt), tuple(high)]:
                raise ProfileError(
                    f"profile {number} did not take {name}: min {low}, opt {opt}, max {high}",
                    place="TensorRT",
                    hint="min <= opt <= max must hold on every axis, and fixed axes must match the model",
                )
        if config.add_optimization_profile(profile) != number:
            log.raise_errors(f"adding optimisation profile {number}")
            raise ProfileError(f"optimisation profile {number} was refused", place="TensorRT")


def _inspect(trt: Any, logger: Any, plan: bytes) -> str | None:
    """The engine inspector's JSON; needs a GPU."""
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        return None
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
