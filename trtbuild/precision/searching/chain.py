"""What each node may be in, and in which order nodes are best raised to a more accurate format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trtbuild.artifacts import SensitivityTable
from trtbuild.precision.searching.costs import Costs


@dataclass(frozen=True)
class Option:
    """One format that a node may have.

    Attributes:
        format: Its name.
        cost: Estimated time, as a share of all matrix work unquantised.
        noise: Error power over signal power at the output.
    """

    format: str
    cost: float
    noise: float


def options_of(
    sensitivity: SensitivityTable, costs: Costs, forced: Mapping[str, str] | None = None
) -> dict[str, list[Option]]:
    """What each node may be in, from the cheapest to the most accurate; nodes with a forced precision have that only.

    Args:
        sensitivity: Noise by node and format.
        costs: Time by node and format.
        forced: Node to the precision that the user asks for.
    """
    rest = costs.rest
    found: dict[str, list[Option]] = {}
    for entry in sensitivity.nodes:
        found.setdefault(entry.node, [Option(rest, costs.relative(entry.node, rest), 0.0)])
        found[entry.node].append(Option(entry.format, costs.relative(entry.node, entry.format), entry.noise))
    for node in sensitivity.left_out:
        found[node] = [Option(rest, costs.relative(node, rest), 0.0)]
    for node, precision in (forced or {}).items():
        if node in costs.work:
            known = [o for o in found.get(node, []) if o.format == precision]
            found[node] = known or [Option(precision, costs.relative(node, precision), 0.0)]
    return {node: worth_taking(options) for node, options in found.items()}


def worth_taking(options: Sequence[Option]) -> list[Option]:
    """The options on the lower hull of noise over cost, from the cheapest to the most accurate."""
    hull: list[Option] = []
    for option in sorted(options, key=lambda o: (o.cost, o.noise)):
        if hull and option.noise >= hull[-1].noise:
            continue
        while len(hull) > 1 and _steepness(hull[-1], option) >= _steepness(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    return hull


def _steepness(before: Option, after: Option) -> float:
    """Noise taken away for the time it costs."""
    extra = after.cost - before.cost
    return (before.noise - after.noise) / extra if extra > 0 else math.inf


@dataclass(frozen=True)
class Step:
    """One node's way to its next format."""

    node: str
    before: Option
    after: Option


def chain(options: Mapping[str, Sequence[Option]]) -> list[Step]:
    """The steps from all nodes in their cheapest format to all in their most accurate, the best first."""
    steps = [Step(n, a, b) for n, o in options.items() for a, b in pairwise(o)]
    return sorted(steps, key=lambda s: -_steepness(s.before, s.after))  # stable: a node's own steps stay in order
