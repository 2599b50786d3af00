import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_values import profile

from trtbuild.artifacts import AxisRange, Timing
from trtbuild.benchmark import advise
from trtbuild.benchmark.advice import split_profiles, split_range
from trtbuild.benchmark.statistics import latency
from trtbuild.spec.profiles import _sizes
from trtbuild.spec.yamlfile import parse_yaml, plain

BATCH = (profile(batch=(1, 8, 32)),)


def row(
    end, items, ms, *, axis=None, subject="onnx (ONNX Runtime, CPU)", device="CPU", number=0, compute=None, times=None
):
    kind = "plan" if subject.startswith("plan") else "onnx" if "ONNX" in subject else "other"
    phases = {} if compute is None else {"compute": latency([compute])}
    return Timing(
        subject, {"x": (1,)}, latency(times or [ms]), 1.0, items, number, end, axis, phases, None, device, kind
    )


def test_an_end_that_is_no_slower_an_item_brings_no_advice():
    rows = [row("opt", 8, 8.0), row("min", 1, 1.9), row("max", 32, 33.0)]
    assert advise(rows, BATCH) == ()


def test_a_slow_end_brings_the_split_to_paste():
    (found,) = advise([row("opt", 8, 8.0), row("min", 1, 3.0), row("max", 32, 32.0)], BATCH)
    assert (found.end, found.axis, found.times) == ("min", "batch", 3.0)
    assert found.paste == "profiles:\n  - {batch: [1, 1, 2]}\n  - {batch: [3, 8, 32]}"
    assert "3.0 times as long at min" in found.said
    assert "ONNX Runtime on the CPU" in found.said


def test_max_is_split_on_the_other_side():
    (found,) = advise([row("opt", 8, 8.0), row("min", 1, 1.0), row("max", 32, 96.0)], BATCH)
    assert (found.end, found.times) == ("max", 3.0)
    assert found.paste == "profiles:\n  - {batch: [1, 8, 16]}\n  - {batch: [17, 32, 32]}"


def test_the_axis_that_is_slow_alone_is_the_one_to_split():
    two = (profile(batch=(1, 8, 32), seq=(8, 128, 256)),)
    rows = [
        row("opt", 1024, 10.0), row("max", 8192, 400.0),
        row("max", 4096, 40.0, axis="batch"), row("max", 2048, 90.0, axis="seq"),
    ]  # fmt: skip
    (found,) = advise(rows, two)
    assert found.axis == "seq"
    assert found.paste.splitlines()[1:] == [
        "  - {batch: [1, 8, 32], seq: [8, 128, 181]}",
        "  - {batch: [1, 8, 32], seq: [182, 256, 256]}",
    ]


def test_without_points_of_single_axes_no_axis_is_guessed():
    two = (profile(batch=(1, 8, 32), seq=(8, 128, 256)),)
    (found,) = advise([row("opt", 1024, 10.0), row("max", 8192, 400.0)], two)
    assert found.axis is None
    assert found.paste == ""
    assert "--at axes" in found.said


def test_a_plans_compute_time_counts_and_onnx_is_left_out_where_a_plan_ran():
    rows = [
        row("opt", 8, 8.0), row("max", 32, 96.0),
        row("opt", 8, 8.0, subject="plan a int8", device="GPU", compute=1.0),
        row("max", 32, 96.0, subject="plan a int8", device="GPU", compute=12.0),
    ]  # fmt: skip
    (found,) = advise(rows, BATCH)
    assert found.subject == "plan a int8"
    assert found.times == 3.0
    assert "CPU" not in found.said


def test_the_other_profiles_stay_as_they_are():
    profiles = (profile(batch=(1, 1, 1)), BATCH[0])
    (found,) = advise([row("opt", 8, 8.0, number=1), row("max", 32, 96.0, number=1)], profiles)
    assert found.paste.splitlines()[1] == "  - {batch: [1, 1, 1]}"
    assert len(found.paste.splitlines()) == 4


@given(st.lists(st.integers(1, 5000), min_size=3, max_size=3).map(sorted), st.sampled_from(["min", "max"]))
def test_a_split_holds_every_size_once_and_reads_back_as_profiles_of_a_spec(sizes, end):
    low, opt, high = sizes
    if (low if end == "min" else high) == opt:
        return
    first, second = split_range(AxisRange(*sizes), end)
    assert (first.min, second.max, second.min) == (low, high, first.max + 1)
    for part in (first, second):
        assert part.min <= part.opt <= part.max
    assert opt in (first.opt, second.opt)
    read = plain(parse_yaml(split_profiles([profile(batch=sizes)], 0, "batch", end), "paste"))
    assert [_sizes(p["batch"]) for p in read["profiles"]] == [dataclasses.astuple(first), dataclasses.astuple(second)]


def test_a_module_in_torch_has_no_profiles_to_split():
    rows = [row("opt", 8, 8.0, subject="torch"), row("max", 32, 96.0, subject="torch")]
    assert advise(rows, BATCH) == ()


def test_noise_brings_no_advice():
    noisy = [20.0, 90.0, 96.0, 100.0, 200.0, 300.0]
    assert advise([row("opt", 8, 8.0), row("max", 32, 96.0, times=noisy)], BATCH) == ()


@pytest.mark.parametrize("missing", ["opt", "min"])
def test_an_end_that_was_not_measured_brings_none(missing):
    rows = [r for r in (row("opt", 8, 8.0), row("min", 1, 9.0)) if r.end != missing]
    assert advise(rows, BATCH) == ()
