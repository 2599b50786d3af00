"""A copy of a model repository that a server without a GPU can serve: ONNX beside the plan, a config for the CPU."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from trtbuild import onnxfile
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.serving.server import CPU_CONFIG
from trtbuild.triton.messages import read_text, write_text

CONFIG = "config.pbtxt"


def read_config(folder: Path) -> Any:
    """A model folder's config as Triton's message.

    Raises:
        IntegrityError: There is none.
        SpecError: It is not one.
        MissingDependencyError: tritonclient is not installed.
    """
    place = folder / CONFIG
    try:
        config = read_text(place.read_text(encoding="utf-8"), str(place))
    except FileNotFoundError as error:
        raise IntegrityError(
            "this is no model folder: it has no config.pbtxt", place=str(folder), hint="`trtbuild package` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise IntegrityError(
            f"not a Triton config: {error}", place=str(place), hint="package the model again"
        ) from error
    if not config.name:
        config.name = folder.name
    return config


def write_config(config: Any, place: Path) -> None:
    """Writes a config by temp and rename: a server that reads meanwhile sees the old one or the new one."""
    place.parent.mkdir(exist_ok=True)
    beside = place.with_name(f".{place.name}.partial")
    with beside.open("w", encoding="utf-8") as file:
        file.write(write_text(config))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(place)


def is_tensorrt(config: Any) -> bool:
    """Whether the TensorRT backend serves the model."""
    return bool(config.platform == "tensorrt_plan" or config.backend == "tensorrt")


def models(repository: Path) -> dict[str, Any]:
    """Name of every model of a repository to its config.

    Raises:
        IntegrityError: It has none.
    """
    folders = sorted(p.parent for p in repository.glob(f"*/{CONFIG}"))
    if not folders:
        raise IntegrityError(
            "this is no model repository: no folder in it has a config.pbtxt",
            place=str(repository),
            hint="name the folder that holds the models' folders",
        )
    return {folder.name: read_config(folder) for folder in folders}


def versions(folder: Path) -> list[int]:
    """The versions that a model folder holds, ascending."""
    return sorted(int(p.name) for p in folder.iterdir() if p.is_dir() and p.name.isdigit() and int(p.name) > 0)


def copied(repository: Path, target: Path, *, onnx: Path | None = None) -> Path:
    """Copies a repository and adds what a server without a GPU needs; the given files and configs stay as they are.

    Args:
        repository: The model repository; it is only read.
        target: Where to; it must not be there.
        onnx: The ONNX that the newest version was compiled from. Left out: ``<plan's stem>.onnx`` beside the plan, or
            ``<model>.<precision>.onnx`` in the folder above, where a build puts it.

    Raises:
        UsageError: A plan's ONNX is not found.
        IntegrityError: A plan is not the one that its config names.
    """
    found = models(repository)
    shutil.copytree(repository, target, copy_function=link)
    for name, config in found.items():
        if is_tensorrt(config):
            newest = versions(repository / name)[-1:]
            for version in versions(repository / name):
                _hold_plans(repository / name / str(version), config)
                given = _onnx_of(repository, name, version, config, onnx if [version] == newest else None)
                if given is not None:
                    _place(given, target / name / str(version) / f"{_stem(config)}.onnx")
            add_cpu_config(target / name)
    return target


def add_cpu_config(folder: Path) -> None:
    """Writes ``configs/cpu.pbtxt``: the model's config with every instance on the CPU, and nothing else changed."""
    config = read_config(folder)
    for group in config.instance_group:
        group.kind = type(group).KIND_CPU
        del group.gpus[:], group.profile[:]  # both are about a GPU
    write_config(config, folder / "configs" / f"{CPU_CONFIG}.pbtxt")


def plan_files(config: Any) -> dict[str, str]:
    """Compute capability to the plan's file name; an empty capability where there is one plan for all."""
    return dict(config.cc_model_filenames) or {"": config.default_model_filename or "model.plan"}


def link(source: str, target: str) -> str:
    """A hard link where the file system can: plans are large, and are never written in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _stem(config: Any) -> str:
    return Path(next(iter(plan_files(config).values()))).stem


def _hold_plans(folder: Path, config: Any) -> None:
    """The plans are those whose digests ``trtbuild package`` wrote into the config, where it did.

    The config names one version's plans: an older version beside it is not held against them.
    """
    from trtbuild.content import file_digest

    if int(folder.name) != versions(folder.parent)[-1]:
        return
    for capability, file in plan_files(config).items():
        keys = [f"trtbuild.plan.{capability}"] if capability else [k for k in config.parameters if _names_plan(k)]
        known = {config.parameters[k].string_value for k in keys if k in config.parameters}
        place = folder / file
        if not place.is_file():
            raise IntegrityError("the plan is missing", place=str(place), hint="package the model again")
        if known and file_digest(place) not in known:
            raise IntegrityError(
                "the plan is not the one that config.pbtxt names", place=str(place), hint="package the model again"
            )


def _names_plan(key: str) -> bool:
    return key.startswith("trtbuild.plan.")


def _onnx_of(repository: Path, name: str, version: int, config: Any, given: Path | None) -> Path | None:
    """The ONNX to put beside a plan; None where it lies there already."""
    if given is not None:
        return given
    beside = repository / name / str(version) / f"{_stem(config)}.onnx"
    if beside.is_file():
        return None
    above = sorted(repository.resolve().parent.glob(f"{name}.*.onnx"))
    newest = version == versions(repository / name)[-1]
    if len(above) == 1 and newest:
        return above[0]
    said = (
        f"{len(above)} files {name}.*.onnx lie in {repository.resolve().parent}" if newest else "it is an older version"
    )
    raise UsageError(
        f"the ONNX that this plan was compiled from is not found: {beside.name} is not beside it, and {said}",
        place=str(beside.parent),
        hint="name it with --onnx; a build writes it beside its model_repository",
    )


def _place(onnx: Path, place: Path) -> None:
    """Puts an ONNX in its place; FP16 and BF16 emulated, as verify runs it."""
    model = onnxfile.load(onnx)
    onnxfile.save(emulate(model) if uses_low_precision(model) else model, place)
