"""What the builder of a fake TensorRT does; ``fake_tensorrt`` puts it behind the names of a release.

Names that begin with an underscore are the fake's own. What TensorRT-RTX does was seen with 1.7.1; what the others do
is what NVIDIA documents.
"""

import json

from fake_names import Value
from fake_network import (
    EngineInspector,
    ICudaEngine,
    INetworkDefinition,
    IOptimizationProfile,
    IPluginRegistry,
    ITensor,
    OnnxParser,
    ParserError,
    Runtime,
)


class ILogger:
    def log(self, severity, message):
        raise NotImplementedError


class IProgressMonitor:
    pass


class Builder:
    def __init__(self, logger):
        self._logger = logger
        self._values = {"num_DLA_cores": 0}
        self._registry = self._module._make("IPluginRegistry", logger)

    def create_builder_config(self):
        return self._module._make("IBuilderConfig", self._logger)

    def create_network(self, flags=0):
        flag = self._module._facts["NetworkDefinitionCreationFlag"]["enum"]
        return self._module._make(
            "INetworkDefinition", self._logger, [n for n, bit in flag.items() if flags >> bit & 1]
        )

    def create_optimization_profile(self):
        return self._module._make("IOptimizationProfile", self._logger)

    def get_plugin_registry(self):
        return self._registry

    def build_serialized_network(self, network, config):
        self._say("INFO", "Global timing cache in use.")
        monitor = config._values["progress_monitor"]
        phases = [("Building Engine", None, 2), ("Tactic selection", "Building Engine", 3)]
        go_on = True
        for phase, parent, steps in phases:
            self._call(monitor, "phase_start", phase, parent, steps)
            for step in range(steps):
                go_on = go_on and self._call(monitor, "step_complete", phase, step)
        for phase, _parent, _steps in reversed(phases):
            self._call(monitor, "phase_finish", phase)
        if not go_on or self._refuses(config):
            return None
        if config._cache is not None:
            config._cache._entries |= {name for name, _op in network._nodes}
        described = network._described()
        if config._values["profiling_verbosity"].name == "DETAILED" and self._module.__name__ == "tensorrt_rtx":
            self._say("VERBOSE", "Layers:\n" + "\n".join(described))
        return self._module._plan(
            {**config._state(), "network": network._flags, "layers": described, "nodes": network._nodes}
        )

    def _call(self, monitor, name, *words):
        if monitor is None:
            return True
        self._module._touched.add(f"IProgressMonitor.{name}")
        return getattr(monitor, name)(*words)

    def _refuses(self, config):
        """What only the build finds out: on RTX without a GPU, refitting and the lean runtime."""
        flags = {flag.name for flag in config._flags}
        missing = None
        if self._module.__name__ == "tensorrt_rtx" and flags & {"REFIT", "REFIT_IDENTICAL", "STRIP_PLAN"}:
            missing = "Error Code 1: Myelin (graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS) failed.)"
        if self._module.__name__ == "tensorrt_rtx" and "VERSION_COMPATIBLE" in flags - {"EXCLUDE_LEAN_RUNTIME"}:
            missing = None if "EXCLUDE_LEAN_RUNTIME" in flags else "Unable to load library: libnvinfer_lean.so.1"
        if missing:
            self._say("ERROR", f"IBuilder::buildSerializedNetwork: {missing}")
        return bool(missing)


class IBuilderConfig:
    def __init__(self, logger):
        self._logger = logger
        facts, value = self._module._facts, self._module._value
        numbers = {
            "builder_optimization_level": 3, "max_num_tactics": -1, "avg_timing_iterations": 1, "max_aux_streams": -1,
            "l2_limit_for_tiling": 0, "DLA_core": -1, "num_compute_capabilities": 0, "progress_monitor": None,
        }  # fmt: skip
        choices = {
            "profiling_verbosity": ("ProfilingVerbosity", "LAYER_NAMES_ONLY"),
            "tiling_optimization_level": ("TilingOptimizationLevel", "NONE"),
            "hardware_compatibility_level": ("HardwareCompatibilityLevel", "NONE"),
            "runtime_platform": ("RuntimePlatform", "SAME_AS_BUILD"),
            "default_device_type": ("DeviceType", "GPU"),
        }
        self._values = numbers | {k: value(*v) for k, v in choices.items() if v[0] in facts}
        self._flags, self._pools, self._profiles, self._cache = {value("BuilderFlag", "TF32")}, {}, [], None
        self._sources, self._targets, self._core = (1 << len(facts["TacticSource"]["enum"])) - 1, [], None

    def _keep(self, name, value):
        """A setter: what it refuses it logs, and keeps what it had."""
        kept, rtx = self._values[name], self._module.__name__ == "tensorrt_rtx"
        if isinstance(kept, Value) and not (isinstance(value, Value) and value.enum == kept.enum):
            raise TypeError(f"{name} takes a {kept.enum}")
        if name == "builder_optimization_level":
            value = min(value, 5)
        too_low = {"builder_optimization_level": 0, "max_num_tactics": -1}
        ineffective = {"max_num_tactics": lambda v: v == 0, "l2_limit_for_tiling": lambda v: v < 0,
                       "max_aux_streams": lambda v: v < 0}  # fmt: skip
        if name in too_low and value < too_low[name]:
            self._say("ERROR", f"IBuilderConfig::{name}: Error Code 3: API Usage Error (Parameter check failed)")
        elif ineffective.get(name, lambda _v: False)(value):
            self._say("WARNING", f"IBuilderConfig::{name}({value}) has no effect.")
        elif rtx and name == "hardware_compatibility_level":
            self._say("WARNING", "setHardwareCompatibilityLevel() is unsupported in TensorRT-RTX.")
        elif rtx and name == "runtime_platform" and value.name != "SAME_AS_BUILD":
            self._say("ERROR", "IBuilderConfig::setRuntimePlatform: Error Code 3: API Usage Error")
        elif name != "DLA_core" or value < self._module._dla_cores:  # a core that is not there is kept out in silence
            self._values[name] = value

    def set_flag(self, flag):
        names = {f.name for f in self._flags}
        if flag.name == "EXCLUDE_LEAN_RUNTIME" and "VERSION_COMPATIBLE" not in names:
            self._say("ERROR", "IBuilderConfig::setFlag: kEXCLUDE_LEAN_RUNTIME needs kVERSION_COMPATIBLE")
        else:
            self._flags.add(flag)

    def clear_flag(self, flag):
        self._flags.discard(flag)

    def get_flag(self, flag):
        return flag in self._flags

    def set_memory_pool_limit(self, pool, size):
        if pool.name.startswith("DLA") and not self._module._dla_cores:
            self._say("ERROR", "IBuilderConfig::setMemoryPoolLimit: Setting DLA memory pool size with DLA disabled")
        else:
            self._pools[pool] = size

    def get_memory_pool_limit(self, pool):
        return self._pools.get(pool, 1 << 30)

    def set_tactic_sources(self, mask):
        self._sources = mask
        return True

    def get_tactic_sources(self):
        return self._sources

    def set_compute_capability(self, capability, index):
        if index >= self._values["num_compute_capabilities"]:
            return False
        self._targets.append(capability)
        return True

    def add_optimization_profile(self, profile):
        if any(
            not low <= opt <= high
            for shapes in profile._shapes.values()
            for low, opt, high in zip(*shapes, strict=True)
        ):
            self._say("ERROR", "IBuilderConfig::addOptimizationProfile: min <= opt <= max does not hold")
            return -1
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, data):
        return self._module._make("ITimingCache", self._logger, data)

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._device not in (None, self._module._device) and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    def _state(self):
        words = {k: str(v).rpartition(".")[2] if isinstance(v, Value) else v for k, v in self._values.items()}
        del words["progress_monitor"]
        return {
            "values": words, "flags": sorted(f.name for f in self._flags), "profiles": self._profiles,
            "pools": {p.name: size for p, size in self._pools.items()}, "sources": self._sources,
            "targets": [t.name for t in self._targets],
        }  # fmt: skip


class ITimingCache:
    """As bytes: the device it is of, and the names of the kernels it has times of."""

    def __init__(self, logger, data):
        self._logger = logger
        self._device, self._entries = None, set()
        if data:
            held = json.loads(data)
            self._device, self._entries = held["device"], set(held["entries"])

    def serialize(self):
        return json.dumps({"device": self._module._device, "entries": sorted(self._entries)}).encode()

    def combine(self, other, ignore_mismatch):
        if other._device not in (None, self._module._device) and not ignore_mismatch:
            return False
        self._entries |= other._entries
        return True


PARTS = (
    ILogger, IProgressMonitor, Builder, IBuilderConfig, ITimingCache, INetworkDefinition, ITensor, IOptimizationProfile,
    OnnxParser, ParserError, IPluginRegistry, Runtime, ICudaEngine, EngineInspector,
)  # fmt: skip
