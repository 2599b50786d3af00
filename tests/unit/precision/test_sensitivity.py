"""Sensitivities on small networks that run: what adds up, what is repeated, what a budget leaves."""

import numpy as np
import onnx
import pytest
from onnx_models import mlp, model, node, weights

from trtbuild import onnxfile
from trtbuild.calibration import calibrate
from trtbuild.content import feed_digest
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.feeds import Sample
from trtbuild.precision.searching.attribution import attribute
from trtbuild.precision.searching.sensitivity import hold_formats, measure, table_rows
from trtbuild.quantization import Fidelity, place, write_qdq


def residual_cnn():
    """Two convolutions with a residual, then a head: the residual's summand is quantised with the second one."""
    nodes = [
        node("Conv", ["x", "k0"], ["c0"], "stem", pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "k1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r0"], ["s"], "skip"),
        node("Relu", ["s"], ["r2"]),
        node("Conv", ["r2", "k3"], ["c3"], "conv3", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c3"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], "head"),
    ]
    scales = [0.3, 0.2, 0.02, 0.2]
    kernels = {
        f"k{i}": weights((8, 3 if i == 0 else 8, 3, 3), i, scale) * np.linspace(0.1, 3, 8).reshape(8, 1, 1, 1)
        for i, scale in enumerate(scales)
    }
    parameters = {name: k.astype(np.float32) for name, k in kernels.items()} | {"w": weights((8, 5), 9)}
    return model(nodes, [("x", ["n", 3, 12, 12])], [("y", ["n", 5])], parameters)


def samples(shape, count=6, seed=0):
    random = np.random.default_rng(seed)
    feeds = [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(count)]
    return [Sample(f, None, feed_digest(f)) for f in feeds]


@pytest.fixture
def cnn(tmp_path):
    return saved(residual_cnn(), tmp_path, (4, 3, 12, 12))


def saved(network, folder, shape):
    onnx.save(network, folder / "m.onnx")
    data = samples(shape)
    return folder / "m.onnx", calibrate(folder / "m.onnx", data, method="mse"), place(network), data


def deep():
    """Six linear layers with an activation between."""
    nodes = []
    for i in range(6):
        nodes.append(node("MatMul", ["x" if i == 0 else f"r{i}", f"w{i}"], [f"h{i}"], f"linear{i}"))
        nodes.append(node("Tanh", [f"h{i}"], [f"r{i + 1}" if i < 5 else "y"]))
    parameters = {f"w{i}": weights((16, 16), i, 0.3) for i in range(6)}
    return model(nodes, [("x", ["n", 16])], [("y", ["n", 16])], parameters)


def test_noises_of_single_nodes_add_up_to_that_of_all(tmp_path):
    path, table, placement, data = saved(deep(), tmp_path, (32, 16))
    found = measure(path, table, data, how="exact")
    amax = {n: r.amax for n, r in table.ranges.items()}
    whole = Fidelity(deep(), data).sqnr_db(write_qdq(deep(), placement, amax))
    assert -10 * np.log10(sum(n.noise for n in found.nodes)) == pytest.approx(whole, abs=1)  # in dB
    assert [n.node for n in found.nodes] == [f"linear{i}" for i in range(6)]
    assert all(n.sqnr_db == pytest.approx(-10 * np.log10(n.noise)) for n in found.nodes)


def test_fast_parts_add_up_to_the_noise_of_all_and_rank_nodes_like_exact_ones(cnn):
    path, table, placement, data = cnn
    fast, exact = (measure(path, table, data, how=how) for how in ("fast", "exact"))
    network = onnxfile.load(path)
    whole = Fidelity(network, data).sqnr_db(write_qdq(network, placement, {n: r.amax for n, r in table.ranges.items()}))
    assert sum(n.noise for n in fast.nodes) == pytest.approx(10 ** (-whole / 10), rel=1e-3)
    ranks = [np.argsort(np.argsort([n.noise for n in t.nodes])) for t in (fast, exact)]
    assert np.corrcoef(*ranks)[0, 1] > 0.89


def test_one_node_gets_all_of_the_noise_that_it_makes(tmp_path):
    path, table, placement, data = saved(mlp(), tmp_path, (32, 8))
    network, amax = onnxfile.load(path), {n: r.amax for n, r in table.ranges.items()}
    for name in ("fc1", "fc2"):
        alone = placement.only([name])
        seen = 10 ** (-Fidelity(network, data).sqnr_db(write_qdq(network, alone, amax)) / 10)
        written = write_qdq(network, alone, amax)
        assert attribute(network, alone, written, [s.feed for s in data]) == {name: pytest.approx(seen, rel=1e-3)}


def test_masked_scores_of_minus_infinity_do_not_spoil_the_parts(tmp_path):
    mask = np.where(np.tril(np.ones((6, 6))) > 0, 0, -np.inf).astype(np.float32)
    nodes = [
        node("MatMul", ["x", "w1"], ["q"], "query"),
        node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], ["s"], "scores"),
        node("Add", ["s", "mask"], ["m"], "masking"),
        node("Softmax", ["m"], ["p"], axis=-1),
        node("MatMul", ["p", "q"], ["o"], "mix"),
        node("MatMul", ["o", "w2"], ["y"], "out"),
    ]
    parameters = {"w1": weights((8, 8), 1, 0.4), "w2": weights((8, 8), 2), "mask": mask}
    network = model(nodes, [("x", ["n", 6, 8])], [("y", ["n", 6, 8])], parameters)
    path, table, _placement, data = saved(network, tmp_path, (4, 6, 8))
    found = measure(path, table, data)
    assert {n.node for n in found.nodes} == {"query", "out"}
    assert all(np.isfinite(n.noise) and n.noise > 0 for n in found.nodes)


def test_a_journal_spares_what_was_measured(cnn, tmp_path, monkeypatch):
    path, table, placement, data = cnn
    first = measure(path, table, data, how="exact", journal=tmp_path / "j")
    ran = []
    monkeypatch.setattr("trtbuild.precision.searching.sensitivity._Run.noise", lambda *a: ran.append(a) or 1.0)
    again = measure(path, table, data, how="exact", journal=tmp_path / "j")
    assert again == first
    assert ran == []
    other = measure(path, table, data[:2], how="exact", journal=tmp_path / "j")  # other data: anew
    assert len(ran) == len(placement.nodes)
    assert all(n.noise == 1.0 for n in other.nodes)


def test_a_time_budget_leaves_nodes_out_and_a_larger_one_goes_on(cnn, tmp_path):
    path, table, _placement, data = cnn
    begun = measure(path, table, data, how="exact", journal=tmp_path / "j", time_budget_s=1e-9)
    assert [n.node for n in begun.nodes] == ["stem"]
    assert begun.left_out == ("conv1", "conv2", "conv3", "head")
    assert "time budget" in begun.notes[0]
    assert measure(path, table, data, how="exact", journal=tmp_path / "j", time_budget_s=1e-9) == begun
    whole = measure(path, table, data, how="exact", journal=tmp_path / "j")
    assert not whole.left_out
    assert whole.nodes[0] == begun.nodes[0]


def test_a_table_of_another_graph_is_refused(cnn, tmp_path):
    _, table, _placement, data = cnn
    onnx.save(mlp(), tmp_path / "other.onnx")
    with pytest.raises(IntegrityError):
        measure(tmp_path / "other.onnx", table, data)


def test_the_printed_table_begins_with_the_most_harmful_node(cnn):
    path, table, _placement, data = cnn
    found = measure(path, table, data, sizes={"n": 4})
    rows = table_rows(found)
    assert rows[1][0] == max(found.nodes, key=lambda n: n.noise).node
    assert sum(float(row[5].strip("%")) for row in rows[1:]) == pytest.approx(100, abs=0.3)


def test_an_unknown_format_is_an_error_with_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'int8'"):
        hold_formats(["int9"])


@pytest.mark.parametrize("how", ["fast", "exact"])
def test_other_formats_are_measured_beside_int8(tmp_path, how):
    path, table, _, data = saved(deep(), tmp_path, (32, 16))
    found = measure(path, table, data, how=how, formats=("int8", "fp8", "int8_weights"))
    noise = {(n.node, n.format): n.noise for n in found.nodes}
    assert len(noise) == 18
    assert all(noise[f"linear{i}", "int8_weights"] < noise[f"linear{i}", "int8"] for i in range(6))
    assert all(noise[f"linear{i}", "fp8"] > 0 for i in range(6))
