"""The first bytes of a plan: a hint at what built it, without loading it.

Undocumented, as observed: a magic word at 0, the size at 16, the version's four numbers at 24, and on TensorRT-RTX a
bit mask of targets at 32. The manifest beside a plan is the truth.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from trtbuild.backends import BACKENDS
from trtbuild.errors import IntegrityError

_LENGTH = 64


@dataclass(frozen=True)
class PlanHeader:
    """What the first bytes say.

    Attributes:
        backend: ``tensorrt`` or ``tensorrt_rtx``.
        version: For example ``1.7.1.116``.
        compute_capabilities: Targets in the plan; empty where the header does not say.
        size: Bytes of the file.
    """

    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    size: int


def read_header(path: Path) -> PlanHeader:
    """Reads the header of a plan.

    Raises:
        IntegrityError: Not a plan, or cut short.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_LENGTH)
    except FileNotFoundError as error:
        raise IntegrityError("there is no such plan", place=str(path), hint="check the path") from error
    except OSError as error:
        raise IntegrityError(
            f"cannot be read: {error.strerror or error}", place=str(path), hint="give the plan's file"
        ) from error
    backend = next((b for b in BACKENDS.summaries() if head[:4] in BACKENDS.load(b).MAGIC), None)
    if backend is None or len(head) < _LENGTH:
        raise IntegrityError(
            "not a TensorRT plan", place=str(path), hint="it begins with other bytes, or is cut short; build it again"
        )
    version = ".".join(str(b) for b in head[24:28])
    (mask,) = struct.unpack_from("<I", head, 32)
    capabilities = tuple(c for bit, c in BACKENDS.load(backend).HEADER_TARGETS.items() if mask & bit)
    return PlanHeader(backend, version, capabilities, path.stat().st_size)
