"""The builder's progress, and the way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def monitor(trt: Any, emit: Emit) -> Any:
    """Turns the builder's phases into one rising share: each phase fills its part of its parent's step.

    Returns:
        A progress monitor for the builder's config. Its ``cancelled`` is True once ``emit`` has said so; TensorRT then
        stops at the next step and gives no plan.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.open: dict[str, list[Any]] = {}
            self.done = 0.0
            self.cancelled = False

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.open[phase] = [parent, max(steps, 1), 0]
            self._tell(phase)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self.open:
                self.open[phase][2] = step + 1
                self._tell(phase)
            return not self.cancelled

        def phase_finish(self, phase: str) -> None:
            self.open.pop(phase, None)

        def _tell(self, phase: str) -> None:
            self.cancelled |= emit({"phase": phase, "share": self._share(phase)}) is False

        def _share(self, phase: str) -> float:
            share, name = 0.0, phase
            while name in self.open:
                parent, steps, step = self.open[name]
                share = min(1.0, (step + share) / steps)
                name = parent
            self.done = max(self.done, share)
            return self.done

    return Monitor()
