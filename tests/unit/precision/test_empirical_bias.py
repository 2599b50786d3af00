import numpy as np
import onnx
import pytest
from onnx_models import model, node, run, weights

from trtbuild.feeds import Sample
from trtbuild.pieces import Pieces
from trtbuild.precision.refining.bias_correction import correct_biases
from trtbuild.precision.refining.empirical_bias import correct_measured_biases
from trtbuild.quantization import place, write_qdq

IMAGE = [("x", ["n", 3, 6, 6])]
KERNELS = {"k": weights((8, 3, 3, 3), 1), "l": weights((8, 8, 1, 1), 2), "b": weights(8, 3)}
CONVS = [
    node("Conv", ["x", "k"], ["a"], "first", pads=[1, 1, 1, 1]),
    node("Relu", ["a"], ["r"]),
    node("Conv", ["r", "l", "b"], ["c"], "second"),
    node("Add", ["c", "r"], ["y"]),
]
TOKENS = [("x", ["n", 5, 16])]
MATRICES = {"v": weights((16, 16), 1), "w": weights((16, 16), 2), "b": weights(16, 3)}
PRODUCTS = [
    node("MatMul", ["x", "v"], ["a"], "bare"),
    node("Tanh", ["a"], ["t"]),
    node("MatMul", ["t", "w"], ["m"], "biased"),
    node("Add", ["m", "b"], ["s"]),
    node("Relu", ["s"], ["y"]),
]


def convs():
    return model(CONVS, IMAGE, [("y", None)], KERNELS)


def products():
    return model(PRODUCTS, TOKENS, [("y", None)], MATRICES)


def samples(shape, count=3, seed=0):
    """Skewed: what clips, clips on one side."""
    draw = np.random.default_rng(seed).exponential(1.0, (count, 4, *shape)).astype("f")
    return [Sample({"x": each}, None, str(n)) for n, each in enumerate(draw)]


def outputs(proto, names, feeds):
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    found = [run(copy, sample.feed) for sample in feeds]
    return {n: np.concatenate([f[n] for f in found]) for n in names}


def clipped(proto, **amax):
    """Its Q/DQ form with thresholds that clip."""
    placement = place(proto)
    return placement, lambda m: write_qdq(m, placement, amax)


@pytest.mark.parametrize(
    ("proto", "shape", "amax", "tensors", "axis"),
    [
        (convs(), (3, 6, 6), {"x": 2.0, "r": 3.0, "c": 9.0}, ["a", "c"], 1),
        (products(), (5, 16), {"x": 2.0, "t": 0.8}, ["s"], 2),
    ],
)
def test_every_channel_has_the_median_of_fp32(proto, shape, amax, tensors, axis):
    placement, quantized = clipped(proto, **amax)
    feeds = samples(shape)
    done = correct_measured_biases(proto, proto, quantized(proto), placement, feeds)
    exact = outputs(proto, tensors, feeds)
    for name in tensors:
        medians = []
        for each in (quantized(proto), quantized(done.model)):
            difference = np.moveaxis(exact[name] - outputs(each, [name], feeds)[name], axis, -1)
            medians.append(np.abs(np.median(difference.reshape(-1, difference.shape[-1]), axis=0)).max())
        assert medians[0] > 1e-2
        assert medians[1] < 1e-5


def test_what_rounding_an_activation_takes_is_given_back_where_the_weights_tell_nothing():
    proto = model([node("Conv", ["x", "k"], ["y"], "only")], IMAGE, [("y", None)], {"k": KERNELS["k"]})
    placement, quantized = clipped(proto, x=127.0)  # steps of 1

    def given(seed):
        draw = np.random.default_rng(seed).integers(-9, 9, (3, 4, 3, 6, 6)).astype("f")
        draw[:, :, 0] = 0.4  # always rounds to 0
        return [Sample({"x": each}, None, str(n)) for n, each in enumerate(draw)]

    done = correct_measured_biases(proto, proto, quantized(proto), placement, given(0))
    assert done.corrected == ("only",)
    exact = outputs(proto, ["y"], given(1))["y"]
    shift = [np.abs((outputs(quantized(m), ["y"], given(1))["y"] - exact).mean((0, 2, 3))) for m in (proto, done.model)]
    assert shift[0].max() > 0.5
    assert shift[1].max() < 0.1 * shift[0].max()


def test_a_product_without_a_bias_is_declined_and_those_after_it_make_up_for_it():
    proto = products()
    placement, quantized = clipped(proto, x=2.0, t=0.8)
    done = correct_measured_biases(proto, proto, quantized(proto), placement, samples((5, 16)))
    assert done.corrected == ("biased",)
    assert done.declined == {"bare": "no Add of a constant follows it"}


def test_it_goes_on_from_biases_that_were_corrected_before():
    proto = convs()
    placement, quantized = clipped(proto, x=2.0, r=3.0, c=9.0)
    feeds = samples((3, 6, 6))
    before = correct_measured_biases(proto, proto, quantized(proto), placement, feeds).model
    again = correct_measured_biases(proto, before, quantized(before), placement, feeds).model
    names = [t.name for t in again.graph.initializer]
    assert len(names) == len(set(names))
    first, second = (
        {t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer if "corrected" in t.name}
        for m in (before, again)
    )
    assert first.keys() == second.keys() == {"first/corrected_bias", "second/corrected_bias"}
    for name, bias in first.items():
        np.testing.assert_allclose(second[name], bias, atol=1e-5)
    assert outputs(again, ["y"], feeds)["y"].shape == (12, 8, 6, 6)


def test_more_values_than_are_looked_at_give_nearly_the_same(monkeypatch):
    proto = convs()
    placement, quantized = clipped(proto, x=2.0, r=3.0, c=9.0)
    feeds = samples((3, 6, 6), count=12)
    whole = correct_measured_biases(proto, proto, quantized(proto), placement, feeds).model
    monkeypatch.setattr("trtbuild.precision.refining.empirical_bias.POSITIONS", 800)
    some = correct_measured_biases(proto, proto, quantized(proto), placement, feeds).model
    exact = outputs(proto, ["c"], feeds)["c"]
    shifts = [np.abs(np.median(exact - outputs(quantized(m), ["c"], feeds)["c"])) for m in (proto, whole, some)]
    assert shifts[1] < 0.1 * shifts[0]
    assert shifts[2] < 0.5 * shifts[0]


def test_samples_beyond_what_may_be_held_are_left_out(monkeypatch):
    proto = convs()
    placement, quantized = clipped(proto, x=2.0, r=3.0, c=9.0)
    monkeypatch.setattr("trtbuild.precision.refining.empirical_bias.HELD", 1.0)
    few, one = samples((3, 6, 6)), samples((3, 6, 6))[:1]
    found = [correct_measured_biases(proto, proto, quantized(proto), placement, each).model for each in (few, one)]
    assert found[0].SerializeToString(deterministic=True) == found[1].SerializeToString(deterministic=True)


def test_a_graph_that_cannot_be_cut_is_left_alone(monkeypatch):
    proto = convs()
    placement, quantized = clipped(proto, x=2.0, r=3.0, c=9.0)
    real = Pieces._sessions
    monkeypatch.setattr(
        Pieces, "_sessions", lambda self, nodes, *rest: None if len(nodes) > 1 else real(self, nodes, *rest)
    )
    done = correct_measured_biases(proto, proto, quantized(proto), placement, samples((3, 6, 6)))
    assert done.corrected == ()
    assert done.declined == dict.fromkeys(["first", "second"], "the graph cannot be cut there")
    assert done.model == proto


def test_the_models_that_are_given_stay_as_they_are():
    proto = convs()
    placement, quantized = clipped(proto, x=2.0, r=3.0, c=9.0)
    given = quantized(correct_biases(proto, placement, {}).model)
    copies = [m.SerializeToString(deterministic=True) for m in (proto, given)]
    correct_measured_biases(proto, proto, given, placement, samples((3, 6, 6)))
    assert [m.SerializeToString(deterministic=True) for m in (proto, given)] == copies
