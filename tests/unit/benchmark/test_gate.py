import pytest

from trtbuild.artifacts import Benchmark, SpeedGate, SpeedResult, Timing
from trtbuild.benchmark import NOT_RUN, judge_speed, speed_error
from trtbuild.benchmark.statistics import latency
from trtbuild.reporting import said
from trtbuild.reporting.speed import render_gate

SIBLINGS = {"t4": ("plan t4 int8", "plan t4 fp16")}


def row(subject, compute, *, end="opt", profile=0, total=None, axis=None):
    phases = {"compute": latency([compute])}
    return Timing(subject, {}, latency([total or compute]), 1.0, 1, profile, end, axis, phases, None, "GPU")


def judge(*rows, margin=0.02, allowed=False, not_run=()):
    return judge_speed(Benchmark(rows, "GPU"), SIBLINGS, margin=margin, allowed=allowed, not_run=not_run)


def test_a_faster_engine_passes():
    gate = judge(row("plan t4 int8", 1.0), row("plan t4 fp16", 1.5))
    assert gate.passed
    assert gate.results == (SpeedResult("t4", 0, 1.0, 1.5, 0.02),)
    assert gate.note == ""


@pytest.mark.parametrize(("engine_ms", "passed"), [(1.02, True), (1.0201, False), (0.5, True)])
def test_the_margin_is_where_it_ends(engine_ms, passed):
    assert judge(row("plan t4 int8", engine_ms), row("plan t4 fp16", 1.0)).passed is passed


def test_compute_counts_and_not_the_copies():
    assert judge(row("plan t4 int8", 1.0, total=9.0), row("plan t4 fp16", 1.5, total=2.0)).passed


def test_every_profile_is_held_and_only_at_opt():
    rows = [
        row("plan t4 int8", 1.0), row("plan t4 fp16", 2.0),
        row("plan t4 int8", 9.0, end="max"), row("plan t4 fp16", 1.0, end="max"),
        row("plan t4 int8", 3.0, profile=1), row("plan t4 fp16", 2.0, profile=1),
    ]  # fmt: skip
    gate = judge(*rows)
    assert [(r.profile, r.passed) for r in gate.results] == [(0, True), (1, False)]
    assert not gate.passed


def test_a_slower_engine_can_be_allowed_and_is_still_said():
    gate = judge(row("plan t4 int8", 2.0), row("plan t4 fp16", 1.0), allowed=True)
    assert gate.passed
    assert not gate.results[0].passed
    assert "accepted" in said.speed(gate)


@pytest.mark.parametrize("measured", [None, Benchmark((row("plan t4 int8", 1.0),), "GPU")])
def test_without_both_on_a_gpu_it_is_not_applied_and_says_so(measured):
    gate = judge_speed(measured, SIBLINGS, margin=0.02, allowed=False)
    assert gate == SpeedGate((), False, NOT_RUN)
    assert gate.passed
    assert "not run on a GPU" in render_gate({"results": [], "allowed": False, "note": gate.note})


def test_targets_of_other_machines_are_named():
    gate = judge(row("plan t4 int8", 1.0), row("plan t4 fp16", 1.5), not_run=["h100"])
    assert gate.note == f"{NOT_RUN} (h100)"


def test_the_error_names_both_times_and_the_way_out():
    gate = judge(row("plan t4 int8", 2.0), row("plan t4 fp16", 1.0))
    error = speed_error(gate, "report.md")
    assert error.exit_code == 6
    assert "t4, profile 0: 2.000 ms, FP16 1.000 ms" in error.message
    assert "allow_slower: true" in error.hint


def test_the_report_shows_the_verdict():
    gate = {"results": [{"target": "t4", "profile": 0, "engine_ms": 2.0, "sibling_ms": 1.0, "margin": 0.02}],
            "allowed": False, "note": ""}  # fmt: skip
    assert "| t4 | 0 | 2.000 | 1.000 | 0.50 | **fail** |" in render_gate(gate)
    assert "slower, accepted" in render_gate(gate | {"allowed": True})
    assert render_gate(None) == ""
