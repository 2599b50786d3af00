"""The search on noises and costs that are known, with a judge that adds noises up exactly."""

import math

import pytest

from trtbuild.artifacts import NodeSensitivity, SensitivityTable, TargetRates
from trtbuild.precision.searching.chain import Option, chain, options_of, worth_taking
from trtbuild.precision.searching.costs import Costs, NodeWork, roofline
from trtbuild.precision.searching.floor import Floor, Judged
from trtbuild.precision.searching.search import allowed_noise, assignment_of, search

NOISES = {"a": 1e-3, "b": 4e-3, "c": 2e-5, "d": 3e-4, "e": 2.5e-3, "f": 1e-6}
MACS = {"a": 40, "b": 10, "c": 80, "d": 20, "e": 30, "f": 5}
REST = 1e-7  # noise of everything in fp16


def sensitivity(noises=NOISES, left_out=()):
    entries = tuple(
        NodeSensitivity(n, "MatMul", "int8", noise, -10 * math.log10(noise), MACS[n], 1) for n, noise in noises.items()
    )
    return SensitivityTable("graph", "data", "exact", 8, entries, left_out)


def costs():
    work = {n: NodeWork(macs * 10**9, 10, 10, 10) for n, macs in MACS.items()}
    return Costs(work, (roofline(TargetRates("gpu", {"fp16": 1e14, "int8": 2e14}, 1e12)),), "fp16")


class Adding:
    """Judges by the sum of the noises, times what the estimate is wrong by."""

    def __init__(self, floor, wrong=1.0, seconds=1.0):
        self.floor, self.rows, self.runs, self.seconds = floor, 16, 0, 0.0
        self.wrong, self.each, self.asked = wrong, seconds, []

    def __call__(self, formats):
        self.runs += 1
        self.seconds += self.each
        self.asked.append(dict(formats))
        noise = REST + self.wrong * sum(NOISES[n] for n, f in formats.items() if f == "int8")
        db = -10 * math.log10(noise)
        return Judged(db, 1 - noise / 2, db if self.floor.metric == "sqnr" else 1 - noise / 2)

    def holds(self, found):
        return found.bound >= self.floor.min


def cheapest_by_trying_all(floor, wrong=1.0):
    names = list(NOISES)
    judge, best = Adding(floor, wrong), None
    for mask in range(2 ** len(names)):
        formats = {n: "int8" if mask >> i & 1 else "fp16" for i, n in enumerate(names)}
        if judge.holds(judge(formats)):
            seconds = costs().total(formats)["gpu"]
            best = seconds if best is None else min(best, seconds)
    return best


@pytest.mark.parametrize("wrong", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("db", [20, 22, 25, 28, 31, 36, 45, 60, 65])
def test_what_is_picked_holds_the_floor_and_costs_little_more_than_the_best_of_all(db, wrong):
    floor = Floor("sqnr", db)
    judge = Adding(floor, wrong)
    front = search(sensitivity(), costs(), judge)
    picked = front.points[front.chosen]
    assert picked.holds
    assert picked.sqnr_db >= db
    assert judge.holds(Adding(floor, wrong)(assignment_of(front, front.chosen)))
    assert picked.seconds["gpu"] <= 1.12 * cheapest_by_trying_all(floor, wrong)
    assert front.complete


def test_a_cosine_floor_is_held_too():
    front = search(sensitivity(), costs(), Adding(Floor("cosine", 0.999)))
    assert front.points[front.chosen].cosine >= 0.999
    assert front.points[front.chosen].raised


@pytest.mark.parametrize("wrong", [0.5, 1.0, 3.0])
def test_the_front_gets_slower_and_more_accurate_from_point_to_point(wrong):
    front = search(sensitivity(), costs(), Adding(Floor("sqnr", 30), wrong), shown=7)
    seconds = [p.seconds["gpu"] for p in front.points]
    accuracy = [p.predicted_db if p.sqnr_db is None else p.sqnr_db for p in front.points]
    assert seconds == sorted(set(seconds))
    assert accuracy == sorted(set(accuracy))
    assert len(front.points) > 3


def test_no_graph_holds_an_impossible_floor_and_that_is_said():
    front = search(sensitivity(), costs(), Adding(Floor("sqnr", 90)))
    assert front.chosen is None
    assert front.runs == 1
    assert "no graph holds" in front.notes[-1]


def test_a_time_budget_stops_with_the_best_so_far_and_says_so():
    full = search(sensitivity(), costs(), Adding(Floor("sqnr", 25)))
    chosen = []
    for runs in range(1, full.runs + 1):
        judge = Adding(Floor("sqnr", 25))
        front = search(sensitivity(), costs(), judge, time_budget_s=float(runs))
        assert judge.runs <= runs
        assert front.points[front.chosen].sqnr_db >= 25
        assert front.complete == ("time budget" not in " ".join(front.notes))
        chosen.append(front.points[front.chosen].seconds["gpu"])
    assert chosen == sorted(chosen, reverse=True)  # more time, no worse
    assert chosen[0] > chosen[-1] == full.points[full.chosen].seconds["gpu"]


def test_a_forced_precision_is_kept_and_an_unmeasured_node_is_not_quantised():
    judge = Adding(Floor("sqnr", 20))
    left = {n: v for n, v in NOISES.items() if n != "c"}
    front = search(sensitivity(left, ("c",)), costs(), judge, forced={"b": "int8", "f": "fp16"})
    assert all(asked["b"] == "int8" and asked["f"] == asked["c"] == "fp16" for asked in judge.asked)
    assert assignment_of(front, front.chosen)["a"] == "int8"


def test_the_chain_takes_most_noise_for_its_cost_first():
    steps = chain(options_of(sensitivity(), costs()))
    assert [s.node for s in steps] == ["b", "e", "a", "d", "c", "f"]


def test_a_format_that_another_beats_is_never_taken():
    rest, int8, fp8 = Option("fp16", 1.0, 0.0), Option("int8", 0.5, 1e-3), Option("fp8", 0.5, 1e-4)
    assert worth_taking([rest, int8, fp8]) == [fp8, rest]
    above = Option("int8_weights", 0.9, 9e-4)  # between two others it takes away too little for its cost
    assert worth_taking([rest, int8, above]) == [int8, rest]
    assert worth_taking([rest, Option("int4", 1.0, 1e-3)]) == [rest]


def test_a_small_error_turns_a_signal_by_half_its_noise():
    assert allowed_noise(Floor("cosine", 0.999)) == pytest.approx(2e-3)
    assert allowed_noise(Floor("sqnr", 27)) == pytest.approx(10**-2.7)
