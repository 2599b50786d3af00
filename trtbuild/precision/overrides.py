"""Precisions that a user asks for node by node, by name pattern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from trtbuild.errors import SpecError
from trtbuild.quantization import FORMATS, Placement
from trtbuild.registry import nearest_hint


def resolve_overrides(
    patterns: Mapping[str, str], names: Iterable[str], placement: Placement, place: str = "precision_overrides"
) -> dict[str, str]:
    """Finds the nodes that each pattern is about.

    Args:
        patterns: Pattern to precision, as ``{"*/attention/*": "fp16"}``: ``*``, ``?`` and ``[...]`` as in file names,
            case matters, ``*`` goes over ``/`` too. Where several match a node the last one counts.
        names: The nodes that a pattern may name.
        placement: Which of them can be quantised, and why others cannot.
        place: How an error calls the mapping.

    Returns:
        Node to precision, in the order of ``names``. A pattern that asks for a quantised format passes over the nodes
        that cannot have one.

    Raises:
        SpecError: A pattern matches nothing, or nothing that can be quantised where that is asked for.
    """
    known = list(dict.fromkeys(name for name in names if name))
    quantisable = {n.node for n in placement.nodes}
    asked: dict[str, str] = {}
    for pattern, precision in patterns.items():
        matched = [name for name in known if fnmatchcase(name, pattern)]
        if not matched:
            raise SpecError(f"no node is called {pattern!r}", place=place, hint=_nearest(pattern, known))
        if precision in FORMATS:
            able = [name for name in matched if name in quantisable]
            if not able:
                reason = placement.kept.get(matched[0], "only Conv, ConvTranspose, Gemm and MatMul can be quantised")
                raise SpecError(
                    f"{matched[0]!r} cannot be {precision}: {reason}", place=place, hint="ask for fp16 or fp32 there"
                )
            matched = able
        asked.update(dict.fromkeys(matched, precision))
    return {name: asked[name] for name in known if name in asked}


def _nearest(pattern: str, known: list[str]) -> str:
    """The nearest name; where the words of a pattern are in some name, the names that have them."""
    words = pattern.replace("?", "*").strip("*").split("*")
    containing = [name for name in known if any(word and word.strip("/") in name for word in words)]
    hint = nearest_hint(pattern.strip("*/"), containing or known)
    return hint if hint.startswith("did you") else f"some of its nodes: {', '.join((containing or known)[:5])}"
