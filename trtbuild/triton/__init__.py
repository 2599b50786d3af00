"""The package stage: a Triton model folder from plans that were verified, and from no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trtbuild
from trtbuild.artifacts import EnginePlan, StoredFile, TritonModel, Verification
from trtbuild.errors import SpecError
from trtbuild.spec.triton import TritonSpec
from trtbuild.triton.admission import hold_plans, hold_settings
from trtbuild.triton.checks import Premises, check_config, check_model_name
from trtbuild.triton.command import docker_run, server_flags
from trtbuild.triton.config import batch_axis, model_config
from trtbuild.triton.ensemble import ENSEMBLE, ensemble_config, step_config, steps
from trtbuild.triton.gating import check_release
from trtbuild.triton.messages import ModelConfig, write_text
from trtbuild.triton.override import merge
from trtbuild.triton.preflight import Fit, fit, served, worst
from trtbuild.triton.profiles import profile_sets, same_sizes
from trtbuild.triton.releases import release

PACKAGES = ("tritonclient", "protobuf")
CONFIG = "config.pbtxt"

__all__ = ["PACKAGES", "hold_settings", "package", "release"]


def package(
    plans: Sequence[EnginePlan],
    verifications: Sequence[Verification],
    workdir: Path | str,
    *,
    name: str,
    version: int = 1,
    folder: Path | str = ".",
    settings: TritonSpec | None = None,
    **options: Any,
) -> TritonModel:
    """Writes ``config.pbtxt`` and names every file of the model folder.

    Args:
        plans: One plan a target; several make one folder that serves a fleet by compute capability.
        verifications: Proofs that cover each plan: of the plan itself, or of the exact ONNX it was compiled from.
        workdir: Folder for what is written.
        name: Model name, also the folder's.
        version: Number of the version folder.
        folder: Where relative paths of label files and steps start.
        settings: A spec's ``triton`` block.
        **options: Keys of that block, instead of ``settings``: ``release="26.04", instances=2``.

    Returns:
        The folder's files by their path inside it, whether that release can load the plans, and how it is started.

    Raises:
        IntegrityError: Nothing verifies a plan.
        AccuracyError: A plan's verification did not pass.
        SpecError: The plans differ in inputs, outputs or profiles, or are of several backends; one cannot be served;
            or Triton would refuse the config, or serve it wrongly.
    """
    chosen = settings or _settings(options)
    check_model_name(name)
    there = release(chosen.release)
    hold_plans(plans, verifications)
    first, place, base = plans[0], Path(workdir), Path(folder)
    fleet = {p.target.compute_capability: p for p in plans}  # two targets of one capability share their plan
    single = len(fleet) == 1
    names = {c: "model.plan" if single else f"model.sm{p.target.sm}.plan" for c, p in fleet.items()}
    labels = _labels(first, chosen, base)
    config = model_config(
        name, first, names, chosen,
        provenance=_provenance(fleet), labels={output: file.path.name for output, file in labels.items()},
    )  # fmt: skip
    merge(config, chosen.override)
    files = {f"{version}/{names[c]}": p.plan for c, p in fleet.items()}
    files |= {file.path.name: file for file in labels.values()}
    stored = _checked(config, Premises(name, frozenset(files), first), chosen, place / CONFIG)
    beside = _beside(name, first, config, chosen, base, place, version)
    plugins = [file.path.name for file in first.plugins]
    flags = server_flags(config, version_compatible=bool(first.options.get("version_compatible")), plugins=plugins)
    fits = [fit(served(p, names[c]), there) for c, p in fleet.items()]
    serving, notes = _fits(fits)
    return TritonModel(
        name=name,
        files={CONFIG: stored, **files},
        plans={p.plan.sha256: f"{version}/{names[c]}" for c, p in fleet.items()},
        serving=serving,
        notes=(*notes, *_notes(first, chosen)),
        beside=beside,
        calls=f"{name}_{ENSEMBLE}" if beside else name,
        flags=flags,
        docker_run="" if worst(fits) == "does not fit" else docker_run(chosen.release, flags, gpus=chosen.gpus),
    )


def _fits(fits: Sequence[Fit]) -> tuple[str, list[str]]:
    """Whether the release loads every plan, ``triton`` or why not, and what that leans on."""
    refused = [f.reasons[0] for f in fits if f.verdict not in ("fits", "fits with a switch")]
    if refused:
        return refused[0], refused[:1]
    return "triton", list(dict.fromkeys(f.weak for f in fits if f.weak))


def _settings(options: Mapping[str, Any]) -> TritonSpec:
    """The keys of a ``triton`` block as keyword arguments."""
    from pydantic import ValidationError

    from trtbuild.spec.yamlfile import as_spec_error

    try:
        return TritonSpec.model_validate(dict(options))
    except ValidationError as error:
        places: dict[tuple[int | str, ...], str] = {(key,): f"triton.{key}" for key in options}
        raise as_spec_error(error, TritonSpec, {}, "triton", places) from error


def _checked(config: ModelConfig, premises: Premises, settings: TritonSpec, place: Path) -> StoredFile:
    """Writes a config that its release knows and that no check finds fault with."""
    said = f"{premises.folder}/{CONFIG}"
    check_release(config, settings.release, said)
    check_config(config, premises, said)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(write_text(config), encoding="utf-8")
    return StoredFile.of(place)


def _provenance(fleet: Mapping[str, EnginePlan]) -> dict[str, str]:
    """What tells a config's reader, and ``trtbuild check``, where its plans come from."""
    first = next(iter(fleet.values()))
    asked = ("version_compatible", "exclude_lean_runtime", "hardware_compatibility")
    options = {name: first.options[name] for name in asked if first.options.get(name)}
    if first.plugins:
        options["plugins"] = [file.path.name for file in first.plugins]
    return {
        "trtbuild.version": trtbuild.__version__,
        "trtbuild.backend": f"{first.target.backend} {first.backend_version}",
        "trtbuild.precision": first.precision,
        "trtbuild.onnx": first.onnx,
        "trtbuild.options": json.dumps(options, sort_keys=True),
        **{f"trtbuild.plan.{c}": p.plan.sha256 for c, p in fleet.items()},
    }


def _labels(plan: EnginePlan, settings: TritonSpec, folder: Path) -> dict[str, StoredFile]:
    """Output name to its label file, which has a line for every class."""
    found: dict[str, StoredFile] = {}
    sizes = {t.name: t.shape[-1] if t.shape else 1 for t in plan.outputs}
    for output, path in settings.labels.items():
        file, place = folder / path, f"triton.labels.{output}"
        try:
            lines = len(file.read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                f"cannot read the labels {path}", place=place, hint="a text file, a label a line"
            ) from error
        classes = sizes.get(output, lines)
        if isinstance(classes, int) and classes != lines:
            raise SpecError(
                f"{path} has {lines} labels, the output has {classes} classes", place=place, hint="one label a line"
            )
        if any(other.path.name == file.name and other.path != file for other in found.values()):
            raise SpecError(f"two label files are called {file.name}", place=place, hint="give them different names")
        found[output] = StoredFile.of(file)
    return found


def _beside(
    name: str, plan: EnginePlan, config: ModelConfig, settings: TritonSpec, folder: Path, workdir: Path, version: int
) -> dict[str, StoredFile]:
    """The steps' models and the ensemble's, each a folder beside the plan's; none where the spec has no step."""
    parts = steps(name, plan, settings, folder)
    if not parts:
        return {}
    found, configs = {}, {name: config}
    for step in parts.values():
        model = workdir / step.name / "model.py"
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(step.file, model)
        found[f"{step.name}/{version}/model.py"] = StoredFile.of(model)
        configs[step.name] = step_config(step, config, plan)
        premises = Premises(folder=step.name)
        found[f"{step.name}/{CONFIG}"] = _checked(configs[step.name], premises, settings, model.with_name(CONFIG))
    whole = f"{name}_{ENSEMBLE}"
    joined = ensemble_config(whole, parts, config, plan, settings)
    premises = Premises(folder=whole, others=configs)
    found[f"{whole}/{CONFIG}"] = _checked(joined, premises, settings, workdir / whole / CONFIG)
    empty = workdir / whole / "about.txt"
    empty.write_text("Triton wants a version folder; an ensemble has nothing to put in it.\n", encoding="utf-8")
    return {**found, f"{whole}/{version}/about.txt": StoredFile.of(empty)}


def _notes(plan: EnginePlan, settings: TritonSpec) -> list[str]:
    """What Triton will do that the plan cannot take, and what it has to be told to load it."""
    told = {
        "version_compatible": "a version-compatible plan: start Triton with --backend-config=tensorrt,"
        "version-compatible=true",
        "plugins": "the plan has plug-ins: start Triton with --backend-config=tensorrt,plugins=<their files>",
    }
    notes = [*_first_batch(plan), *(said for option, said in told.items() if plan.options.get(option))]
    apart = len(profile_sets(plan.profiles, settings.profile_groups)) > 1
    if apart and not same_sizes(plan.profiles):
        notes.append(
            "each profile has an instance group of its own and they take different sizes: a request can meet an "
            "instance that must refuse it; profile_groups: one lets every instance choose"
        )
    if settings.warmup and any(t.name in settings.shape_tensors for t in plan.inputs):
        notes.append("not warmed up: no value of a shape tensor would do; add model_warmup to triton.override")
    return notes


def _first_batch(plan: EnginePlan) -> list[str]:
    """A note where the profiles leave out a single request."""
    axis = batch_axis((*plan.inputs, *plan.outputs))
    smallest = min((p.axes[axis].min for p in plan.profiles), default=1) if axis else 1
    if smallest > 1:
        return [f"the profiles begin at a batch of {smallest}: a single request will fail; let {axis} begin at 1"]
    return []
