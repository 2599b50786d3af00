"""Builds one plan; runs in the worker process, with one TensorRT flavour loaded.

TensorRT's setters do not raise: they log an error and keep the old value. So what was set is read back, every error
the log brings becomes an exception, and the first one that is not about a missing GPU is the cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import BuildOptions, Target
from trtbuild.backends import BACKENDS
from trtbuild.engine import timing_cache
from trtbuild.engine.failures import build_error
from trtbuild.engine.log import Log
from trtbuild.engine.monitor import monitor
from trtbuild.engine.names import BUILDING, INSPECTING, abilities, hold_names
from trtbuild.engine.options import Builder, configure, set_flag
from trtbuild.engine.parsing import load_tensorrt, parse
from trtbuild.errors import ProfileError

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def build_plan(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Configures, parses and builds.

    Args:
        request: ``target`` and ``options`` (as JSON); ``onnx``, ``plan`` and ``log`` (paths); ``profiles`` (input name
            to min, opt and max shape, one mapping a profile); ``tf32``; ``timings``, the folder of the shared timing
            caches.
        emit: Takes progress events.

    Returns:
        ``version``, ``layers`` (the log's message, or None), ``inspector`` (JSON text, or None), ``warnings``,
        ``timing_cache`` (the file of this build's times, or None).
    """
    target, options = Target(**request["target"]), BuildOptions.of(request["options"])
    to, log, ignored = _configured(target, options)
    set_flag(to, "TF32", wanted=request["tf32"])  # TensorRT turns it on by itself
    unused = timing_cache.start(to, options, Path(request["timings"]))
    trt, logger, config = to.trt, to.logger, to.config
    network = to.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = parse(trt, logger, network, request["onnx"], log)
    _add_profiles(to.builder, network, config, request["profiles"], log)
    config.progress_monitor = progress = monitor(trt, emit)
    plan = to.builder.build_serialized_network(network, config)
    Path(request["log"]).write_text(log.text(), encoding="utf-8")
    if plan is None:
        raise build_error(log, target, cancelled=progress.cancelled)
    data = bytes(plan)
    Path(request["plan"]).write_bytes(data)
    timings = timing_cache.keep(to, options, Path(request["timings"]), beside=Path(request["plan"]))
    layers = next((m for _s, m in log.messages if m.startswith("Layers:")), None)
    inspector = None if layers is not None or not abilities(trt).needs_gpu_to_build else _inspect(trt, logger, data)
    del parser, progress  # the network points into the one, the configuration to the other
    return {
        "version": str(trt.__version__),
        "layers": layers,
        "inspector": inspector,
        "warnings": [*ignored, *unused, *log.warnings()],
        "timing_cache": None if timings is None else str(timings),
    }


def try_options(request: Mapping[str, Any], emit: Emit) -> list[str]:  # noqa: ARG001
    """Sets the options of a build and builds nothing, to know what is refused before hours of work.

    Args:
        request: ``target``, ``options``.
        emit: Not used.

    Returns:
        What the backend ignores.
    """
    _to, _log, ignored = _configured(Target(**request["target"]), BuildOptions.of(request["options"]))
    return list(ignored)


def _configured(target: Target, options: BuildOptions) -> tuple[Builder, Log, tuple[str, ...]]:
    """A builder that has all that was asked for, what it says, and what it ignores."""
    backend, trt = BACKENDS.load(target.backend), load_tensorrt(target.backend)
    able = abilities(trt)
    hold_names(trt, (*BUILDING, *backend.NEEDS, *(INSPECTING if able.needs_gpu_to_build else ())))
    log = Log(trt)
    logger = log.logger()
    if able.has_plugins:
        trt.init_libnvinfer_plugins(logger, "")  # those that come with TensorRT
    builder = trt.Builder(logger)
    to = Builder(trt, logger, builder, builder.create_builder_config())
    ignored = configure(to, options, backend, log)
    backend.aim(trt, to.config, target)
    log.raise_errors("configuring the build")
    return to, log, ignored


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
