"""Which NVIDIA GPUs this machine has, asked of the driver through nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: Product name.
        compute_capability: ``major.minor``.
        driver: Driver version.
        memory_mib: Memory, MiB.
    """

    name: str
    compute_capability: str
    driver: str
    memory_mib: int


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs the driver shows, asked once a process; none when there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    fields = "name,compute_cap,driver_version,memory.total"
    try:
        done = subprocess.run(
            [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return tuple(Gpu(r[0], r[1], r[2], int(float(r[3]))) for r in rows if len(r) == 4)


def compute_capabilities() -> tuple[str, ...]:
    """Compute capabilities of this machine's GPUs."""
    return tuple(dict.fromkeys(g.compute_capability for g in gpus()))
