"""``trtbuild check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console
    from trtbuild.triton.folder import ModelFolder
    from trtbuild.triton.preflight import Fit, ServedPlan
    from trtbuild.triton.releases import Release


@click.command("check", short_help="Say whether a Triton release or a running server loads a folder or a plan.")
@click.argument("place", metavar="FOLDER|PLAN", type=click.Path(path_type=Path))
@click.option("--release", "name", help="Triton release, for example 26.04; default: the one that it was packaged for.")
@click.option("--url", metavar="HOST:PORT", help="HTTP endpoint of a running Triton: its release counts.")
@click.option("--gpu", "gpus", multiple=True, help="GPU that it shall run on: a target's name, sm89 or 8.9.")
@common
def command(place: Path, name: str | None, url: str | None, gpus: tuple[str, ...], console: Console) -> None:
    """Say whether a Triton release or a running server loads a folder or a plan.

    FOLDER is a model folder or a repository of them: its configs are checked as well. Nothing is loaded and nothing is
    sent to the server but one question for its version. Ends with 7 where something does not fit.
    """
    from trtbuild.errors import IntegrityError

    models, single = _subjects(place)
    release = _release(models, name, url)
    capabilities = _capabilities(gpus, url)
    found = [_held(model, release, capabilities) for model in models] if models else []
    if single is not None:
        from trtbuild.triton.preflight import fit

        found = [{"model": single.file, "fits": [fit(single, release, capabilities)], "flags": [], "docker": ""}]
    document = _document(release, found)
    bad = [f for model in found for f in model["fits"] if f.verdict == "does not fit"]
    if bad:
        error = IntegrityError(
            "; ".join(bad[0].reasons) + "".join(f"\n  also {f.file}: {'; '.join(f.reasons)}" for f in bad[1:]),
            place=bad[0].file,
            hint=f"it does not fit Triton {release.name}" + (f"; {bad[0].weak}" if bad[0].weak else ""),
        )
        error.result = document
        raise error
    console.result(document, _text(release, found))


def _subjects(place: Path) -> tuple[list[ModelFolder], ServedPlan | None]:
    """The model folders at a place, or the one plan."""
    from trtbuild.errors import UsageError
    from trtbuild.triton.folder import read_models

    if place.is_dir():
        return read_models(place, _from_file), None
    if not place.exists():
        raise UsageError("there is no such folder or plan", place=str(place), hint="check the path")
    return [], _from_file(place)


def _from_file(path: Path) -> ServedPlan:
    """A plan by the description beside it, or by its first bytes."""
    from trtbuild.artifacts import EnginePlan
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.engine.header import read_header
    from trtbuild.triton.preflight import ServedPlan, served

    header = read_header(path)
    beside = path.with_name(f"{path.name}.json")
    if beside.is_file():
        return served(read_artifact(EnginePlan, beside, "a plan's description"), path.name)
    capability = header.compute_capabilities[0] if len(header.compute_capabilities) == 1 else ""
    return ServedPlan(path.name, header.backend, header.version, capability, described=False)


def _release(models: list[ModelFolder], name: str | None, url: str | None) -> Release:
    from trtbuild.errors import UsageError
    from trtbuild.triton.preflight import live_release
    from trtbuild.triton.releases import release

    if name and url:
        raise UsageError("--release and --url both name what shall serve it", place="--url", hint="leave one out")
    if url:
        return live_release(url)
    packaged = next((r for m in models if (r := m.parameter("trtbuild.release"))), "")
    if not (name or packaged):
        raise UsageError("nothing says which Triton shall serve it", place="--release", hint="add --release 26.04")
    return release(name or packaged)


def _capabilities(gpus: tuple[str, ...], url: str | None) -> tuple[str, ...]:
    """Compute capabilities of the named GPUs; of this machine's, where the server runs on it."""
    import re
    from urllib.parse import urlsplit

    from trtbuild.device import compute_capabilities
    from trtbuild.spec import resolve_target

    if gpus:
        return tuple(g if re.fullmatch(r"\d+\.\d", g) else resolve_target(g).compute_capability for g in gpus)
    host = urlsplit(url if "://" in url else f"//{url}").hostname if url else None
    return tuple(dict.fromkeys(compute_capabilities())) if host in ("localhost", "127.0.0.1", "::1") else ()


def _held(model: ModelFolder, release: Release, gpus: tuple[str, ...]) -> dict[str, Any]:
    from trtbuild.triton.command import docker_run
    from trtbuild.triton.folder import check_folder

    fits = list(check_folder(model, release, gpus))
    switches = (f for fit in fits for f in fit.switches)
    flags = tuple(dict.fromkeys((*model.flags, *switches)))  # of a plan by its first bytes only the fit knows them
    repository = str(model.path.resolve().parent)
    return {
        "model": model.config.name,
        "fits": fits,
        "flags": list(flags),
        "docker": docker_run(release.name, flags, repository=repository) if model.plans else "",
    }


def _document(release: Release, found: list[dict[str, Any]]) -> dict[str, Any]:
    from trtbuild.artifacts import to_json

    return {
        "release": to_json(release),
        "weak": release.weak,
        "models": [
            {
                "model": m["model"],
                "fits": [to_json(f) for f in m["fits"]],
                "server flags": m["flags"],
                "docker run": m["docker"],
            }
            for m in found
        ],
    }


def _text(release: Release, found: list[dict[str, Any]]) -> str:
    known = release.tensorrt or "(unknown)"
    lines = [f"Triton {release.name} (server {release.server}), TensorRT {known}, CUDA {release.cuda}"]
    if release.weak:
        lines.append(f"  weak evidence for its TensorRT: {release.evidence}")
    for model in found:
        lines.append(f"{model['model']}: {'the config is sound' if model['flags'] else 'a plan by itself'}")
        for fit in model["fits"]:
            lines += [f"  {fit.file}: {fit.verdict}", *(f"    {reason}" for reason in fit.reasons), *_needs(fit)]
        if model["docker"]:
            lines += [f"  flags: {' '.join(model['flags'])}", f"  {model['docker']}"]
    return "\n".join(lines)


def _needs(fit: Fit) -> list[str]:
    return [*(f"    start the server with {s}" for s in fit.switches), *([f"    {fit.weak}"] if fit.weak else [])]
