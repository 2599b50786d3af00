"""A model folder as it lies on disk, read back: its config, its plans, and the server that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError, SpecError, UsageError
from trtbuild.triton.checks import ENSEMBLE, PLAN, PYTHON, Premises, check_config
from trtbuild.triton.command import server_flags
from trtbuild.triton.gating import check_release
from trtbuild.triton.messages import ModelConfig, read_text
from trtbuild.triton.preflight import Fit, ServedPlan, Verdict, fit, worst
from trtbuild.triton.releases import Release

CONFIG = "config.pbtxt"
_PLAN_KEY = "trtbuild.plan."
_SHIPPED = "shipped"  # where `trtbuild ship` keeps what a version came with, its own config among it


@dataclass(frozen=True)
class ModelFolder:
    """A model folder.

    Attributes:
        path: Where it lies.
        config: Its config, checked.
        plans: Its plans, of all versions; none for a step or an ensemble.
    """

    path: Path
    config: ModelConfig
    plans: tuple[ServedPlan, ...]

    def parameter(self, name: str) -> str:
        """What the config's ``parameters`` say; empty where they say nothing."""
        return str(self.config.parameters[name].string_value) if name in self.config.parameters else ""

    @property
    def digests(self) -> dict[str, str]:
        """Compute capability to the digest of the plan that the config was made for."""
        found = (k.removeprefix(_PLAN_KEY) for k in self.config.parameters if k.startswith(_PLAN_KEY))
        return {capability: self.parameter(_PLAN_KEY + capability) for capability in found}

    @property
    def options(self) -> dict[str, Any]:
        """The build options that decide where its plans load; none where the config does not say."""
        try:
            found = json.loads(self.parameter("trtbuild.options") or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def flags(self) -> tuple[str, ...]:
        """The server's flags that go with it."""
        return server_flags(
            self.config,
            version_compatible=bool(self.options.get("version_compatible")),
            plugins=[str(name) for name in self.options.get("plugins", ())],
        )


def read_models(place: Path, undescribed: Callable[[Path], ServedPlan]) -> list[ModelFolder]:
    """Reads and checks a model folder, or those in a repository; models of other backends are left out.

    Args:
        place: A folder with a config.pbtxt, or one with such folders.
        undescribed: Reads a plan that its config says nothing of.

    Raises:
        UsageError: Neither.
        SpecError: A config is none, or one that Triton would refuse or serve wrongly.
        IntegrityError: A plan is not the one that the config was made for.
    """
    if (place / CONFIG).is_file():
        return [_checked(place, _config(place), None, undescribed)]
    configs = {folder.parent: _config(folder.parent) for folder in sorted(place.glob(f"*/{CONFIG}"))}
    ours = {folder: c for folder, c in configs.items() if c.platform in (PLAN, ENSEMBLE) or c.backend in ("", PYTHON)}
    if not ours:
        raise UsageError(
            f"there is no {CONFIG} of a plan in it, nor in the folders in it",
            place=str(place),
            hint="give a model folder, a model repository, or a plan",
        )
    others = {config.name: config for config in configs.values()}
    return [_checked(folder, config, others, undescribed) for folder, config in ours.items()]


def _config(folder: Path) -> ModelConfig:
    """A folder's config, with what Triton fills in itself: the name, and the platform of the TensorRT backend."""
    place = folder / CONFIG
    try:
        config = read_text(place.read_text(encoding="utf-8"), str(place))
    except UnicodeDecodeError as error:
        raise SpecError("not a text file", place=str(place), hint="package the model again") from error
    config.name = config.name or folder.resolve().name
    if config.backend == "tensorrt" and not config.platform:
        config.platform = PLAN
    return config


def _checked(
    folder: Path,
    config: ModelConfig,
    others: Mapping[str, ModelConfig] | None,
    undescribed: Callable[[Path], ServedPlan],
) -> ModelFolder:
    files = frozenset(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    check_config(config, Premises(folder.resolve().name, files, others=others), str(folder / CONFIG))
    model = ModelFolder(folder, config, ())
    if config.platform != PLAN:
        return model
    capabilities = {file: capability for capability, file in config.cc_model_filenames.items()}
    names = {*capabilities, config.default_model_filename or "model.plan"}
    found = sorted(file for file in files if file.rpartition("/")[2] in names and file.count("/") == 1)
    plans = [_plan(model, file, capabilities.get(file.partition("/")[2], ""), undescribed) for file in found]
    return ModelFolder(folder, config, tuple(plans))


def _plan(model: ModelFolder, file: str, capability: str, undescribed: Callable[[Path], ServedPlan]) -> ServedPlan:
    """One plan, by what the config says of its digest, or the one that the version was shipped with."""
    path = model.path / file
    digest = file_digest(path)
    kept = path.parent / _SHIPPED / CONFIG
    mine = (
        [ModelFolder(kept.parent, read_text(kept.read_text(encoding="utf-8"), str(kept)), ())] if kept.is_file() else []
    )
    for source in (*mine, model):
        known = next((c for c, sha256 in source.digests.items() if sha256 == digest and capability in ("", c)), None)
        backend, _, version = source.parameter("trtbuild.backend").partition(" ")
        if known is not None and version:
            return ServedPlan(
                f"{model.path.name}/{file}",
                backend,
                version,
                known,
                version_compatible=bool(source.options.get("version_compatible")),
                lean_runtime=not source.options.get("exclude_lean_runtime"),
                hardware=str(source.options.get("hardware_compatibility", "none")),
            )
    if (mine and mine[0].digests) or (model.digests and len(_version_folders(model.path)) == 1):
        raise IntegrityError(
            f"{file} is not the plan that {CONFIG} was made for",
            place=str(path),
            hint="package it again, or put the plan back; do not load it",
        )
    return undescribed(path)


def _version_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def check_folder(model: ModelFolder, release: Release, gpus: Sequence[str] = ()) -> tuple[Fit, ...]:
    """Holds a folder against a release: its config's fields, and each plan.

    Where GPUs are named and the folder serves a fleet, only the plans for these count, and a GPU without one does not
    fit.

    Raises:
        SpecError: The config has a field that the release does not know.
    """
    check_release(model.config, release.name, str(model.path / CONFIG))
    plans, found = list(model.plans), []
    if gpus and model.config.cc_model_filenames:
        there = {p.compute_capability for p in plans}
        plans = [p for p in plans if p.compute_capability in gpus or not p.compute_capability]
        missing = [gpu for gpu in gpus if gpu not in there]
        if missing:
            said = f"the folder has plans for {', '.join(sorted(there))}, the GPU has {missing[0]}: build for it"
            found.append(Fit(model.path.name, "does not fit", (said,)))
    for plan in plans:
        mine = [g for g in gpus if g == plan.compute_capability] if model.config.cc_model_filenames else gpus
        found.append(fit(plan, release, mine))
    return tuple(found)


def verdict(fits: Sequence[Fit]) -> Verdict:
    """The worst of a folder's; an ensemble or a step has no plan and fits."""
    return worst(fits) if fits else "fits"
