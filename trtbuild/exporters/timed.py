"""A PyTorch module as something to time, eager or compiled: what the bench takes as a callable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild.errors import ExportError
from trtbuild.exporters.modules import adapt, import_torch
from trtbuild.sources import user_code

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Feed = Mapping[str, NDArray[Any]]
    Step = Callable[[], Mapping[str, float] | None]


def timed(
    module: torch.nn.Module, inputs: Sequence[str], source: str, *, compiled: bool = False
) -> tuple[str, Callable[[Feed], Step]]:
    """What prepares and runs a module on a feed, in inference, from host memory to host memory.

    On a GPU where torch has one, with CUDA events around the copies and the computation; else on the CPU. ``compiled``
    goes through ``torch.compile``, which compiles anew for new shapes: warm up before counting.

    Args:
        module: The module; it is put into eval() and moved to the device.
        inputs: Input names, in the order of forward().
        source: What to name when the module fails.
        compiled: Whether to compile it.

    Returns:
        The device's name, and what takes a feed and returns one call on it. On a GPU a call returns milliseconds by
        phase; that part has not been run by us.
    """
    torch = import_torch()
    gpu = torch.cuda.is_available()
    model = adapt(module, inputs, None).eval()
    if gpu:
        model = model.cuda()
    call = torch.compile(model) if compiled else model

    def prepare(feed: Feed) -> Step:
        host = [torch.from_numpy(feed[name]) for name in inputs]
        return _on_gpu(call, host) if gpu else _on_cpu(call, host)

    def _on_cpu(call: Any, host: list[Any]) -> Step:
        def step() -> None:
            with torch.inference_mode(), user_code(source, ExportError):
                call(*host)

        return step

    def _on_gpu(call: Any, host: list[Any]) -> Step:
        pinned = [tensor.pin_memory() for tensor in host]
        sent, ready, computed, returned = (torch.cuda.Event(enable_timing=True) for _ in range(4))

        def step() -> Mapping[str, float]:
            with torch.inference_mode(), user_code(source, ExportError):
                sent.record()
                tensors = [tensor.to("cuda", non_blocking=True) for tensor in pinned]
                ready.record()
                before = time.perf_counter()
                results = call(*tensors)
                enqueued = time.perf_counter()
                computed.record()
                for result in results:
                    result.cpu()
                returned.record()
                returned.synchronize()
            return {
                "host_to_device": sent.elapsed_time(ready),
                "compute": ready.elapsed_time(computed),
                "device_to_host": computed.elapsed_time(returned),
                "enqueue": (enqueued - before) * 1e3,
            }

        return step

    return (torch.cuda.get_device_name() if gpu else "CPU"), prepare
