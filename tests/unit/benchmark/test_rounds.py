import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.benchmark.rounds import orders, take_turns
from trtbuild.benchmark.statistics import latency, phases


@given(st.integers(1, 6), st.integers(1, 12))
def test_over_each_pair_of_rounds_a_steady_drift_falls_on_all_alike(subjects, pairs):
    rounds = list(itertools.islice(orders(subjects), 2 * pairs))
    for there, back in zip(rounds[::2], rounds[1::2], strict=True):
        assert sorted(there) == list(range(subjects))
        when = dict.fromkeys(range(subjects), 0)
        for moment, subject in enumerate(there + back):
            when[subject] += moment
        assert len(set(when.values())) == 1


def test_the_first_of_a_round_changes():
    assert [o[0] for o in itertools.islice(orders(3), 0, 6, 2)] == [0, 1, 2]


@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 30), st.integers(1, 7))
def test_every_subject_runs_as_often_in_every_round_and_the_first_call_of_a_turn_is_not_counted(
    subjects, warm_up, runs, turn
):
    log = []

    def subject(number):
        def take(calls):
            log.append((number, calls))
            return [{"total": float(n)} for n in range(calls)]

        return take

    counted = take_turns([subject(n) for n in range(subjects)], warm_up=warm_up, runs=runs, turn=turn)

    warm = log[: subjects if warm_up else 0]
    assert warm == ([(n, warm_up) for n in range(subjects)] if warm_up else [])
    rounds = log[len(warm) :]
    for start in range(0, len(rounds), subjects):
        one = rounds[start : start + subjects]
        assert sorted(n for n, _ in one) == list(range(subjects))
        assert len({calls for _, calls in one}) == 1
        assert one[0][1] <= 1 + turn
    assert [len(c) for c in counted] == [runs] * subjects
    assert all(call["total"] >= 1 for calls in counted for call in calls)


def test_it_says_how_far_it_is():
    told = []
    take_turns([lambda n: [{"total": 1.0}] * n], warm_up=0, runs=10, turn=4, on_round=told.append)
    assert told == [4, 8, 10]


@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=50))
def test_percentiles_are_numpys(times):
    of = latency(times)
    for share, value in ((50, of.p50), (90, of.p90), (95, of.p95), (99, of.p99)):
        assert value == np.percentile(times, share)
    assert of.min == min(times)
    assert of.max == max(times)
    assert of.runs == len(times)
    assert of.min <= of.p50 <= of.p90 <= of.p95 <= of.p99 <= of.max
    assert np.isclose(of.mean, sum(times) / len(times))
    assert np.isclose(of.spread * of.p50, np.percentile(times, 75) - np.percentile(times, 25))


def test_a_known_spread():
    assert latency([1.0, 2.0, 3.0, 4.0, 5.0]).spread == (4 - 2) / 3


def test_only_phases_that_every_call_has_are_told_apart():
    calls = [{"total": 3.0, "compute": 1.0, "enqueue": 0.5}, {"total": 4.0, "compute": 2.0}]
    found = phases(calls)
    assert set(found) == {"compute"}
    assert found["compute"].p50 == 1.5
