import ml_dtypes
import numpy as np
import pytest
from onnx_models import branching, cnn, initializer, matmul, mlp, model, node, random_feed, run

from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.precision.lower import lower

TYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def rounded(values, precision):
    return np.asarray(values, np.float32).astype(TYPES[precision]).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_result_is_rounded_to_its_type(precision):
    proto = matmul(16, 16)
    feed = random_feed(proto)
    w = rounded(initializer(proto, "w"), precision)
    expected = np.maximum(rounded(rounded(feed["x"], precision) @ w, precision), 0)
    got = run(emulate(lower(proto, precision).model), feed)["y"]
    assert got.dtype == np.float32
    step = {"fp16": 2.0**-10, "bf16": 2.0**-7}[precision]  # the order of a sum may move a result to the next number
    assert np.abs(got - expected).max() <= step * np.abs(expected).max()
    assert (rounded(got, precision) == got).all()
    assert (got != run(proto, feed)["y"]).any()


def test_overflow_shows_as_infinity_in_fp16_and_not_in_bf16():
    proto = model([node("Add", ["x", "x"], ["a"]), node("Sub", ["a", "x"], ["y"])], [("x", ["n"])], [("y", ["n"])])
    feed = {"x": np.array([40000, 1], np.float32)}
    assert run(emulate(lower(proto, "fp16").model), feed)["y"].tolist() == [np.inf, 1]
    assert np.isfinite(run(emulate(lower(proto, "bf16").model), feed)["y"]).all()


@pytest.mark.parametrize("make", [mlp, cnn, branching])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_results_stay_near_fp32(make, precision):
    proto = make()
    feed = random_feed(proto)
    before, after = run(proto, feed)["y"], run(emulate(lower(proto, precision).model), feed)["y"]
    assert np.abs(before - after).max() < {"fp16": 5e-3, "bf16": 5e-2}[precision] * max(1, np.abs(before).max())


def test_which_models_need_it():
    assert not uses_low_precision(mlp())
    assert uses_low_precision(lower(mlp(), "fp16").model)


def test_the_model_is_left_unchanged():
    proto = lower(cnn(), "fp16").model
    before = proto.SerializeToString(deterministic=True)
    emulate(proto)
    assert proto.SerializeToString(deterministic=True) == before
