"""One TensorRT flavour a file: everything the rest of trtbuild knows of it.

A backend is a module with

- ``PACKAGE``, the import name; ``DISTRIBUTIONS``, what pip calls it, for the versions in a key; ``EXTRA``, the extra of
  trtbuild that installs it; ``ENVIRONMENT``, variables its process needs;
- ``NEEDS_GPU_TO_BUILD``, and ``CAPABILITIES``, the compute capabilities it builds for (None: that of the GPU at hand);
- ``MAGIC``, the first bytes of its plans, and ``HEADER_TARGETS``, the bits of the target mask in their header;
- ``NEEDS``, names of the module that ``aim`` takes, such as ``IBuilderConfig.set_compute_capability``;
- ``IGNORES``, options it accepts and ignores, with what to tell the user;
- ``HAS_LEAN_RUNTIME``, whether it can put the runtime into a version-compatible plan; ``REFITS_WITHOUT_GPU``, whether
  a plan that can be refitted is built on a machine without a GPU;
- ``LOADED_BY_TRITON``, whether Triton's own TensorRT backend loads its plans;
- ``aim(trt, config, target)``, which points a builder config at a target.
"""

from __future__ import annotations

from trtbuild.registry import Registry

BACKENDS = Registry("trtbuild.backends", "backend")


def packages(backend: str) -> tuple[str, ...]:
    """Distributions whose versions belong in the key of a stage that uses this backend."""
    return tuple(BACKENDS.load(backend).DISTRIBUTIONS)
