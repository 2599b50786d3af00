"""The search on a network that runs: the floor on other rows, overrides, and a run that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import model, node, weights

from trtbuild import onnxfile
from trtbuild.artifacts import TargetRates
from trtbuild.calibration import calibrate
from trtbuild.content import feed_digest
from trtbuild.errors import IntegrityError, PrecisionError, SpecError
from trtbuild.feeds import Sample
from trtbuild.matrixops import node_precisions
from trtbuild.precision import assign_precision
from trtbuild.precision.mixed import write_mixed
from trtbuild.precision.refining.rounding import round_weights
from trtbuild.precision.searching.best import find_front, refine_weights
from trtbuild.precision.searching.floor import Floor
from trtbuild.precision.searching.judging import Judge
from trtbuild.precision.searching.search import assignment_of
from trtbuild.precision.searching.sensitivity import measure
from trtbuild.quantization import Fidelity, place

RATES = TargetRates("gpu", {"fp16": 1e12, "int8": 2e12, "fp32": 2.5e11}, 1e13)
LAYERS = 6


def network():
    """Linear layers with outliers in some activations, so that some of them do not bear INT8."""
    nodes, parameters = [], {}
    for i in range(LAYERS):
        parameters[f"w{i}"] = weights((16, 16), i, 0.3)
        parameters[f"s{i}"] = np.where(np.arange(16) == 3, 1 + 40.0 * (i % 3 == 1), 1).astype(np.float32)
        nodes += [
            node("Mul", ["x" if i == 0 else f"r{i - 1}", f"s{i}"], [f"m{i}"], f"scale{i}"),
            node("MatMul", [f"m{i}", f"w{i}"], [f"h{i}"], f"block.{i}/linear"),
            node("Tanh", [f"h{i}"], [f"r{i}" if i < LAYERS - 1 else "y"], f"tanh{i}"),
        ]
    return model(nodes, [("x", ["n", 16])], [("y", ["n", 16])], parameters)


def samples(seed, count=4):
    random = np.random.default_rng(seed)
    feeds = [{"x": random.normal(size=(32, 16)).astype(np.float32)} for _ in range(count)]
    return [Sample(f, None, feed_digest(f)) for f in feeds]


def searched(folder, floor, **options):
    path = folder / "m.onnx"
    if not path.exists():
        onnx.save(network(), path)
    placement = place(onnxfile.load(path))
    table = calibrate(path, samples(1), method="mse")
    sensitivity = measure(path, table, samples(1), how="exact")
    options = {"targets": [RATES], "sizes": {"n": 32}, "rest": "fp32", **options}
    return find_front(path, sensitivity, table, samples(2), floor, **options), placement, table


@pytest.mark.parametrize("floor", [Floor("cosine", 0.999), Floor("sqnr", 30.0)])
def test_what_is_picked_holds_the_floor_on_rows_that_nothing_has_seen(tmp_path, floor):
    front, placement, table = searched(tmp_path, floor)
    chosen = front.points[front.chosen]
    assert 0 < len(chosen.raised) < LAYERS, "the floor asks for some of the nodes"
    assert front.judged_on == 128
    proto = onnxfile.load(tmp_path / "m.onnx")
    typed = write_mixed(proto, placement, table, assignment_of(front, front.chosen), "fp32").model
    (other,) = Fidelity(proto, samples(3, 16)).of(typed)
    assert {"cosine": other.cosine, "sqnr": other.sqnr_db}[floor.metric] >= floor.min


def test_an_override_is_kept_in_every_point(tmp_path):
    front, *_ = searched(tmp_path, Floor("cosine", 0.9), overrides={"block.[24]/*": "fp32", "block.1/*": "int8"})
    for number in range(len(front.points)):
        found = assignment_of(front, number)
        assert (found["block.2/linear"], found["block.4/linear"], found["block.1/linear"]) == ("fp32", "fp32", "int8")
    with pytest.raises(SpecError, match="no node is called"):
        searched(tmp_path, Floor("cosine", 0.9), overrides={"blok.2/linear": "fp32"})


def test_an_override_to_fp32_stays_fp32_in_a_graph_of_fp16(tmp_path):
    onnx.save(network(), tmp_path / "m.onnx")
    proto = onnxfile.load(tmp_path / "m.onnx")
    formats = {"block.0/linear": "int8", "block.1/linear": "fp32", "block.2/linear": "fp16"}
    table = calibrate(tmp_path / "m.onnx", samples(1), method="mse")
    typed = write_mixed(proto, place(proto), table, formats, "fp16").model
    found = node_precisions(typed)
    assert [found[f"block.{i}/linear"] for i in range(4)] == ["int8", "fp32", "fp16", "fp16"]
    with pytest.raises(PrecisionError, match="cannot be bf16"):
        write_mixed(proto, place(proto), table, {"block.2/linear": "bf16"}, "fp16")


def test_a_sensitivity_of_another_graph_is_refused(tmp_path):
    _, _placement, table = searched(tmp_path, Floor("cosine", 0.9))
    other = tmp_path / "other.onnx"
    changed = network()
    changed.producer_name = "other"
    onnx.save(changed, other)
    sensitivity = measure(tmp_path / "m.onnx", table, samples(1))
    with pytest.raises(IntegrityError):
        find_front(other, sensitivity, table, samples(2), Floor("cosine", 0), targets=[], sizes={})


def killed_at_the_fourth_run(folder):
    """What the child process of the next test does."""

    def kill(runs, _what):
        if runs == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    searched(folder, Floor("cosine", 0.999), journal=folder / "journal", on_progress=kill)


def test_a_killed_search_goes_on_and_runs_no_graph_twice(tmp_path, monkeypatch):
    tests = Path(__file__).parents[2]
    script = f"import sys, pathlib; sys.path[:0] = [{str(tests)!r}, {str(Path(__file__).parent)!r}]; "
    script += "import test_best; test_best.killed_at_the_fourth_run(pathlib.Path(sys.argv[1]))"
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -signal.SIGKILL
    assert len((tmp_path / "journal").read_text().splitlines()) == 3

    ran = []
    rows = Fidelity.rows
    monkeypatch.setattr(Fidelity, "rows", lambda self, typed: ran.append(1) or rows(self, typed))
    front, *_ = searched(tmp_path, Floor("cosine", 0.999), journal=tmp_path / "journal")
    assert len(ran) == front.runs - 3
    ran.clear()
    assert searched(tmp_path, Floor("cosine", 0.999))[0] == front
    assert len(ran) == front.runs


def test_the_rest_in_fp16_is_judged_as_fp16(tmp_path):
    front, *_ = searched(tmp_path, Floor("cosine", 0.999), rest="fp16")
    most = max((p for p in front.points if p.sqnr_db is not None), key=lambda p: p.sqnr_db)
    assert 40 < most.sqnr_db < 80, "rounding to FP16 is seen"


def test_a_judge_asks_for_each_graph_once():
    asked = []

    class Rows:
        def rows(self, typed):
            asked.append(typed)
            return ()

    judge = Judge(dict, Rows(), Floor("cosine", 0.5), rows=1)
    assert judge({"a": "int8"}) == judge({"a": "int8"})
    assert asked == [{"a": "int8"}]
    assert judge.runs == 1


def test_rounded_weights_are_judged_and_the_graph_that_is_written_has_the_same(tmp_path):
    """The nodes in INT8 get the rounded weights, in the search as in the graph; the others keep their own."""
    onnx.save(network(), tmp_path / "m.onnx")
    table = calibrate(tmp_path / "m.onnx", samples(1), method="mse")
    plain, _, _ = searched(tmp_path, Floor("cosine", 0.999), rest="fp16")
    found = refine_weights(tmp_path / "m.onnx", table, samples(2), fit=samples(1), refinements=("weight_rounding",))
    assert [t.name for t in found.tried] == ["weight_rounding"]
    proto = onnxfile.load(tmp_path / "m.onnx")
    rounded = round_weights(proto, place(proto), table, samples(1))
    front, placement, _ = searched(tmp_path, Floor("cosine", 0.999), rest="fp16", rounded=rounded)
    assert [p.sqnr_db for p in front.points] != [p.sqnr_db for p in plain.points]
    formats = {f"block.{i}/linear": "fp16" if i in (1, 4) else "int8" for i in range(LAYERS)}
    low = {n: w for n, w in rounded.items() if formats[n] == "int8"}
    judged = write_mixed(proto, placement, table, formats, "fp16", rounded=low).model
    written = assign_precision(
        tmp_path / "m.onnx",
        tmp_path,
        precision="best",
        table=table,
        assignment=formats,
        judge=samples(2),
        fitting=samples(1),
        refinements=(),
        rounds_weights=True,
    )
    typed = onnxfile.load(written.model.path)
    for graph in (judged, typed):
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
        for name, weight in low.items():
            (values,) = (v for n, v in stored.items() if n.startswith(f"w{name[6]}@") and n.endswith("/int8"))
            np.testing.assert_array_equal(values, weight.numbers.astype(np.int8))
        assert not [n for n in stored if n.startswith("w1@")], "a node in FP16 has no INT8 weight"
