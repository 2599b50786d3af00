"""trtbuild: from a PyTorch model to a TensorRT engine that has been proved right.

The public API is imported lazily: ``import trtbuild`` costs nothing, ``from trtbuild import build`` loads what a
build needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Spec": "trtbuild.spec",
    "load_spec": "trtbuild.spec",
    "build": "trtbuild.pipeline",
    "BuildResult": "trtbuild.pipeline",
    "Store": "trtbuild.store",
    "export": "trtbuild.exporters",
    "rewrite": "trtbuild.rewriter",
    "calibrate": "trtbuild.calibration",
    "assign_precision": "trtbuild.precision",
    "compile": "trtbuild.engine",
    "verify": "trtbuild.verification",
    "debug": "trtbuild.debugging",
    "bench": "trtbuild.benchmark",
    "package": "trtbuild.triton",
    "render_report": "trtbuild.reporting",
    "TrtbuildError": "trtbuild.errors",
}

if TYPE_CHECKING:
    from trtbuild.benchmark import bench as bench
    from trtbuild.calibration import calibrate as calibrate
    from trtbuild.debugging import debug as debug
    from trtbuild.engine import compile as compile  # noqa: A004
    from trtbuild.errors import TrtbuildError as TrtbuildError
    from trtbuild.exporters import export as export
    from trtbuild.pipeline import BuildResult as BuildResult
    from trtbuild.pipeline import build as build
    from trtbuild.precision import assign_precision as assign_precision
    from trtbuild.reporting import render_report as render_report
    from trtbuild.rewriter import rewrite as rewrite
    from trtbuild.spec import Spec as Spec
    from trtbuild.spec import load_spec as load_spec
    from trtbuild.store import Store as Store
    from trtbuild.triton import package as package
    from trtbuild.verification import verify as verify

__all__ = ["__version__", *_HOME]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trtbuild' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
