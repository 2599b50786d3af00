"""Weights rounded so that errors make up for each other: against plain rounding, and against trying all."""

import itertools

import numpy as np
import pytest
from onnx_models import model, node, run, save, weights

from trtbuild.calibration import calibrate
from trtbuild.content import feed_digest
from trtbuild.feeds import Sample
from trtbuild.precision.refining import moments as second_moments
from trtbuild.precision.refining.moments import Wanted, moments
from trtbuild.precision.refining.refinement import refine
from trtbuild.precision.refining.rounding import compensate, round_weights
from trtbuild.quantization import FORMATS, place, quantize_weight, write_qdq

INT8, INT4 = FORMATS["int8"], FORMATS["int4"]


def correlated(rows, channels, seed):
    """Rows whose channels move together, in one way for all seeds: what one rounds off, others can make up for."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(channels // 4, channels))
    mixed = random.normal(size=(rows, channels // 4)) @ mixing
    return (mixed + 0.1 * random.normal(size=(rows, channels))).astype("f")


def samples(*arrays):
    return [Sample({"x": a}, None, feed_digest({"x": a})) for a in arrays]


def noise(x, weight, numbers, steps):
    return float(((x @ weight - x @ (numbers * steps)) ** 2).sum())


def test_one_channel_after_the_other_is_rounded_as_by_hand(monkeypatch):
    """Two equal channels: what the first one rounds off, the second one is to take up."""
    monkeypatch.setattr("trtbuild.precision.refining.rounding.DAMPING", 1e-9)
    square = np.array([[1.0, 1.0], [1.0, 1.0]]) + 1e-6 * np.eye(2)
    weight = np.array([[0.4], [0.4]])
    numbers = compensate(weight, np.ones((2, 1)), INT8, square, square)
    assert numbers.sum() == 1  # 0.8 in all; each alone would round to 0
    assert np.rint(weight).sum() == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_error_is_near_the_least_of_all_numbers_there_are(seed, monkeypatch):
    """Against every choice of two neighbouring numbers for eight weights: the nearest ones have 4 to 35 times it."""
    monkeypatch.setattr("trtbuild.precision.refining.rounding.DAMPING", 0.01)
    x = correlated(400, 8, seed).astype(float)
    weight = weights((8, 1), seed, 3.0).astype(float)
    ones = np.ones_like(weight)
    found = noise(x, weight, compensate(weight, ones, INT8, x.T @ x, x.T @ x), ones)
    each = [
        noise(x, weight, np.floor(weight) + np.reshape(ups, (8, 1)), ones)
        for ups in itertools.product((0, 1), repeat=8)
    ]
    assert found <= 4 * min(each)
    assert found < noise(x, weight, np.rint(weight), ones)


def test_uncorrelated_channels_are_rounded_to_the_nearest():
    weight = weights((16, 5), 1, 20.0).astype(float)
    numbers = compensate(weight, np.ones_like(weight), INT8, np.eye(16), np.eye(16))
    np.testing.assert_array_equal(numbers, np.rint(weight))


def test_numbers_stay_within_the_format():
    weight = weights((16, 5), 1, 300.0).astype(float)
    x = correlated(100, 16, 0).astype(float)
    for kind in (INT8, INT4):
        numbers = compensate(weight, np.ones_like(weight), kind, x.T @ x, x.T @ x)
        assert np.abs(numbers).max() <= kind.largest
        np.testing.assert_array_equal(numbers, np.rint(numbers))


def test_channels_that_were_never_seen_keep_their_weights():
    weight = weights((6, 4), 1, 20.0).astype(float)
    square = np.diag([1.0, 1, 0, 1, 0, 1])
    numbers = compensate(weight, np.ones_like(weight), INT8, square, square)
    np.testing.assert_array_equal(numbers, np.rint(weight))
    dark = np.zeros((6, 6))
    np.testing.assert_array_equal(compensate(weight, np.ones_like(weight), INT8, dark, dark), np.rint(weight))


LAYERS = {
    "MatMul": ([node("MatMul", ["x", "w"], ["y"], "m")], (32, 12)),
    "Gemm": ([node("Gemm", ["x", "w"], ["y"], "m")], (32, 12)),
    "Gemm of a transposed weight": ([node("Gemm", ["x", "w"], ["y"], "m", transB=1)], (12, 32)),
}


def layer(name):
    nodes, shape = LAYERS[name]
    return model(nodes, [("x", ["n", 32])], [("y", ["n", 12])], {"w": weights(shape, 3)})


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.95), ("int8_weights", 0.6), ("int4", 0.6)])
@pytest.mark.parametrize("name", LAYERS)
def test_other_rows_come_out_better_too(tmp_path, name, kind, most):
    """In INT8 most of the noise is the activation's here."""
    proto = layer(name)
    proto.opset_import[0].version = FORMATS[kind].opset
    table = calibrate(save(proto, tmp_path / "m.onnx"), [{"x": correlated(500, 32, 0)}], method="minmax")
    placement = place(proto)
    amax = {n: r.amax for n, r in table.ranges.items()}
    rounded = round_weights(proto, placement, table, samples(*np.split(correlated(500, 32, 0), 5)), formats=kind)
    assert list(rounded) == ["m"]
    other = {"x": correlated(200, 32, 1)}
    want = run(proto, other)["y"]
    plain, better = (
        np.square(run(write_qdq(proto, placement, amax, formats=kind, rounded=r), other)["y"] - want).sum()
        for r in ({}, rounded)
    )
    assert better < most * plain
    weight = quantize_weight(
        weights(LAYERS[name][1], 3),
        FORMATS[kind],
        axis=placement.nodes[0].axis,
        reduced_axis=placement.nodes[0].reduced_axis,
    )
    np.testing.assert_array_equal(rounded["m"].scale, weight.scale)


def test_moments_are_those_of_all_rows_however_they_are_cut(monkeypatch):
    proto = model(
        [node("Relu", ["x"], ["r"]), node("MatMul", ["r", "w"], ["y"], "m")],
        [("x", ["n", 3, 8])],
        [("y", ["n", 3, 2])],
        {"w": weights((8, 2), 0)},
    )
    x = correlated(60, 8, 0).reshape(20, 3, 8)
    wanted = [Wanted("r", 8, 0.05), Wanted("r", 8, None), Wanted("x", 8, None)]
    r = np.maximum(x, 0).reshape(-1, 8).astype(float)
    q = np.clip(np.rint(r / 0.05), -128, 127) * 0.05
    cuts = (samples(x), samples(x[:7], x[7:8], x[8:]))
    for cut, budget in itertools.product(cuts, (1e9, 1)):
        monkeypatch.setattr(second_moments, "BUDGET", budget)
        seen = dict(moments(proto, wanted, cut))
        np.testing.assert_allclose(seen[wanted[0]].square, q.T @ q, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(seen[wanted[0]].cross, q.T @ r, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(seen[wanted[1]].square, r.T @ r, rtol=1e-5, atol=1e-4)
        assert seen[wanted[1]].cross is seen[wanted[1]].square
        assert len(seen) == 3


def test_what_has_no_matrix_of_its_own_is_left_out(tmp_path):
    proto = model(
        [
            node("MatMul", ["x", "w"], ["a"], "shared"),
            node("MatMul", ["a", "w"], ["b"], "shared too"),
            node("MatMul", ["b", "v"], ["c"], "own"),
            node("Transpose", ["c"], ["t"], perm=[1, 0]),
            node("Gemm", ["t", "u"], ["y"], "flipped", transA=1),
        ],
        [("x", ["n", 8])],
        [("y", ["n", 8])],
        {"w": weights((8, 8), 0), "v": weights((8, 8), 1), "u": weights((8, 8), 2)},
    )
    x = correlated(50, 8, 0)
    table = calibrate(save(proto, tmp_path / "m.onnx"), [{"x": x}], method="minmax")
    assert list(round_weights(proto, place(proto), table, samples(x))) == ["own"]


def test_it_is_kept_where_judging_rows_gain_and_needs_rows_to_fit(tmp_path):
    proto = layer("MatMul")
    rows, others = correlated(500, 32, 0), correlated(200, 32, 1)
    table = calibrate(save(proto, tmp_path / "m.onnx"), [{"x": rows}], method="minmax")
    judge = samples(others)
    options = {"refinements": ("weight_rounding",), "formats": "int8_weights"}
    result = refine(proto, place(proto), table, judge, fit=samples(rows), **options)
    (tried,) = result.tried
    assert (tried.name, tried.kept, list(result.rounded)) == ("weight_rounding", True, ["m"])
    assert tried.after_db > tried.before_db + 0.5
    assert "1 of 1 quantised nodes" in tried.change
    other = refine(proto, place(proto), table, samples(others[:, ::-1].copy()), fit=samples(rows), **options)
    assert (other.tried[0].kept, other.rounded) == (False, {}), "rows of another kind do not gain"
    assert refine(proto, place(proto), table, judge, **options).tried == ()
