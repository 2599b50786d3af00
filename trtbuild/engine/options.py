"""How each option of a build is set, read back, honoured or refused; runs in the worker process.

A setter of TensorRT does not raise: it logs an error or a warning and keeps the old value, and some do so without a
word. So one table says for each option which names of the module it takes, how it is set and how it is read. An option
whose names are not there, or that does not read back as it was set, is an error before anything is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtbuild.artifacts import BuildOptions
from trtbuild.engine.log import Log
from trtbuild.engine.names import PLUGINS, called, missing
from trtbuild.errors import BuildError, SpecError

_MIB, _KIB = 20, 10


@dataclass(frozen=True)
class Builder:
    """What options are set on.

    Attributes:
        trt: The module.
        logger: Hears what it says.
        builder: Its builder.
        config: The builder's configuration.
    """

    trt: Any
    logger: Any
    builder: Any
    config: Any


@dataclass(frozen=True)
class Option:
    """How one option is set and read back.

    Attributes:
        name: Its name in ``BuildOptions``.
        needs: The names of the module that a value of it takes.
        write: Sets a value.
        read: What TensorRT now says; equal to the value where it took.
        always: Set even where it has our default, for TensorRT's is another one.
    """

    name: str
    needs: Callable[[Any], tuple[str, ...]]
    write: Callable[[Builder, Any], None]
    read: Callable[[Builder, Any], Any]
    always: bool = False


def _number(name: str, attribute: str) -> Option:
    return Option(
        name,
        lambda _value: (f"IBuilderConfig.{attribute}",),
        lambda to, value: setattr(to.config, attribute, value),
        lambda to, _value: getattr(to.config, attribute),
    )


def _bytes(name: str, attribute: str, shift: int) -> Option:
    return Option(
        name,
        lambda _value: (f"IBuilderConfig.{attribute}",),
        lambda to, value: setattr(to.config, attribute, value << shift),
        lambda to, _value: getattr(to.config, attribute) >> shift,
    )


def _pool(name: str, pool: str, shift: int) -> Option:
    """A limit of a memory pool, in units of ``1 << shift`` bytes."""
    return Option(
        name,
        lambda _value: (
            f"MemoryPoolType.{pool}", "IBuilderConfig.set_memory_pool_limit", "IBuilderConfig.get_memory_pool_limit",
        ),
        lambda to, value: to.config.set_memory_pool_limit(getattr(to.trt.MemoryPoolType, pool), value << shift),
        lambda to, _value: to.config.get_memory_pool_limit(getattr(to.trt.MemoryPoolType, pool)) >> shift,
    )  # fmt: skip


def _choice(name: str, attribute: str, enum: str, *, always: bool = False) -> Option:
    """A value of an enum; ours is its name in lower case."""
    return Option(
        name,
        lambda value: (f"IBuilderConfig.{attribute}", f"{enum}.{value.upper()}"),
        lambda to, value: setattr(to.config, attribute, getattr(getattr(to.trt, enum), value.upper())),
        lambda to, _value: _word(getattr(to.config, attribute)),
        always,
    )


def _flag(name: str, flags: Mapping[Any, str]) -> Option:
    """Builder flags by the value of the option that turns each on."""
    return Option(
        name,
        lambda value: (f"BuilderFlag.{flags[value]}",),
        lambda to, value: to.config.set_flag(getattr(to.trt.BuilderFlag, flags[value])),
        lambda to, value: value if to.config.get_flag(getattr(to.trt.BuilderFlag, flags[value])) else "off",
    )


def _word(value: Any) -> str:
    """An enum's value by its name, in lower case; NVIDIA's enums print as ``TilingOptimizationLevel.FAST``."""
    return str(value).rpartition(".")[2].lower()


def _take_sources(to: Builder, value: tuple[str, ...]) -> None:
    to.config.set_tactic_sources(_mask(to.trt, value))


def _mask(trt: Any, sources: tuple[str, ...]) -> int:
    return sum(1 << int(getattr(trt.TacticSource, source.upper())) for source in set(sources))


def _take_accelerator(to: Builder, core: int) -> None:
    to.config.default_device_type = to.trt.DeviceType.DLA
    to.config.DLA_core = core


def _accelerator(to: Builder, _core: int) -> Any:
    return to.config.DLA_core if _word(to.config.default_device_type) == "dla" else "the GPU"


def _load_plugins(to: Builder, libraries: tuple[str, ...]) -> None:
    registry = to.builder.get_plugin_registry()
    for library in libraries:
        if not Path(library).is_file():
            raise SpecError("there is no such file", place=f"build.plugins: {library}", hint="give the library's path")
        if registry.load_library(library) is None:
            raise BuildError("it cannot be loaded", place=f"build.plugins: {library}", hint="the log says why")


OPTIONS = (
    _choice("profiling_verbosity", "profiling_verbosity", "ProfilingVerbosity", always=True),
    _pool("workspace_mib", "WORKSPACE", _MIB),
    _pool("tactic_dram_mib", "TACTIC_DRAM", _MIB),
    _pool("tactic_shared_memory_kib", "TACTIC_SHARED_MEMORY", _KIB),
    _number("optimization_level", "builder_optimization_level"),
    _number("max_num_tactics", "max_num_tactics"),
    _number("avg_timing_iterations", "avg_timing_iterations"),
    Option(
        "tactic_sources",
        lambda value: (
            "IBuilderConfig.set_tactic_sources",
            "IBuilderConfig.get_tactic_sources",
            *(f"TacticSource.{source.upper()}" for source in value),
        ),
        _take_sources,
        lambda to, value: value if to.config.get_tactic_sources() == _mask(to.trt, value) else "others",
    ),
    _choice("tiling", "tiling_optimization_level", "TilingOptimizationLevel"),
    _bytes("tiling_l2_mib", "l2_limit_for_tiling", _MIB),
    _number("max_aux_streams", "max_aux_streams"),
    _choice("hardware_compatibility", "hardware_compatibility_level", "HardwareCompatibilityLevel"),
    _choice("runtime_platform", "runtime_platform", "RuntimePlatform"),
    _flag("version_compatible", {True: "VERSION_COMPATIBLE"}),
    _flag("exclude_lean_runtime", {True: "EXCLUDE_LEAN_RUNTIME"}),
    _flag("refit", {"identical": "REFIT_IDENTICAL", "any": "REFIT"}),
    _flag("strip_weights", {True: "STRIP_PLAN"}),
    _flag("weight_streaming", {True: "WEIGHT_STREAMING"}),
    _flag("sparsity", {True: "SPARSE_WEIGHTS"}),
    _flag("strict_nans", {True: "STRICT_NANS"}),
    _flag("distributive_independence", {True: "DISTRIBUTIVE_INDEPENDENCE"}),
    Option(
        "dla_core",
        lambda _value: ("IBuilderConfig.DLA_core", "IBuilderConfig.default_device_type", "DeviceType.DLA"),
        _take_accelerator,
        _accelerator,
    ),
    _flag("dla_gpu_fallback", {True: "GPU_FALLBACK"}),
    _pool("dla_sram_kib", "DLA_MANAGED_SRAM", _KIB),
    _pool("dla_local_dram_mib", "DLA_LOCAL_DRAM", _MIB),
    _pool("dla_global_dram_mib", "DLA_GLOBAL_DRAM", _MIB),
    Option(
        "plugins",
        lambda _value: (*PLUGINS, "IPluginRegistry.load_library"),
        _load_plugins,
        lambda _to, value: value,
    ),
)  # fmt: skip
"""Every option that is set on the builder, in the order in which they are set: some allow others."""


def configure(to: Builder, options: BuildOptions, backend: Any, log: Log) -> tuple[str, ...]:
    """Sets all that was asked for and reads it back.

    Args:
        to: What is configured.
        options: What was asked.
        backend: The backend's module: what it ignores, and whether it has a lean runtime.
        log: What TensorRT says.

    Returns:
        A warning for each option that is ignored.

    Raises:
        SpecError: This TensorRT has not what an option takes.
        BuildError: An option did not take.
    """
    asked = options.asked()
    if options.version_compatible:
        options = replace(options, exclude_lean_runtime=_without_lean_runtime(to, options, backend))
        asked = options.asked()
    for option in OPTIONS:
        if option.name in asked or option.always:
            _set(to, option, getattr(options, option.name), log)
    return tuple(f"build.{name}: {said}" for name, said in backend.IGNORES.items() if name in asked)


def _without_lean_runtime(to: Builder, options: BuildOptions, backend: Any) -> bool:
    """Whether a version-compatible plan leaves the lean runtime out; where there is none, it must."""
    if options.exclude_lean_runtime is False and not backend.HAS_LEAN_RUNTIME:
        raise SpecError(
            f"{called(to.trt)} has no lean runtime to put into the plan",
            place="build.exclude_lean_runtime",
            hint="write   exclude_lean_runtime: true   or leave it out",
        )
    return not backend.HAS_LEAN_RUNTIME if options.exclude_lean_runtime is None else options.exclude_lean_runtime


def _set(to: Builder, option: Option, value: Any, log: Log) -> None:
    if value is False:
        return  # the builder's own default, written out
    place = f"build.{option.name}"
    absent = missing(to.trt, option.needs(value))
    if absent:
        raise SpecError(
            f"{called(to.trt)} cannot do it: it has no {', '.join(absent)}",
            place=place,
            hint=_instead(to.trt, absent[0]) or "leave the option out, or build with another TensorRT",
        )
    heard = len(log.messages)
    option.write(to, value)
    kept = option.read(to, value)
    errors, warnings = (log.since(heard, severity) for severity in ("ERROR", "WARNING"))
    if kept != value or errors:
        said = "".join(f"\n    {line}" for line in (errors or warnings)[:1])
        raise BuildError(
            f"{_shown(value)} did not take: {called(to.trt)} keeps {_shown(kept)}{said}",
            place=place,
            hint="leave the option out, or build with another TensorRT",
        )


def _instead(trt: Any, name: str) -> str:
    """The values that an enum has, where it has not the one asked for."""
    enum, _, _value = name.partition(".")
    found = getattr(getattr(trt, enum, None), "__members__", ())
    return f"it has {', '.join(value.lower() for value in found)}" if found and enum != "BuilderFlag" else ""


def _shown(value: Any) -> str:
    return "it" if value is True else "it off" if value == "off" else str(value)


def set_flag(to: Builder, name: str, *, wanted: bool) -> None:
    """Sets or clears a builder flag that no option names, and reads it back.

    Raises:
        BuildError: It did not take.
    """
    flag = getattr(to.trt.BuilderFlag, name)
    if wanted:
        to.config.set_flag(flag)
    else:
        to.config.clear_flag(flag)
    if to.config.get_flag(flag) != wanted:
        raise BuildError(f"the {name} flag did not take", place="TensorRT")
