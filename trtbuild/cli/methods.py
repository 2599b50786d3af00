"""``trtbuild methods``."""

from __future__ import annotations

from trtbuild.cli._listing import listing

command = listing("methods", "trtbuild.calibration.methods", "calibration method", "calibration methods")
