import numpy as np
import onnx
from onnx import numpy_helper
from onnx_models import run
from onnx_text import parsed

from trtbuild.rewriter import rounding
from trtbuild.rewriter.jitter import _moved, jittered


def deep(scale=1.0):
    """A product of many matrices and a Sigmoid far down its tail: small results of large sums."""
    random = np.random.default_rng(0)
    lines = "\n".join(f"h{i + 1} = MatMul (h{i}, w{i})" for i in range(6))
    proto = parsed(f"g (float[n,64] h0) => (float[n,64] y) {{ {lines} s = Sub (h6, far) y = Sigmoid (s) }}")
    for i in range(6):
        values = (random.normal(size=(64, 64)) / 8).astype("f")
        if i == 5:
            values = (values * scale).astype("f")
        proto.graph.initializer.append(numpy_helper.from_array(values, f"w{i}"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(14, "f"), "far"))
    return proto


def feed(rows=8):
    return {"h0": np.random.default_rng(1).normal(size=(rows, 64)).astype("f") * 4}


def test_numbers_move_by_rounding_and_whole_ones_do_not():
    random = np.random.default_rng(0)
    values = np.concatenate([np.arange(-5, 5), random.normal(size=1000)]).astype("f")
    moved = _moved(values, random)
    assert (moved[:10] == values[:10]).all()
    assert (moved != values).sum() > 500
    assert (np.abs(moved - values) <= 2.0**-23 * 1.5 * np.abs(values)).all()  # moved, then rounded itself


def test_the_results_move_about_as_far_as_another_order_of_sums_moves_them():
    proto = deep()
    exact = run(proto, feed())["y"]
    far = max(np.abs(r["y"] - exact).max() for r in jittered(proto, feed()))
    flipped = onnx.ModelProto()  # the same sums, the other way round
    flipped.CopyFrom(proto)
    for tensor in flipped.graph.initializer:
        if tensor.name in ("w2", "w3"):
            values = numpy_helper.to_array(tensor)
            turned = values[:, ::-1] if tensor.name == "w2" else values[::-1]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), tensor.name))
    apart = np.abs(run(flipped, feed())["y"] - exact).max()
    assert 0 < apart <= rounding.FACTOR * far
    assert far <= 50 * apart


def test_it_is_asked_where_the_evaluator_cannot_be_and_sees_a_small_real_error(monkeypatch):
    monkeypatch.setattr(rounding, "_LARGEST", 0)
    proto, wrong = deep(), deep(scale=1 + 1e-4)
    wanted = run(proto, feed())
    opinion = rounding.roundings(proto, feed(), wanted)["y"]
    assert opinion.explains(wanted["y"], 0)
    assert not opinion.explains(run(wrong, feed())["y"], 0)
