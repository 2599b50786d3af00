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
from trtbuild.engine.refusals import first_hint, refusal
from trtbuild.errors import BuildError, InvalidOnnxError, missing_package

if TYPE_CHECKING:
    from trtbuild.worker import Emit

_NO_GPU = "cudaError 35"  # what TensorRT-RTX logs without a driver, and then goes on
_SHOWN = 6  # error lines of TensorRT that a user is shown
_NOISE = ("Int64 binding",)  # warnings that no user can act on


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
    log = _Log(trt)
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
    monitor = _monitor(trt, emit)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    Path(request["log"]).write_text(log.text(), encoding="utf-8")
    if plan is None:
        raise _build_error(log, target)
    data = bytes(plan)
    Path(request["plan"]).write_bytes(data)
    layers = next((m for _s, m in log.messages if m.startswith("Layers:")), None)
    inspector = None if layers is not None or not backend.NEEDS_GPU_TO_BUILD else _inspect(trt, logger, data)
    del parser  # it owns what the network points to
    return {"version": str(trt.__version__), "layers": layers, "inspector": inspector, "warnings": log.warnings()}


class _Log:
    """Everything TensorRT says, by severity."""

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.messages: list[tuple[str, str]] = []

    def logger(self) -> Any:
        trt, messages = self._trt, self.messages

        class Logger(trt.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                messages.append((str(severity).rpartition(".")[2], message))

        return Logger()

    def errors(self) -> list[str]:
        return [m for s, m in self.messages if s in ("ERROR", "INTERNAL_ERROR") and _NO_GPU not in m]

    def warnings(self) -> list[str]:
        said = dict.fromkeys(m for s, m in self.messages if s == "WARNING" and not any(n in m for n in _NOISE))
        return list(said)

    def raise_errors(self, doing: str) -> None:
        if self.errors():
            raise BuildError(f"{doing}: {self.said()}", place="TensorRT", hint="the lines are TensorRT's own")

    def said(self) -> str:
        """TensorRT's own first error lines; the first one is the cause."""
        lines = list(dict.fromkeys(_first_line(m) for m in self.errors()))
        return "\n    ".join(lines[:_SHOWN]) if lines else "TensorRT gave no plan and no reason"

    def text(self) -> str:
        return "\n".join(f"[{s}] {m}" for s, m in self.messages if s != "VERBOSE" or m.startswith("Layers:")) + "\n"


def _parse(trt: Any, logger: Any, network: Any, onnx: str, log: _Log) -> Any:
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


def _add_profiles(builder: Any, network: Any, config: Any, profiles: Any, log: _Log) -> None:
    present = {network.get_input(i).name for i in range(network.num_inputs)}
    for number, shapes in enumerate(profiles):
        profile = builder.create_optimization_profile()
        for name, (low, opt, high) in shapes.items():
            if name not in present:
                raise BuildError(f"profile {number} names {name!r}, which is no input", place="TensorRT")
            profile.set_shape(name, tuple(low), tuple(opt), tuple(high))
            if [tuple(s) for s in profile.get_shape(name)] != [tuple(low), tuple(opt), tuple(high)]:
                raise BuildError(
                    f"profile {number} did not take {name}: min {low}, opt {opt}, max {high}",
                    place="TensorRT",
                    hint="min <= opt <= max must hold on every axis, and fixed axes must match the model",
                )
        if config.add_optimization_profile(profile) != number:
            log.raise_errors(f"adding optimisation profile {number}")
            raise BuildError(f"optimisation profile {number} was refused", place="TensorRT")


def _monitor(trt: Any, emit: Emit) -> Any:
    """Turns the builder's phases into one rising share: each phase fills its part of its parent's step."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.open: dict[str, list[Any]] = {}
            self.done = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.open[phase] = [parent, max(steps, 1), 0]
            emit({"phase": phase, "share": self._share(phase)})

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self.open:
                self.open[phase][2] = step + 1
                emit({"phase": phase, "share": self._share(phase)})
            return True

        def phase_finish(self, phase: str) -> None:
            self.open.pop(phase, None)

        def _share(self, phase: str) -> float:
            share, name = 0.0, phase
            while name in self.open:
                parent, steps, step = self.open[name]
                share = min(1.0, (step + share) / steps)
                name = parent
            self.done = max(self.done, share)
            return self.done

    return Monitor()


def _inspect(trt: Any, logger: Any, plan: bytes) -> str | None:
    """The engine inspector's JSON; needs a GPU."""
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        return None
    return str(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


_CAUSES = (
    ("out of memory", "narrow the profile's max sizes, or lower build.workspace_mib"),
    ("OutOfMemory", "narrow the profile's max sizes, or lower build.workspace_mib"),
    ("could not find any implementation", "often memory: raise build.workspace_mib, or narrow the profile's max sizes"),
    ("not supported by a dedicated kernel", "export with an opset below 23: --set model.opset=20"),
    ("FP32 GEMM is not supported", "this GPU has no FP32 matrix kernels here: take precision fp16"),
)


def _build_error(log: _Log, target: Target) -> BuildError:
    words = "\n".join(log.errors()).lower()
    hint = next((h for word, h in _CAUSES if word.lower() in words), "the lines are TensorRT's own, the cause first")
    return BuildError(f"TensorRT did not build the engine:\n    {log.said()}", place=f"target {target.name}", hint=hint)


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
