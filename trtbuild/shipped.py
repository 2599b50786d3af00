"""Finds the files that ship with trtbuild: ``profiles/`` and ``calibration/``.

In a wheel they lie inside the package; in a checkout they are folders beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """The folder ``profiles`` or ``calibration`` of this installation."""
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
