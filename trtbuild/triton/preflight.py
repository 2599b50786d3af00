"""Whether a release, or a server that runs, loads a plan: its TensorRT and its GPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trtbuild.artifacts import EnginePlan
from trtbuild.backends import BACKENDS
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.triton.command import VERSION_COMPATIBLE
from trtbuild.triton.releases import Release, numbers, releases

Verdict = Literal["fits", "fits with a switch", "cannot tell", "does not fit"]
_RANK: tuple[Verdict, ...] = ("fits", "fits with a switch", "cannot tell", "does not fit")

FIRST_CUDA = {"10.0": "12.8", "12.0": "12.8", "10.3": "12.9", "12.1": "12.9", "11.0": "13.0"}
"""Compute capability to the first CUDA release that builds for it. Source: CUDA's release notes."""

_CUDA_13_FROM = "7.5"  # CUDA 13.0 dropped what is below: its release notes
_AMPERE = 8


@dataclass(frozen=True)
class ServedPlan:
    """What decides where a plan loads.

    Attributes:
        file: How to call it.
        backend: ``tensorrt`` or ``tensorrt_rtx``.
        version: The TensorRT that built it.
        compute_capability: What it was built for; empty where nothing says it.
        version_compatible: Whether later releases of the same major version load it.
        lean_runtime: Whether a version-compatible plan has the runtime in it that loads it.
        hardware: ``none``, ``ampere_plus`` or ``same_compute_capability``.
        described: False where only the plan's first bytes are known: its options are not.
    """

    file: str
    backend: str
    version: str
    compute_capability: str = ""
    version_compatible: bool = False
    lean_runtime: bool = True
    hardware: str = "none"
    described: bool = True


@dataclass(frozen=True)
class Fit:
    """Whether a plan loads, and why.

    Attributes:
        file: The plan.
        verdict: In words.
        reasons: What it rests on.
        switches: The server's flags that it needs.
        weak: Why the verdict leans on weak evidence; empty where it does not.
    """

    file: str
    verdict: Verdict
    reasons: tuple[str, ...]
    switches: tuple[str, ...] = ()
    weak: str = ""


def served(plan: EnginePlan, file: str) -> ServedPlan:
    """What a build says of its plan."""
    return ServedPlan(
        file,
        plan.target.backend,
        plan.backend_version,
        plan.target.compute_capability,
        version_compatible=bool(plan.options.get("version_compatible")),
        lean_runtime=not plan.options.get("exclude_lean_runtime"),
        hardware=str(plan.options.get("hardware_compatibility", "none")),
    )


def fit(plan: ServedPlan, release: Release, gpus: Sequence[str] = ()) -> Fit:
    """Holds a plan against a release.

    Args:
        plan: The plan.
        release: What shall serve it.
        gpus: Compute capabilities of the GPUs that it shall run on; none where they are not known.
    """
    version = _version_fit(plan, release)
    gpu = _gpu_fit(plan, release, gpus)
    worst = max((version.verdict, gpu.verdict), key=_RANK.index)
    weak = version.weak if version.verdict != "cannot tell" else ""
    switches = version.switches if worst != "does not fit" else ()
    return Fit(plan.file, worst, (*version.reasons, *gpu.reasons), switches, weak)


def _version_fit(plan: ServedPlan, release: Release) -> Fit:
    there, mine = release.tensorrt, plan.version
    if not BACKENDS.load(plan.backend).LOADED_BY_TRITON:
        reason = (
            f"built by {plan.backend} {mine}: the TensorRT backend of Triton {release.name} loads plans of TensorRT "
            f"{there or '(unknown)'} only; serve it with a Triton backend linked against {plan.backend}, or build with "
            "backend tensorrt"
        )
        return Fit(plan.file, "does not fit", (reason,))
    if there is None:
        return Fit(plan.file, "cannot tell", (f"nobody knows which TensorRT is in Triton {release.name}",))
    weak = f"which TensorRT is in Triton {release.name} is weak evidence: {release.evidence}" if release.weak else ""
    said = f"built by TensorRT {mine}, Triton {release.name} has {there}"
    ours, theirs = numbers(mine), numbers(there)
    switches = (VERSION_COMPATIBLE,) if plan.version_compatible else ()
    if ours[:3] == theirs[:3]:
        other_build = len(ours) == len(theirs) and ours != theirs
        differs = f"{said}: another build of the same release, which mostly loads"
        reason = differs if other_build else said
        return Fit(plan.file, "fits with a switch" if switches else "fits", (reason,), switches, weak)
    found = Fit(plan.file, "does not fit", (f"{said}: build with that version",), weak=weak)
    if ours[0] != theirs[0]:
        return replace(found, reasons=(f"{said}: no plan loads in another major version; build with that version",))
    if theirs < ours:
        return replace(found, reasons=(f"{said}: no plan loads in an older release; build with that version",))
    if not plan.described:
        said = f"{said}: it loads if it was built version-compatible, which its first bytes do not say"
        return replace(found, verdict="cannot tell", reasons=(said,), switches=(VERSION_COMPATIBLE,))
    if not plan.version_compatible:
        return replace(found, reasons=(f"{said}: build with that version, or with build.version_compatible: true",))
    if not plan.lean_runtime:
        return replace(
            found, reasons=(f"{said}: it is version-compatible and left out its runtime, which Triton needs",)
        )
    return Fit(plan.file, "fits with a switch", (f"{said}: version-compatible",), switches, weak)


def _gpu_fit(plan: ServedPlan, release: Release, gpus: Sequence[str]) -> Fit:
    mine = plan.compute_capability
    if not mine:
        return Fit(plan.file, "cannot tell", ("nothing says which GPU the plan was built for",))
    if gap := _cuda_gap(release, mine):
        return Fit(plan.file, "does not fit", (gap,))
    if not gpus:
        return Fit(plan.file, "fits", (f"for GPUs of compute capability {mine}: no GPU was named to hold it against",))
    fitting = [g for g in gpus if _runs_on(plan, g)]
    if len(fitting) == len(gpus):
        return Fit(plan.file, "fits", (f"built for compute capability {mine}, which the GPU takes",))
    other = next(g for g in gpus if g not in fitting)
    reason = f"built for compute capability {mine}, the GPU has {other}: build for it"
    if fitting:  # instances on the other GPUs would fail
        reason += f", or set triton.gpus to those of {', '.join(dict.fromkeys(fitting))}"
    return Fit(plan.file, "does not fit", (reason,))


def _runs_on(plan: ServedPlan, gpu: str) -> bool:
    if plan.hardware == "ampere_plus":
        return numbers(gpu) >= (_AMPERE,)
    return gpu == plan.compute_capability


def _cuda_gap(release: Release, capability: str) -> str:
    """Why the CUDA of a release does not serve a GPU; empty where it does, as far as we know."""
    cuda = numbers(release.cuda)
    first = FIRST_CUDA.get(capability)
    if first and cuda[:2] < numbers(first):
        return f"Triton {release.name} has CUDA {release.cuda}; GPUs of {capability} need {first} or later"
    if cuda[0] >= numbers("13")[0] and numbers(capability) < numbers(_CUDA_13_FROM):
        return f"Triton {release.name} has CUDA {release.cuda}, which dropped GPUs below {_CUDA_13_FROM}"
    return ""


def worst(fits: Sequence[Fit]) -> Verdict:
    """The verdict over a folder: a fleet is served by one server a GPU, and each plan has to load on its own."""
    return max((f.verdict for f in fits), key=_RANK.index)


def live_release(url: str, *, timeout_s: float = 5) -> Release:
    """Which release a server is, from the version it tells over HTTP.

    Args:
        url: ``host:port`` of its HTTP endpoint, or a whole ``http://`` address.
        timeout_s: Seconds to wait for its answer.

    Raises:
        UsageError: Nobody answers there, or not Triton.
        IntegrityError: A Triton of a version that the table does not know.
    """
    from urllib.error import URLError
    from urllib.request import urlopen

    address = url if "://" in url else f"http://{url}"
    if not address.startswith(("http://", "https://")):
        raise UsageError("this is no HTTP address", place=url, hint="give host:port, for example localhost:8000")
    try:
        with urlopen(f"{address.rstrip('/')}/v2", timeout=timeout_s) as answer:  # noqa: S310  http and https only
            told = json.loads(answer.read())
        version = str(told["version"])
    except (URLError, OSError) as error:
        raise UsageError(
            f"no server answers: {getattr(error, 'reason', error)}", place=url, hint="give its HTTP port, mostly 8000"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("something answers that is not Triton", place=url, hint="give Triton's HTTP port") from error
    known = {r.server: r for r in releases().values()}
    if version not in known:
        raise IntegrityError(
            f"Triton {version} is not in the table of releases", place=url, hint="name its release with --release"
        )
    return known[version]
