"""Rows that fit and rows that judge are known again in the whole, whatever else the model reads."""

import numpy as np
import pytest

from trtbuild.artifacts import TensorSpec
from trtbuild.feeds import checked, parts, row_digests

BATCHED = TensorSpec("x", "float32", ("batch", 3))
TABLE = TensorSpec("table", "float32", (2, 3))


def feeds(*names):
    random = np.random.default_rng(0)
    made = {"x": lambda: random.normal(size=(5, 3)).astype("f"), "table": lambda: np.ones((2, 3), "f")}
    return [{name: made[name]() for name in names} for _ in range(3)]


@pytest.mark.parametrize("inputs", [(BATCHED,), (BATCHED, TABLE)], ids=["all inputs have rows", "one has none"])
def test_the_rows_of_both_parts_are_those_of_the_whole(inputs):
    given = feeds(*(t.name for t in inputs))
    fit, judge = (list(part) for part in parts(given, inputs))
    whole = [d for s in checked(given, inputs) for d in row_digests(s, inputs)]
    found = [d for s in (*fit, *judge) for d in row_digests(s, inputs)]
    assert len(whole) == 15
    assert sorted(found) == sorted(whole)
    assert sum(s.rows for s in judge) == 4
    assert all(s.feed["table"].shape == (2, 3) for s in (*fit, *judge) if TABLE in inputs)


def test_without_a_batch_axis_whole_samples_judge():
    inputs = (TABLE,)
    fit, judge = (list(part) for part in parts([{"table": np.full((2, 3), n, "f")} for n in range(6)], inputs))
    assert [s.feed["table"][0, 0] for s in judge] == [1, 5]
    assert [row_digests(s, inputs) for s in fit] == [(s.digest,) for s in fit]
