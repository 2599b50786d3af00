"""Which NVIDIA GPUs this machine has and how they are, asked of the driver through nvidia-smi."""

from __future__ import annotations

import re
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


@dataclass(frozen=True)
class GpuState:
    """What nvidia-smi said of a GPU at one moment; None for what it does not know of this GPU.

    Attributes:
        moment: ``before``, ``warm`` (after the warm-up) or ``after``.
        name: Product name.
        bus: PCI bus id.
        sm_mhz: Clock of the multiprocessors.
        memory_mhz: Clock of the memory.
        sm_max_mhz: Highest clock the multiprocessors can have.
        power_w: Power drawn.
        power_limit_w: Power limit in force.
        celsius: Temperature of the chip.
        memory_used_mib: Memory in use, by all processes.
        slowed_by: Why the clocks are below what was asked for; empty when nothing slows them.
    """

    moment: str
    name: str
    bus: str
    sm_mhz: int | None
    memory_mhz: int | None
    sm_max_mhz: int | None
    power_w: float | None
    power_limit_w: float | None
    celsius: int | None
    memory_used_mib: int | None
    slowed_by: tuple[str, ...] = ()


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs the driver shows, asked once a process; none when there is no driver."""
    rows = _query(("name", "compute_cap", "driver_version", "memory.total")) or []
    return tuple(Gpu(r[0], r[1], r[2], int(float(r[3]))) for r in rows)


def compute_capabilities() -> tuple[str, ...]:
    """Compute capabilities of this machine's GPUs."""
    return tuple(dict.fromkeys(g.compute_capability for g in gpus()))


_STATE = (
    "pci.bus_id", "name", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "power.limit", "temperature.gpu",
    "memory.used",
)  # fmt: skip
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # its name in new drivers, and in old ones
_SLOWED_BY = {
    0x4: "power cap", 0x8: "hardware slowdown", 0x10: "sync boost", 0x20: "heat (driver)", 0x40: "heat (hardware)",
    0x80: "power brake", 0x100: "display clocks",
}  # fmt: skip
"""Bits of nvmlClocksEventReasons in NVIDIA's nvml.h. Left out: 0x1, idle, and 0x2, clocks that somebody has set."""


def states(moment: str, buses: tuple[str, ...] | None = None) -> tuple[GpuState, ...]:
    """Clocks, power, temperature and memory of GPUs now; none when there is no driver.

    Args:
        moment: What to call this moment.
        buses: PCI bus ids of the GPUs to ask about; all when left out.
    """
    rows = next((found for reason in _REASONS if (found := _query((*_STATE, reason))) is not None), [])
    wanted = None if buses is None else {_bus(bus) for bus in buses}
    return tuple(_state(moment, row) for row in rows if wanted is None or _bus(row[0]) in wanted)


def _state(moment: str, row: list[str]) -> GpuState:
    sm, memory, sm_max, power, limit, celsius, used = (_number(cell) for cell in row[2:9])
    try:
        active = int(row[9], 16)
    except ValueError:
        active = 0
    slowed = tuple(word for bit, word in _SLOWED_BY.items() if active & bit)
    return GpuState(
        moment,
        row[1],
        row[0],
        _whole(sm),
        _whole(memory),
        _whole(sm_max),
        power,
        limit,
        _whole(celsius),
        _whole(used),
        slowed,
    )


def _query(fields: tuple[str, ...]) -> list[list[str]] | None:
    """One row of cells a GPU; None when there is no nvidia-smi, or it does not know a field."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return [row for row in rows if len(row) == len(fields)]


def _bus(text: str) -> tuple[int, ...]:
    """A PCI bus id as numbers: drivers write the domain with four digits or with eight."""
    return tuple(int(part, 16) for part in re.split("[:.]", text))


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None  # [N/A], [Not Supported]


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
