"""The log of a build: every stage and everything it did, as plain text."""

from __future__ import annotations

from trtbuild.artifacts import Build


def render_log(done: Build) -> str:
    """One paragraph a stage."""
    lines = []
    for record in done.stages:
        mark = "from the store" if record.hit else "made"
        lines.append(f"{record.stage} ({mark}, {record.seconds:.2f} s, key {record.key[:16]})")
        lines += [f"    {line}" for line in record.said]
    return "\n".join(lines) + "\n"
