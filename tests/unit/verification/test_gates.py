import math
from typing import get_args

import numpy as np
import pytest

from trtbuild.artifacts import OutputComparison, TaskScore
from trtbuild.errors import FeedError, UsageError
from trtbuild.spec.model import FidelityMetric
from trtbuild.verification.gates import DEFAULT_COSINE, FIDELITY, Rule, judge
from trtbuild.verification.task import TaskMetric


def output(cosine=1.0, sqnr=40.0, nonfinite=0, name="y"):
    return OutputComparison(name, 0.1, 0.1, cosine, cosine, sqnr, nonfinite, (0, 1), (0, 1), None)


def verdicts(rule, outputs=(), task=None):
    return [(g.rule, g.passed) for g in judge(rule, outputs or [output()], task)]


FINITE = ("no NaN or Inf that the reference has not", True)


@pytest.mark.parametrize(("cosine", "passed"), [(0.995, True), (0.9951, True), (0.9949, False), (math.nan, False)])
def test_a_bound_is_inclusive_and_nan_fails(cosine, passed):
    assert verdicts(Rule("cosine", min=0.995), [output(cosine)]) == [FINITE, ("cosine >= 0.995", passed)]


def test_the_worst_output_decides():
    outputs = [output(0.999), output(0.9, name="z")]
    assert verdicts(Rule("cosine", min=0.95), outputs)[1][1] is False


def test_nan_and_inf_fail_whatever_else_holds():
    gates = judge(Rule("cosine", min=0.1), [output(), output(nonfinite=3)], None)
    assert (gates[0].passed, gates[0].value, gates[0].source) == (False, 3, "always")
    assert gates[1].passed


def test_sqnr_without_any_error_passes():
    assert verdicts(Rule("sqnr", min=50), [output(sqnr=None)])[1] == ("sqnr >= 50", True)
    assert verdicts(Rule("sqnr", min=50), [output(sqnr=49.9)])[1] == ("sqnr >= 50", False)


@pytest.mark.parametrize(
    ("subject", "passed"), [(0.9, True), (0.895, True), (0.8949, False), (0.95, True), (math.nan, False)]
)
def test_a_drop_against_the_reference(subject, passed):
    task = TaskScore("top1", 0.9, subject, 10)
    assert verdicts(Rule("top1", max_drop=0.0050001), task=task) == [FINITE, ("top1 drop <= 0.0050001", passed)]


def test_a_score_and_a_drop_must_both_hold():
    rule = Rule("top1", min=0.9, max_drop=0.5)
    assert [p for _r, p in verdicts(rule, task=TaskScore("top1", 0.9, 0.8, 10))] == [True, True, False]


def test_defaults_loosen_with_the_precision():
    assert list(DEFAULT_COSINE) == [
        "fp32", "tf32", "fp16", "bf16", "int8_weights", "int8", "fp8", "int4", "best",
    ]  # fmt: skip
    assert list(DEFAULT_COSINE.values()) == sorted(DEFAULT_COSINE.values(), reverse=True)
    assert Rule.default("int8").source == "default for int8"


def score(rule, *pairs, folder=None):
    metric = TaskMetric(rule, folder)
    for reference, subject, labels in pairs:
        metric.add({"y": np.array(reference)}, {"y": np.array(subject)}, labels, len(reference))
    return metric.result()


def test_top1_counts_rows_over_batches_of_other_sizes():
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    found = score(
        Rule("top1", min=0.5),
        ([right, right, wrong], [right, wrong, wrong], [1, 1, 1]),
        ([right], [right], np.array([[1]])),
    )
    assert (found.reference, found.subject, found.samples) == (0.75, 0.5, 4)


def test_top1_needs_labels():
    with pytest.raises(FeedError, match="top1 needs labels"):
        score(Rule("top1", min=0.5), ([[0, 1]], [[0, 1]], None))


def test_a_metric_of_the_users(tmp_path):
    (tmp_path / "metric.py").write_text("def score(outputs, labels):\n    return outputs['y'][:, 0] * labels\n")
    rule = Rule("metric.py:score", min=0.5)
    assert rule.is_task
    found = score(rule, ([[2.0], [4.0]], [[1.0], [1.0]], np.array([1, 2])), folder=tmp_path)
    assert (found.metric, found.reference, found.subject) == ("metric.py:score", 5, 1.5)
    before = rule.digest(tmp_path)
    (tmp_path / "metric.py").write_text("def score(outputs, labels):\n    return 1\n")
    assert rule.digest(tmp_path) != before


def test_a_metric_that_fails_names_its_line(tmp_path):
    (tmp_path / "metric.py").write_text("def score(outputs, labels):\n    return outputs['z']\n")
    with pytest.raises(FeedError, match=r"KeyError: 'z' \(raised at .*metric.py:2\)"):
        score(Rule("metric.py:score", min=0.5), ([[1]], [[1]], None), folder=tmp_path)


def test_an_unknown_metric_is_refused():
    with pytest.raises(UsageError, match="no metric 'top5'"):
        TaskMetric(Rule("top5", min=0.5), None)


@pytest.mark.parametrize(
    "words", [{"metric": "cosine"}, {"metric": "top1"}, {"metric": "cosine", "min": 0.9, "max_drop": 0.1}]
)
def test_a_rule_that_holds_nothing_is_refused(words):
    with pytest.raises(UsageError):
        Rule(**words)


def test_an_error_takes_max():
    rule = Rule("max_abs", max=0.1)
    assert verdicts(rule, [output()]) == [FINITE, ("max_abs <= 0.1", True)]
    assert verdicts(Rule("max_abs", max=0.09), [output()])[1][1] is False
    with pytest.raises(UsageError, match="max_abs takes no min"):
        Rule("max_abs", min=0.1, max=0.2)
    with pytest.raises(UsageError, match="says nothing"):
        Rule("kl")


def test_an_output_may_have_a_rule_of_its_own():
    rule = Rule("cosine", min=0.99, outputs={"boxes": Rule("max_abs", max=0.05)})
    gates = judge(rule, [output(0.995, name="logits"), output(0.5, name="boxes")], None)
    assert [(g.rule, g.passed) for g in gates] == [
        FINITE, ("cosine >= 0.99", True), ("boxes: max_abs <= 0.05", False),
    ]  # fmt: skip


def test_a_rule_for_an_output_that_is_not_there():
    with pytest.raises(UsageError, match="no output 'box'") as caught:
        judge(Rule("cosine", min=0.9, outputs={"box": Rule("max_abs", max=1)}), [output(name="boxes")], None)
    assert "boxes" in caught.value.hint


def test_scores_need_classes():
    with pytest.raises(UsageError, match="scores of classes"):
        judge(Rule("top1_agreement", min=0.9), [output()], None)


def test_one_output_takes_no_task_metric():
    with pytest.raises(UsageError, match="compares it with the reference"):
        Rule("cosine", min=0.9, outputs={"y": Rule("top1", min=0.5)})


def test_the_spec_and_the_gates_know_the_same_metrics():
    assert set(get_args(FidelityMetric)) == set(FIDELITY)
