import math

import numpy as np
import pytest
from onnx_models import mlp, model, node, random_feed, relu, save

from trtbuild.feeds import Sample
from trtbuild.verification import Rule, verify
from trtbuild.verification.noninferiority import bootstrap_interval, rows_needed, upper_bound


def test_equal_rows_bound_the_drop_by_their_number_alone():
    few, many = upper_bound(np.zeros(12), 1.0), upper_bound(np.zeros(10_000), 1.0)
    assert 0.2 < few < 0.5
    assert 2.9e-4 < many < 6e-4, "about -log(0.05) / rows"


def test_the_bound_is_in_the_unit_of_the_scores():
    differences = np.random.default_rng(0).normal(0.1, 0.2, 400).clip(-1, 1)
    assert upper_bound(differences * 50, 50) == pytest.approx(50 * upper_bound(differences, 1))


def test_the_bound_holds_in_19_of_20_draws_and_is_no_trivial_one():
    random = np.random.default_rng(0)
    mean, missed, bounds = 0.02, 0, []
    for _draw in range(400):
        drawn = random.choice([1.0, 0.0, -1.0], size=300, p=[0.03, 0.96, 0.01])
        bounds.append(upper_bound(drawn, 1.0))
        missed += bounds[-1] < mean
    assert missed <= 400 * 0.05
    assert np.mean(bounds) < 0.06


def test_the_interval_is_that_of_the_mean():
    differences = np.random.default_rng(1).normal(0.5, 1.0, 2_000)
    low, high = bootstrap_interval(differences)
    half = 1.96 * differences.std() / math.sqrt(2_000)
    assert (low, high) == (
        pytest.approx(differences.mean() - half, abs=0.005),
        pytest.approx(differences.mean() + half, abs=0.005),
    )
    assert bootstrap_interval(differences) == (low, high)


def test_rows_needed_would_do():
    needed = rows_needed(0.0, 0.001, 1.0)
    assert upper_bound(np.zeros(needed), 1.0) <= 0.0012
    assert rows_needed(0.001, 0.001, 1.0) is None


@pytest.fixture
def path(tmp_path):
    return save(mlp(), tmp_path / "m.onnx")


def labelled(rows):
    feed = random_feed(mlp(), 0, n=rows)
    return Sample(feed, np.zeros(rows, int), "digest")


def test_twelve_samples_cannot_tell_a_tenth_of_a_point(path):
    done = verify(path, path, [labelled(12)], rule=Rule("top1", max_drop=0.001))
    gate = done.gates[1]
    assert (gate.verdict, gate.value, done.passed) == ("cannot tell", 0, False)
    assert "12 rows only show" in gate.undecided
    assert "about 3,99" in gate.undecided
    assert done.task.drop_interval == (0, 0)


def test_enough_samples_can(path):
    assert verify(path, path, [labelled(500)], rule=Rule("top1", max_drop=0.01)).gates[1].verdict == "passed"


def test_a_drop_that_is_too_large_is_no_question_of_rows(tmp_path):
    right = save(relu(), tmp_path / "a.onnx")
    wrong = save(model([node("Neg", ["x"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4])]), tmp_path / "b.onnx")
    sample = Sample({"x": np.eye(4, dtype=np.float32)}, np.arange(4), "digest")
    done = verify(right, wrong, [sample], rule=Rule("top1", max_drop=0.5))
    assert (done.task.drop, done.gates[1].verdict, done.gates[1].undecided) == (1, "not passed", "")


def test_a_score_a_batch_is_resampled_by_batch(path, tmp_path):
    (tmp_path / "metric.py").write_text("def score(outputs, labels):\n    return outputs['y'].mean()\n")
    rule = Rule("metric.py:score", max_drop=0.5)
    samples = [Sample(random_feed(mlp(), seed, n=3), np.zeros(3, int), str(seed)) for seed in range(4)]
    done = verify(path, path, samples, rule=rule, folder=tmp_path)
    assert done.task.samples == 12
    assert done.task.drop_at_most > 0
