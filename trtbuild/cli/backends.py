"""``trtbuild backends``."""

from __future__ import annotations

from trtbuild.cli._listing import listing

command = listing("backends", "trtbuild.backends", "backend", "TensorRT backends")
