"""Finds the cheapest precision for each node that holds an accuracy floor.

1. **A chain.** Every node starts in its cheapest format. Noise powers of nodes add up, about, so the best next step is
   the one that takes away most noise for the time it costs. The steps in this order make a chain of assignments, each
   cheaper and noisier than the next; the last has every node in a precision that is not quantised. A format that
   another one beats in both time and noise is never taken.
2. **Real runs.** The chain's order is an estimate, what holds is not: the cheapest assignment that holds the floor,
   with the margin that ``floor`` describes, is found by running graphs on the judging rows, first where the estimate
   points, then halving what is left of the chain.
3. **Going back.** Of the nodes that were raised, each is tried in its cheaper format again, the one that saves most
   time for the noise it adds first, until three in a row do not hold.

The most accurate assignment is run first, so that there is something to pick whenever a time budget ends the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trtbuild.artifacts import Front, FrontPoint, SensitivityTable
from trtbuild.precision.searching.chain import Option, chain, options_of
from trtbuild.precision.searching.costs import Costs
from trtbuild.precision.searching.floor import Floor, Judged
from trtbuild.precision.searching.judging import Judge
from trtbuild.quantization.fidelity import noise_of, sqnr_of

_GIVE_UP = 3  # nodes in a row that could not go back

Formats = Mapping[str, str]
Progress = Callable[[int, str], None]
"""Told how many graphs have been run, and what is tried next."""


def search(
    sensitivity: SensitivityTable,
    costs: Costs,
    judge: Judge,
    *,
    forced: Formats | None = None,
    time_budget_s: float | None = None,
    shown: int = 5,
    on_progress: Progress = lambda _runs, _what: None,
) -> Front:
    """Searches the front and picks the cheapest point that holds the judge's floor.

    Args:
        sensitivity: What each node's quantisation does to the outputs.
        costs: What each node costs.
        judge: Runs graphs; holds the floor.
        forced: Node to the precision that the user asks for.
        time_budget_s: Seconds that judging may take, earlier runs in the judge's journal included. At least one graph
            is run.
        shown: Further points of the chain to run, evenly spread, so that the front shows measured accuracies.
        on_progress: Told before each run.
    """
    walk = _Walk(options_of(sensitivity, costs, forced), judge, time_budget_s, on_progress)
    last = len(walk.steps)
    best = last if walk.try_step(last, "the most accurate") else None
    if best is not None:
        best = walk.bisect(last)
        walk.fill_up(best)
        walk.go_back()
        for number in range(shown + 1):
            walk.try_step(round(number * last / (shown + 1)), "a point of the front")
    return _front(walk, costs, sensitivity)


@dataclass
class _Walk:
    """A search on its way.

    Attributes:
        options: What each node may be in.
        judge: Runs graphs.
        budget_s: Seconds that judging may take.
        on_progress: Told before each run.
        tried: Assignments run so far, as sorted pairs, to what they came to.
        picked: The cheapest assignment so far that holds.
        complete: False once the budget has ended the search.
    """

    options: Mapping[str, Sequence[Option]]
    judge: Judge
    budget_s: float | None
    on_progress: Progress
    tried: dict[tuple[tuple[str, str], ...], Judged] = field(default_factory=dict)
    picked: dict[str, Option] | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        self.steps = chain(self.options)

    def at(self, number: int) -> dict[str, Option]:
        """The assignment after some steps of the chain."""
        now = {node: options[0] for node, options in self.options.items()}
        return now | {s.node: s.after for s in self.steps[:number]}

    def try_step(self, number: int, what: str) -> bool:
        return self.try_out(self.at(number), what)

    def try_out(self, assignment: dict[str, Option], what: str) -> bool:
        """Runs one assignment; False where it does not hold, or the budget is used up."""
        key = _key(assignment)
        if key not in self.tried:
            if self.tried and self.budget_s is not None and self.judge.seconds >= self.budget_s:
                self.complete = False
                return False
            self.on_progress(len(self.tried), what)
            self.tried[key] = self.judge(dict(key))
        holds = self.judge.holds(self.tried[key])
        if holds and (self.picked is None or _cost(assignment) < _cost(self.picked)):
            self.picked = assignment
        return holds

    def bisect(self, last: int) -> int:
        """The first number of steps that holds, if holding never ends once it has begun; ``last`` holds."""
        low, high = -1, last
        pivot = self._guess()
        while high - low > 1 and self.complete:
            pivot = min(max(pivot, low + 1), high - 1)
            if self.try_step(pivot, f"{pivot} of {last} steps"):
                high = pivot
            elif self.complete:
                low = pivot
            pivot = (low + high) // 2
        return high

    def fill_up(self, number: int) -> None:
        """Tries smaller steps in the place of the last one taken: a large one may cost more than the floor asks for."""
        if number == 0 or self.picked is None:
            return
        now, limit, failed = self.at(number - 1), _cost(self.picked), 0
        for step in self.steps[number:]:
            raised = {**now, step.node: step.after}
            if failed == 2 * _GIVE_UP or not self.complete:
                return
            if now[step.node] != step.before or _cost(raised) >= limit:
                continue
            now = raised
            if self.try_out(now, f"{step.node} in {step.after.format} instead"):
                return
            failed += 1

    def go_back(self) -> None:
        """Tries the steps that were taken undone, the one that saves most time for the noise it adds first."""
        failed = 0
        for step in reversed(self.steps):
            if failed == _GIVE_UP or not self.complete or self.picked is None:
                return
            if self.picked.get(step.node) == step.after:
                lower = {**self.picked, step.node: step.before}
                failed = 0 if self.try_out(lower, f"{step.node} in {step.before.format} again") else failed + 1

    def base(self) -> float:
        """Noise of the most accurate assignment that is not of the quantised nodes: what the rest's precision makes."""
        last = self.at(len(self.steps))
        found = self.tried.get(_key(last))
        measured = noise_of(found.sqnr_db) if found else 0.0
        return max(0.0, measured - sum(o.noise for o in last.values()))

    def _guess(self) -> int:
        allowed = allowed_noise(self.judge.floor) - self.base()
        noise = sum(o.noise for o in self.at(0).values())
        for number, step in enumerate(self.steps):
            if noise <= allowed:
                return number
            noise -= step.before.noise - step.after.noise
        return len(self.steps)


def allowed_noise(floor: Floor) -> float:
    """Noise power over signal power at a floor; a small error across the signal turns it by noise / 2 in cosine."""
    return noise_of(floor.min) if floor.metric == "sqnr" else max(2 * (1 - floor.min), 1e-30)


def _front(walk: _Walk, costs: Costs, sensitivity: SensitivityTable) -> Front:
    cheapest = walk.at(0)
    base = walk.base()
    assignments = {_key(a): a for a in (walk.at(n) for n in range(len(walk.steps) + 1))}
    if walk.picked is not None:
        assignments[_key(walk.picked)] = walk.picked
    made = [
        (a, _point(a, cheapest, walk.tried.get(key), walk.judge, costs, base + sum(o.noise for o in a.values())))
        for key, a in assignments.items()
    ]
    points = pareto(made, walk.picked)
    chosen = next((i for i, (a, _) in enumerate(points) if a == walk.picked), None)
    notes = list(sensitivity.notes)
    notes += [f"{r.target}: {words}" for r in costs.rooflines for words in r.assumed]
    if not walk.complete:
        notes.append(
            f"the time budget ended the search after {walk.judge.runs} runs: the best graph so far was taken"
            if walk.picked is not None
            else f"the time budget ended the search after {walk.judge.runs} runs: none of them holds the floor"
        )
    elif walk.picked is None:
        notes.append("no graph holds the floor with its margin, not even the one without quantised nodes")
    return Front(
        metric=walk.judge.floor.metric,
        min=walk.judge.floor.min,
        cheapest={node: o.format for node, o in cheapest.items()},
        points=tuple(point for _, point in points),
        chosen=chosen,
        judged_on=walk.judge.rows,
        runs=walk.judge.runs,
        complete=walk.complete,
        notes=tuple(notes),
    )


def _point(
    assignment: Mapping[str, Option],
    cheapest: Mapping[str, Option],
    found: Judged | None,
    judge: Judge,
    costs: Costs,
    noise: float,
) -> FrontPoint:
    formats = {node: o.format for node, o in assignment.items()}
    return FrontPoint(
        raised={node: o.format for node, o in assignment.items() if o.format != cheapest[node].format},
        predicted_db=sqnr_of(noise),
        seconds=costs.total(formats),
        weight_bytes=costs.weight_bytes(formats),
        shares=costs.shares(formats),
        sqnr_db=found.sqnr_db if found else None,
        cosine=found.cosine if found else None,
        bound=found.bound if found else None,
        holds=judge.holds(found) if found else None,
    )


def pareto(
    made: Sequence[tuple[dict[str, Option], FrontPoint]], picked: Mapping[str, Option] | None
) -> list[tuple[dict[str, Option], FrontPoint]]:
    """The points that no cheaper one beats, by measured SQNR where there is one; the picked one is among them."""
    ordered = sorted(made, key=lambda m: (_cost(m[0]), -_accuracy(m[1])))
    kept: list[tuple[dict[str, Option], FrontPoint]] = []
    for assignment, point in ordered:
        if assignment == picked:  # it was picked by the floor's metric: what seems to beat it in dB does not hold
            kept = [k for k in kept if _accuracy(k[1]) < _accuracy(point) and _cost(k[0]) < _cost(assignment)]
            kept.append((assignment, point))
        elif not kept or _accuracy(point) > _accuracy(kept[-1][1]):
            kept.append((assignment, point))
    return kept


def assignment_of(front: Front, number: int) -> dict[str, str]:
    """Node to format, at one point of a front."""
    return {**front.cheapest, **front.points[number].raised}


def _key(assignment: Mapping[str, Option]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((node, o.format) for node, o in assignment.items()))


def _cost(assignment: Mapping[str, Option]) -> float:
    return sum(o.cost for o in assignment.values())


def _accuracy(point: FrontPoint) -> float:
    return point.predicted_db if point.sqnr_db is None else point.sqnr_db
