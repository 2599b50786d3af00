import itertools
import time

import numpy as np
import pytest
from onnx_models import matmul, save
from plan_values import plan, profile

from trtbuild.artifacts import Benchmark as BenchmarkType
from trtbuild.artifacts import TensorSpec, from_json, to_json
from trtbuild.benchmark import Variant, bench
from trtbuild.errors import UsageError
from trtbuild.reporting import render_speed, said

N = (profile(n=(1, 4, 16)),)


@pytest.fixture
def model(tmp_path):
    return save(matmul(), tmp_path / "m.onnx")


def test_onnx_runtime_is_measured_at_every_end_of_a_profile(model):
    done = bench({"a": model, "b": model}, profiles=N, runs=5, warm_up=1, turn=2)

    assert [(t.subject, t.end, t.shapes["x"], t.items) for t in done.timings] == [
        (f"{name} (ONNX Runtime, CPU)", end, (rows, 4), rows)
        for end, rows in (("opt", 4), ("min", 1), ("max", 16))
        for name in ("a", "b")
    ]
    for timing in done.timings:
        assert timing.latency.runs == 5
        assert 0 < timing.latency.min <= timing.latency.p50 <= timing.latency.p99 <= timing.latency.max
        assert timing.device == "CPU"
        assert timing.phases == {}
        assert timing.throughput == pytest.approx(timing.shapes["x"][0] * 1e3 / timing.latency.p50)
    assert done.gpu is None
    assert done.states == ()


def test_ratios_are_against_the_baseline_at_the_same_shapes(model):
    done = bench({"a": model, "b": model}, profiles=N, runs=3, baseline="b")
    assert done.baseline == "b (ONNX Runtime, CPU)"
    for first, second in zip(done.timings[::2], done.timings[1::2], strict=True):
        assert second.ratio == 1.0
        assert first.ratio == pytest.approx(second.latency.p50 / first.latency.p50)


def test_a_baseline_that_is_none_is_refused_with_the_nearest(model):
    with pytest.raises(UsageError, match="no subject is called 'c'"):
        bench({"a": model}, runs=1, baseline="c")


def test_a_callable_takes_its_turns_beside_an_onnx_file_and_brings_its_phases(model):
    fed, ran = [], []

    def prepare(feed):
        fed.append(feed["x"])

        def step():
            ran.append(len(ran))
            return {"compute": 0.25, "enqueue": 0.125}

        return step

    mine = Variant("mine", (TensorSpec("x", "float32", ("n", 4)),), prepare, "a GPU")
    done = bench({"a": model}, variants=[mine], profiles=N, at="opt", runs=6, warm_up=2, turn=3)
    assert [t.subject for t in done.timings] == ["a (ONNX Runtime, CPU)", "mine"]
    assert done.timings[1].phases["compute"].p50 == 0.25
    assert done.timings[1].compute.p50 == 0.25
    assert len(ran) == 2 + 6 + 2  # warm-up, counted, and one before each of two turns
    np.testing.assert_array_equal(fed[0].shape, (4, 4))


def test_a_plan_without_its_gpu_is_named_and_not_run(model, tmp_path):
    done = bench({"a": model}, [plan(tmp_path, "99.9")], profiles=N, at="opt", runs=1)
    assert [t.subject for t in done.timings] == ["a (ONNX Runtime, CPU)"]
    (note,) = done.notes
    assert note.startswith("not run on a GPU")
    assert "gpu-99.9 (99.9)" in note


def test_nothing_but_such_a_plan_is_a_note_and_no_number(tmp_path):
    done = bench({}, [plan(tmp_path, "99.9")])
    assert done.timings == ()
    assert done.gpu is None


def test_profiles_of_a_plan_are_taken_where_none_are_given(model, tmp_path):
    done = bench({"a": model}, [plan(tmp_path, "99.9", profiles=N)], runs=1)
    assert [t.end for t in done.timings] == ["opt", "min", "max"]


def test_given_shapes_come_before_profiles(model):
    done = bench({"a": model}, profiles=N, shapes={"x": [7, 4]}, runs=1)
    assert [(t.end, t.profile, t.shapes) for t in done.timings] == [("given", None, {"x": (7, 4)})]


def test_it_says_how_far_it_is(model):
    told = []
    bench({"a": model}, profiles=N, runs=1, on_progress=lambda share, what: told.append((share, what)))
    assert told[-1] == (1.0, "max n=16")
    assert len(told) == 3


def test_a_benchmark_comes_back_from_json_and_is_a_table(model):
    done = bench({"a": model}, profiles=N, runs=2)
    assert from_json(BenchmarkType, to_json(done)) == done
    text = render_speed(to_json(done))
    assert text.count("| a (ONNX Runtime, CPU) |") == 3
    assert "| profile 0, opt | x:4x4 |" in text
    assert said.bench(done)[0] == "1 subjects side by side at 3 shapes"


def test_a_subject_whose_calls_differ_much_is_named():
    lengths = itertools.cycle([0.0, 0.0, 0.004])

    def prepare(feed):
        del feed
        return lambda: time.sleep(next(lengths))

    restless = Variant("restless", (TensorSpec("x", "float32", ("n", 4)),), prepare)
    done = bench({}, variants=[restless], runs=12, warm_up=0, turn=12)
    assert done.timings[0].kind == "other"
    assert [n for n in done.notes if n.startswith("restless: in 1 of its rows")]
