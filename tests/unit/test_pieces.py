import numpy as np
import onnx
import pytest
from onnx_models import cnn, random_feed, run, save
from onnx_text import parsed

from trtbuild import onnxfile
from trtbuild.calibration import Wanted, collect
from trtbuild.errors import UsageError
from trtbuild.pieces import Pieces

CHAIN = """
g (float[n,8] x) => (float[n,8] y) {
    a = Relu (x)
    b = Add (a, x)
    c = Mul (b, a)
    d = Sub (c, b)
    y = Add (d, x)
}
"""


def pieces(proto, tmp_path, tensors, budget):
    path = save(proto, tmp_path / "m.onnx")
    return Pieces(*onnxfile.with_weights_on_disk(path, tmp_path), tensors, budget)


def whole(proto, feed, tensors):
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in ("x", "y"))
    return {**run(copy, feed), **feed}


@pytest.mark.parametrize(("budget", "count"), [(1e9, 1), (200, 2), (100, 4), (1, 4)])
def test_a_smaller_budget_makes_more_pieces_and_changes_nothing(tmp_path, budget, count):
    proto = parsed(CHAIN)
    feed = {"x": np.random.default_rng(0).normal(size=(3, 8)).astype("f")}  # 96 bytes a tensor
    cut = pieces(proto, tmp_path, ["x", "a", "b", "c", "y"], budget)
    found = dict(cut.run(feed))
    assert len(cut) == count
    wanted = whole(proto, feed, ["a", "b", "c"])
    assert list(found) == ["x", "a", "b", "c", "y"]
    for name, array in found.items():
        assert (array == wanted[name]).all(), name


def test_weights_and_convolutions_go_through_cuts(tmp_path):
    proto = cnn()
    feed = random_feed(proto, n=2)
    found = dict(pieces(proto, tmp_path, ["r1", "f", "y"], 1).run(feed))
    wanted = whole(proto, feed, ["r1", "f"])
    for name in ("r1", "f", "y"):  # ONNX Runtime has layouts of its own for convolutions: the last bits differ
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=2e-6 * np.abs(wanted[name]).max())


def test_a_larger_feed_is_cut_anew_and_a_smaller_one_is_not(tmp_path):
    cut = pieces(parsed(CHAIN), tmp_path, ["a", "b", "c", "d"], 400)
    for rows, count in ((3, 1), (6, 2), (2, 2), (50, 4)):
        list(cut.run({"x": np.ones((rows, 8), "f")}))
        assert len(cut) == count, rows


def test_what_a_subgraph_reads_from_outside_is_handed_on(tmp_path):
    proto = parsed(
        """g (float[n,8] x, bool flag) => (float[n,8] y) {
            a = Relu (x)
            b = Add (a, x)
            c = If (flag) <then_branch = t () => (float[n,8] p) { p = Mul (a, b) },
                           else_branch = e () => (float[n,8] q) { q = Neg (a) }>
            y = Add (c, b)
        }"""
    )
    for flag in (True, False):
        feed = {"x": np.random.default_rng(0).normal(size=(3, 8)).astype("f"), "flag": np.array(flag)}
        found = dict(pieces(proto, tmp_path, ["a", "b", "c", "y"], 1).run(feed))
        wanted = whole(proto, feed, ["a", "b", "c"])
        assert all((found[n] == wanted[n]).all() for n in "abcy")


def test_what_lies_behind_the_last_tensor_does_not_run(tmp_path):
    proto = parsed(
        """g (float[n,8] x) => (float[m,8] y) <int64[2] bad = {3, 5}> {
            a = Relu (x)
            y = Reshape (a, bad)
        }"""
    )
    found = dict(pieces(proto, tmp_path, ["a"], 1e9).run({"x": np.ones((2, 8), "f")}))
    assert (found["a"] == 1).all()


def test_a_tensor_that_does_not_exist_is_an_error(tmp_path):
    model = onnxfile.stored(save(parsed(CHAIN), tmp_path / "m.onnx"))
    with pytest.raises(UsageError, match="no tensor 'gone'"):
        collect(model, [{"x": np.ones((2, 8), "f")}], Wanted(("gone",)))


def test_samples_of_other_shapes_are_counted_together(tmp_path):
    model = onnxfile.stored(save(parsed(CHAIN), tmp_path / "m.onnx"))
    seen = collect(model, [{"x": np.full((n, 8), n, "f")} for n in (1, 7, 3)], Wanted(("b",)), budget_mb=1e-4)
    assert (seen.tensors["b"].count, seen.tensors["b"].high) == (88, 14)
