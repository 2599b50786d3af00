"""Names of a TensorRT module that the build path takes; runs in the worker process.

TensorRT renames and drops things from release to release, and a callback under a name that it no longer calls is never
called. So all the names are looked up before anything is built, and what a release can do is looked up the same way:
no version string is compared anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from trtbuild.errors import BuildError

BUILDING = (
    "__version__",
    "Builder.build_serialized_network",
    "Builder.create_builder_config",
    "Builder.create_network",
    "Builder.create_optimization_profile",
    "BuilderFlag.TF32",
    "IBuilderConfig.add_optimization_profile",
    "IBuilderConfig.clear_flag",
    "IBuilderConfig.get_flag",
    "IBuilderConfig.profiling_verbosity",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.set_flag",
    "ILogger.log",
    "INetworkDefinition.get_input",
    "INetworkDefinition.num_inputs",
    "IOptimizationProfile.get_shape",
    "IOptimizationProfile.set_shape",
    "IProgressMonitor.phase_finish",
    "IProgressMonitor.phase_start",
    "IProgressMonitor.step_complete",
    "ITensor.name",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "OnnxParser.get_error",
    "OnnxParser.num_errors",
    "OnnxParser.parse_from_file",
    "ParserError.desc",
    "ParserError.node_name",
    "ParserError.node_operator",
    "ProfilingVerbosity.DETAILED",
)
"""What every build takes, whatever the options."""

INSPECTING = (
    "EngineInspector.get_engine_information",
    "ICudaEngine.create_engine_inspector",
    "LayerInformationFormat.JSON",
    "Runtime.deserialize_cuda_engine",
)
"""What listing the layers of an engine takes, on the GPU that it was built on."""

TIMING_CACHE = (
    "IBuilderConfig.create_timing_cache",
    "IBuilderConfig.get_timing_cache",
    "IBuilderConfig.set_timing_cache",
    "ITimingCache.combine",
    "ITimingCache.serialize",
)
"""What taking the times of earlier builds takes."""

PLUGINS = ("INetworkDefinition.add_plugin_v3", "Builder.get_plugin_registry", "init_libnvinfer_plugins")
"""What a model with plug-ins takes."""


@dataclass(frozen=True)
class Abilities:
    """What a TensorRT module can do, as its names tell.

    Attributes:
        needs_gpu_to_build: It builds for the GPU at hand, and times kernels on it; else it is pointed at compute
            capabilities and chooses without a clock.
        has_plugins: A model may have operators from plug-in libraries.
    """

    needs_gpu_to_build: bool
    has_plugins: bool

    @property
    def timing_cache_effective(self) -> bool:
        """Whether there are times to keep."""
        return self.needs_gpu_to_build


def abilities(trt: ModuleType) -> Abilities:
    """Looks up what a module can do."""
    return Abilities(
        needs_gpu_to_build=not has(trt, "IBuilderConfig.set_compute_capability"),
        has_plugins=all(has(trt, name) for name in PLUGINS),
    )


def has(trt: Any, name: str) -> bool:
    """Whether a module has a function, a class, a class's member or an enum's value, such as ``BuilderFlag.REFIT``."""
    here = trt
    for part in name.split("."):
        if not hasattr(here, part):
            return False
        here = getattr(here, part)
    return True


def missing(trt: Any, names: Iterable[str]) -> list[str]:
    """The names that a module does not have."""
    return [name for name in names if not has(trt, name)]


def hold_names(trt: Any, names: Iterable[str]) -> None:
    """Checks that a module has what a build takes of it.

    Raises:
        BuildError: It has not; all missing names are said.
    """
    absent = missing(trt, names)
    if absent:
        raise BuildError(
            f"{called(trt)} has no {', '.join(absent)}, which every build takes",
            place="TensorRT",
            hint="trtbuild knows TensorRT 10.0 to 11.4 and TensorRT-RTX 1.7: install one of these",
        )


def called(trt: Any) -> str:
    """The module and its version, for a message."""
    return f"{trt.__name__} {getattr(trt, '__version__', 'of no version')}"
