import numpy as np
import pytest
from onnx_models import mlp, model, node, random_feed, save

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.verification import Rule, verify
from trtbuild.verification.shapes import feeds_of_sizes, sizes_to_try


@pytest.mark.parametrize(
    ("limits", "tried"),
    [((1, 8, 32), [1, 5, 8, 21, 32]), ((4, 4, 4), [4]), ((1, 2, 3), [1, 2, 3]), ((2, 2, 4), [2, 3, 4])],
)
def test_sizes_of_a_profile(limits, tried):
    assert [s["n"] for s in sizes_to_try(OptimizationProfile({"n": AxisRange(*limits)}))] == tried


def test_rows_are_repeated_and_cut_the_same_way_in_every_input():
    inputs = (TensorSpec("a", "float32", ("n", "s")), TensorSpec("b", "int64", ("n", 2)))
    feed = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([[0, 1], [2, 3]])}
    profile = OptimizationProfile({"n": AxisRange(1, 2, 5), "s": AxisRange(2, 3, 3)})
    made = {tuple(sizes.values()): found for _p, sizes, found in feeds_of_sizes(feed, inputs, (profile,))}
    assert (2, 3) not in made, "the sample has these sizes itself"
    assert made[5, 3]["a"][:, 0].tolist() == [0, 3, 0, 3, 0]
    assert made[5, 3]["b"][:, 0].tolist() == [0, 2, 0, 2, 0]
    assert made[1, 2]["a"].tolist() == [[0, 1]]


def fixed_at(rows):
    """A model that is right for batches up to ``rows`` and wrong above."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Greater", ["n", "limit"], ["large"]),
        node("Where", ["large", "two", "one"], ["factor"]),
        node("Relu", ["x"], ["r"]),
        node("Mul", ["r", "factor"], ["y"]),
    ]
    constants = {"zero": np.array(0), "limit": np.array(rows), "one": np.float32(1), "two": np.float32(-1)}
    return model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], constants)


def test_what_is_wrong_at_a_size_that_no_sample_has_fails(tmp_path):
    right = save(fixed_at(99), tmp_path / "a.onnx")
    wrong = save(fixed_at(16), tmp_path / "b.onnx")
    profiles = (OptimizationProfile({"n": AxisRange(1, 8, 32)}),)
    feed = {"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}
    assert verify(right, wrong, [feed]).passed, "the samples alone do not show it"
    done = verify(right, wrong, [feed], profiles=profiles)
    assert not done.passed
    assert [(c.sizes["n"], c.passed) for c in done.shapes] == [(1, True), (5, True), (21, False), (32, False)]
    assert done.gates[-1].rule.startswith("at 4 other sizes of the profiles: cosine >= 0.9999")


def test_the_looser_of_rule_and_default_holds_there(tmp_path):
    path = save(mlp(), tmp_path / "m.onnx")
    profiles = (OptimizationProfile({"n": AxisRange(1, 2, 4)}),)
    done = verify(path, path, [random_feed(mlp(), 0, n=2)], rule=Rule("cosine", min=0.5), profiles=profiles)
    assert done.gates[-1].limit == 0.5
    done = verify(path, path, [random_feed(mlp(), 0, n=2)], rule=Rule("sqnr", min=10), profiles=profiles)
    assert "cosine >= 0.9999" in done.gates[-1].rule
