"""CUDA graphs: one launch instead of one a kernel.

No released pycuda binds CUDA graphs (2026.1 neither), so the capture goes through NVIDIA's own bindings of the same
driver; a stream's handle is the same number to both. Not run on a GPU by us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trtbuild.errors import BuildError, missing_package


class CapturedGraph:
    """The work of one enqueue, captured from a stream and ready to launch again.

    It holds the shapes, the addresses and the values of shape tensors that were set when it was captured.

    Args:
        handle: Handle of the stream; not the default stream, which cannot be captured.
        enqueue: Puts the work into that stream and says whether it could. It has run once before, so that nothing is
            left for TensorRT to set up.

    Raises:
        MissingDependencyError: The package cuda-bindings is missing.
        BuildError: The work cannot be captured: loops, conditions and outputs that depend on data cannot.
    """

    def __init__(self, handle: int, enqueue: Callable[[], bool]) -> None:
        driver = self._driver = _import_driver()
        self._stream = driver.CUstream(handle)
        self._executable: Any = None
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL  # other threads, torch's, stay free
        _checked(driver, driver.cuStreamBeginCapture(self._stream, mode))
        enqueued = False
        try:
            enqueued = enqueue()
        finally:
            ended = driver.cuStreamEndCapture(self._stream)  # also after a failure: or the stream stays unusable
        graph = _checked(driver, ended)
        try:
            if not enqueued:
                raise BuildError("TensorRT would not enqueue while its work was captured", place="CUDA graph")
            self._executable = _checked(driver, driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)

    def launch(self) -> bool:
        """Puts the captured work into the stream; True, as an enqueue says it."""
        _checked(self._driver, self._driver.cuGraphLaunch(self._executable, self._stream))
        return True

    def free(self) -> None:
        """Gives the graph back; it must not be running."""
        if self._executable is not None:
            self._driver.cuGraphExecDestroy(self._executable)
            self._executable = None


def _import_driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise missing_package("cuda-bindings", "gpu", needed_for="capturing a CUDA graph") from error
    return driver


def _checked(driver: Any, answer: Any) -> Any:
    """What a driver call returned beside its status; raises when the status is not success."""
    status, *values = answer
    if status != driver.CUresult.CUDA_SUCCESS:
        raise BuildError(f"the CUDA driver says {status.name}", place="CUDA graph", hint="run it without CUDA graphs")
    return values[0] if values else None
