"""``trtbuild rules``."""

from __future__ import annotations

from trtbuild.cli._listing import listing

command = listing("rules", "trtbuild.rewriter.rules", "rule", "rewrite rules")
