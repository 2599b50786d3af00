"""Faults of a model config, found before the server sees it: those it refuses, and those it does not notice.

The server takes a config with two inputs of one name, an instance count of -1, a CUDA graph that names no input, and
dims that hold the batch axis. All of these fail later, or at the first request.
"""

from __future__ import annotations

from trtbuild.errors import SpecError
from trtbuild.triton.checks import deployment, ensembles, scheduling, tensors
from trtbuild.triton.checks.premises import Premises, Problem
from trtbuild.triton.messages import ModelConfig

__all__ = ["Premises", "Problem", "check_config", "check_model_name", "problems"]

PLAN, ENSEMBLE, PYTHON = "tensorrt_plan", "ensemble", "python"


def problems(config: ModelConfig, premises: Premises) -> list[Problem]:
    """Every fault of a config.

    Args:
        config: Of a plan, an ensemble, or a step in the python backend.
        premises: What is known around it.
    """
    found = [*deployment.name_problems(config, premises), *_backend_problems(config)]
    found += [*tensors.problems(config, premises), *scheduling.problems(config)]
    if config.platform == ENSEMBLE:
        joined = ensembles.against(config, premises.others) if premises.others is not None else ()
        return [*found, *ensembles.problems(config), *joined]
    return [*found, *deployment.problems(config, premises)]


def check_config(config: ModelConfig, premises: Premises, place: str) -> None:
    """Raises for a config that Triton would refuse, or would serve wrongly.

    Raises:
        SpecError: With the field, the cause and the remedy; further faults follow in the message.
    """
    found = problems(config, premises)
    if not found:
        return
    first, *others = found
    more = "".join(f"\n  also {p.field}: {p.message} ({p.hint})" for p in others)
    raise SpecError(first.message + more, place=f"{place}: {first.field}", hint=first.hint)


def check_model_name(name: str) -> None:
    """Raises for a name that Triton forbids.

    Raises:
        SpecError: Empty, of blanks, or one that leads out of its folder.
    """
    for problem in deployment.bad_name(name):
        raise SpecError(problem.message, place="model.name", hint=problem.hint)


def _backend_problems(config: ModelConfig) -> list[Problem]:
    pair = (config.platform, config.backend)
    if pair in ((PLAN, ""), (PLAN, "tensorrt"), (ENSEMBLE, ""), ("", PYTHON)):
        scheduled = config.WhichOneof("scheduling_choice") == "ensemble_scheduling"
        if scheduled != (config.platform == ENSEMBLE):
            return [Problem("platform", "an ensemble's scheduling and the platform ensemble go together", "set both")]
        return []
    said = f"platform {config.platform!r} with backend {config.backend!r}"
    return [Problem("platform", f"{said} is none of ours", f'a plan has platform: "{PLAN}"')]
