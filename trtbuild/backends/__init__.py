"""One TensorRT flavour a file: everything the rest of trtbuild knows of it.

A backend is a module with

- ``PACKAGE``, the import name; ``DISTRIBUTIONS``, what pip calls it, for the versions in a key; ``EXTRA``, the extra of
  trtbuild that installs it; ``ENVIRONMENT``, variables its process needs;
- ``NEEDS_GPU_TO_BUILD``, and ``CAPABILITIES``, the compute capabilities it builds for (None: that of the GPU at hand);
- ``MAGIC``, the first bytes of its plans, and ``HEADER_TARGETS``, the bits of the target mask in their header;
- ``IGNORES``, options it accepts and ignores, with what to tell the user;
- ``LOADED_BY_TRITON``, whether Triton's own TensorRT backend loads its plans;
- ``aim(trt, config, target)``, which points a builder config at a target.
"""

from __future__ import annotations

from trtbuild.registry import Registry

BACKENDS = Registry("trtbuild.backends", "backend")


def packages(backend: str) -> tuple[str, ...]:
    """Distributions whose versions belong in the key of a stage that uses this backend."""
    return tuple(BACKENDS.load(backend).DISTRIBUTIONS)
