"""The GPU's primary context: the one that torch, ONNX Runtime and TensorRT use, too.

``pycuda.autoinit`` makes a context of its own, and memory of one context means nothing in another. The primary context
is retained here, made current for as long as something runs, and handed back as it was found. Not run on a GPU by us.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trtbuild.errors import BuildError, MissingDependencyError, missing_package


@dataclass(frozen=True)
class SharedDevice:
    """The GPU in use.

    Attributes:
        cuda: The module ``pycuda.driver``.
        name: Product name.
        bus: PCI bus id, as nvidia-smi knows it too.
        compute_capability: ``major.minor``.
    """

    cuda: Any
    name: str
    bus: str
    compute_capability: str


def import_pycuda() -> Any:
    """``pycuda.driver``, or the error that names the extra which brings it."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise missing_package("pycuda", "gpu", needed_for="running a plan") from error
    return cuda


@contextlib.contextmanager
def primary_context(compute_capability: str | None = None) -> Iterator[SharedDevice]:
    """Makes the primary context of a GPU current, and what was current before current again after.

    Args:
        compute_capability: The first GPU of this capability is taken; the first of all when left out.

    Raises:
        MissingDependencyError: pycuda is missing, or there is no such GPU.
        BuildError: The driver refuses something inside, memory for example.
    """
    cuda = import_pycuda()
    cuda.init()
    found = {}
    for number in range(cuda.Device.count()):
        device = cuda.Device(number)
        found[number] = "{}.{}".format(*device.compute_capability())
        if compute_capability in (None, found[number]):
            break
    else:
        raise MissingDependencyError(
            f"no GPU here has compute capability {compute_capability}; there is {', '.join(found.values()) or 'none'}",
            place="engine",
            hint="run it on the target",
        )
    primary = device.retain_primary_context()
    primary.push()
    try:
        yield SharedDevice(cuda, str(device.name()), str(device.pci_bus_id()), found[number])
    except cuda.Error as error:
        full = isinstance(error, cuda.MemoryError)
        hint = "close other programs on this GPU, or feed smaller shapes" if full else "the words are the driver's own"
        raise BuildError(f"the GPU driver refuses: {error}", place="engine", hint=hint) from error
    finally:
        cuda.Context.pop()
