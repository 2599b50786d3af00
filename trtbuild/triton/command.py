"""The server's flags that a model folder needs, and the docker line that starts it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from trtbuild.triton.messages import ModelConfig

VERSION_COMPATIBLE = "--backend-config=tensorrt,version-compatible=true"
CACHE = "--cache-config=local,size=67108864"  # 64 MiB, bytes
IMAGE = "nvcr.io/nvidia/tritonserver:{release}-py3"
_PLUGINS = "/plugins"  # where the container sees them


def server_flags(
    config: ModelConfig, *, version_compatible: bool = False, plugins: Sequence[str] = ()
) -> tuple[str, ...]:
    """Flags without which the server would not load the folder, or would not do what its config says.

    Args:
        config: The plan's config.
        version_compatible: Whether the plan was built for later releases too.
        plugins: File names of the plug-in libraries that it was built with.
    """
    flags = ["--disable-auto-complete-config"]  # the config is whole; auto-complete would add a batcher to it
    if version_compatible:
        flags.append(VERSION_COMPATIBLE)
    if plugins:
        flags.append(f"--backend-config=tensorrt,plugins={';'.join(f'{_PLUGINS}/{name}' for name in plugins)}")
    if config.response_cache.enable:
        flags.append(CACHE)
    limited = [g for g in config.instance_group if g.HasField("rate_limiter")]
    if limited:
        flags.append("--rate-limit=execution_count")
    needed: dict[str, int] = {}
    for group in limited:
        for resource in group.rate_limiter.resources:
            needed[resource.name] = max(needed.get(resource.name, 0), resource.count)
    flags += [f"--rate-limit-resource={name}:{count}" for name, count in needed.items()]
    return tuple(flags)


def docker_run(
    release: str, flags: Sequence[str], *, repository: str = "model_repository", gpus: Sequence[int] = ()
) -> str:
    """The line that starts the release's own image on a model repository, read only.

    Args:
        release: For example ``26.04``.
        flags: The server's flags.
        repository: The folder that holds the model's folder; a relative one starts where the line is typed.
        gpus: GPU numbers; all of them where there are none.
    """
    told = f"device={','.join(map(str, gpus))}" if gpus else "all"
    mounts = {repository: "/models"} | ({"plugins": _PLUGINS} if any("plugins=" in f for f in flags) else {})
    words = ["docker", "run", "--rm", "--gpus", f'"{told}"' if gpus else told, "--shm-size=1g"]
    words += ["-p", "8000:8000", "-p", "8001:8001", "-p", "8002:8002"]
    words += [word for source, there in mounts.items() for word in ("-v", f"{_absolute(source)}:{there}:ro")]
    words += [IMAGE.format(release=release), "tritonserver", "--model-repository=/models", *flags]
    return " ".join(word if word.startswith('"$PWD"') else shlex.quote(word) for word in words)


def _absolute(folder: str) -> str:
    """Docker wants whole paths: a relative one begins at the shell's folder."""
    return shlex.quote(folder) if folder.startswith("/") else f'"$PWD"/{shlex.quote(folder)}'


def explain(flags: Sequence[str]) -> Mapping[str, str]:
    """Why each flag is there, in a few words."""
    why = {
        "--disable-auto-complete-config": "the config is whole",
        VERSION_COMPATIBLE: "the plan is version-compatible: it brings its own runtime, so load only plans you trust",
        CACHE: "the response cache has no room without it",
        "--rate-limit=execution_count": "the rate limiter is off without it",
    }
    return {f: why[f] for f in flags if f in why}
