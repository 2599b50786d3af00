"""What ends a child from outside: its time and its memory."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from trtbuild.errors import MissingDependencyError

_INTERVAL = 0.05  # seconds between two looks at the child's memory
_COUNTED = ("RssAnon:", "RssShmem:", "VmSwap:")


class Limits:
    """Kills a child that runs too long or takes too much memory, and knows which it was.

    Memory is what the child holds of its own, in memory or swapped out; files it has mapped are not counted, for the
    system can drop them. It is looked at, not limited by the system: TensorRT and the CUDA driver map many times the
    address space they use, so a limit on that (RLIMIT_AS) would stop builds that fit.

    Args:
        child: The process.
        timeout_s: Seconds it may run.
        memory_limit_mib: MiB it may hold; None for no limit.

    Attributes:
        expired: Whether it was killed for its time.
        held_mib: What it held when it was killed for its memory; None when it was not.
    """

    def __init__(self, child: subprocess.Popen[str], timeout_s: float, memory_limit_mib: int | None) -> None:
        self.expired = False
        self.held_mib: int | None = None
        self._child = child
        self._timeout_s = timeout_s
        self._memory_limit_mib = memory_limit_mib
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches the child until the end of the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _watch(self) -> None:
        end = time.monotonic() + self._timeout_s
        while True:
            left = end - time.monotonic()
            if left <= 0:
                self.expired = True
                break
            if self._memory_limit_mib is not None:
                held = memory_mib(self._child.pid)
                if held > self._memory_limit_mib:
                    self.held_mib = held
                    break
                left = min(left, _INTERVAL)
            if self._over.wait(left):
                return
        with contextlib.suppress(OSError):
            self._child.kill()


def hold_measurable() -> None:
    """Checks that this system says what a process holds.

    Raises:
        MissingDependencyError: It does not.
    """
    if not Path("/proc/self/status").is_file():
        raise MissingDependencyError(
            "a memory limit needs Linux, where /proc says what a process holds",
            place="build.memory_limit_mib",
            hint="leave it out on this system",
        )


def memory_mib(pid: int) -> int:
    """MiB that a process holds of its own, in memory or swapped out; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(_COUNTED)) >> 10
