"""Says of one node what each rule did there, or why it did nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtbuild import onnxfile
from trtbuild.artifacts import RewrittenOnnx
from trtbuild.errors import UsageError
from trtbuild.registry import nearest_hint
from trtbuild.rewriter.rule import RULES, Rule, rules_from, shipped_rules


def explain(done: RewrittenOnnx, original: Path, node: str, *, rules: Sequence[Path] = ()) -> list[str]:
    """What became of a node.

    Args:
        done: What ``rewrite`` gave back.
        original: The file it was given.
        node: Name of a node of the original or of the rewritten graph.
        rules: The files of the user's own rules that were applied.

    Returns:
        Lines: what the node is, then what each rule that looks at such a node, or touched it, did or why not.

    Raises:
        UsageError: Neither graph has such a node.
    """
    before, after = (
        {n.name: n for g in onnxfile.graphs(onnxfile.load(p, weights=False).graph) for n in g.node}
        for p in (original, done.model.path)
    )
    found = before.get(node) or after.get(node)
    if found is None:
        known = dict.fromkeys([*before, *after, *(made for e in done.applied for made in e.made)])
        if node not in known:
            raise UsageError(f"neither graph has a node {node!r}", place="--explain", hint=nearest_hint(node, known))
    op = found.op_type if found is not None else "made and replaced on the way"
    fate = "still there" if node in after else "no longer there"
    lines = [f"{node} ({op}), {fate}"]
    touched = [e for e in done.applied if node in (e.node, *e.covers, *e.made)]
    lines += [f"  {e.rule}: {e.change}" + (f" (at {e.node})" if e.node != node else "") for e in touched]
    declined = [d for d in done.declined if d.node == node]
    lines += [f"  {d.rule}: declined, {d.reason}" for d in declined]
    if node not in after and not touched:
        lines.append("  the pre-pass folded or merged it, or nobody reads it any more")
    spoken = {e.rule for e in touched} | {d.rule for d in declined}
    everyone: list[Rule] = [*shipped_rules(RULES.names()), *(r for file in rules for r in rules_from(file))]
    silent = [r.name for r in everyone if r.name not in spoken and found is not None and op in r.ops]
    lines += [f"  {name}: looks at {op}; its pattern is not here" for name in silent]
    return lines
