"""The parts that are worked out from a document's figures."""

import dataclasses
import json

import pytest
from plan_values import proof
from report_values import build

from trtbuild import __version__
from trtbuild.artifacts import (
    Benchmark,
    CalibrationTable,
    Front,
    FrontPoint,
    GateResult,
    Latency,
    NodeSensitivity,
    SensitivityTable,
    SpeedGate,
    SpeedResult,
    TensorRange,
    Timing,
    TriedTransform,
)
from trtbuild.reporting import as_text, report_document
from trtbuild.spec import load_spec

TIMES = Latency(p50=2.0, p90=2.5, p95=3, p99=4, mean=2, min=1, max=5, spread=0.1, runs=50)
SPEC = {
    "model": {"name": "net", "source": "model.py:load"},
    "precision": "int8",
    "targets": ["rtx4090"],
    "calibration": {"reader": "data.py:batches", "samples": 64},
}


def timed(**subjects):
    rows = tuple(
        Timing(name.replace("_", " ").replace("8 9", "8.9"), {"x": (8, 3, 16)}, TIMES, rate, 8, 0, "opt", ratio=ratio, device=device)
        for name, (rate, ratio, device) in subjects.items()
    )  # fmt: skip
    return Benchmark(rows, "RTX", baseline=rows[0].subject)


MEASURED = timed(fp32_onnx=(1000.0, 1.0, "CPU"), **{"plan_gpu-8.9_int8": (4000.0, 4.0, "RTX")})


def test_the_data_of_a_report_is_as_it_was(tmp_path, golden):
    done = build(tmp_path, asked=SPEC)
    found = json.loads(as_text(report_document(done, {"inputs": {"model": "f" * 64}, "outputs": {}})))
    text = json.dumps(found, indent=2).replace(f'"trtbuild": "{__version__}"', '"trtbuild": "VERSION"') + "\n"
    assert text == (golden / "reports" / "small.json").read_text()


@pytest.mark.parametrize(
    ("proofs", "word"),
    [((proof(),), "passed"), ((proof(passed=False),), "not passed"), ((), "cannot tell")],
)
def test_the_verdict_is_one_word(tmp_path, proofs, word):
    found = report_document(build(tmp_path, verifications=proofs))["verdict"]
    assert found["word"] == word
    assert bool(found["because"]) is (word != "passed")


def undecided():
    gate = GateResult("top1 drop <= 0.001", 0.0, 0.001, False, "spec", "4,000 rows could tell")
    return dataclasses.replace(proof(), gates=(gate,))


def test_too_few_rows_are_no_failure_and_no_pass(tmp_path):
    done = report_document(build(tmp_path, verifications=(undecided(),)))
    assert done["verdict"]["word"] == "cannot tell"
    assert "4,000 rows could tell" in " ".join(done["verdict"]["because"])
    assert done["next_steps"][0]["rule"] == "more_samples"
    both = report_document(build(tmp_path, verifications=(undecided(), proof(passed=False))))
    assert both["verdict"]["word"] == "not passed"


def test_a_slower_engine_is_not_passed_unless_the_spec_accepts_it(tmp_path):
    slow = SpeedGate((SpeedResult("t", 0, 2.0, 1.0, 0.02),))
    done = report_document(build(tmp_path, speed=slow))
    assert done["verdict"]["word"] == "not passed"
    assert "slower" in [s["rule"] for s in done["next_steps"]]
    accepted = report_document(build(tmp_path, speed=dataclasses.replace(slow, allowed=True)))
    assert accepted["verdict"]["word"] == "passed"


def test_the_steps_hold_what_was_measured_and_nothing_else(tmp_path):
    done = build(tmp_path)
    tried = (
        TriedTransform("bias_correction", "corrects", 20.0, 25.0, True),
        TriedTransform("smoothing", "no", 25.0, 24.0, False),
    )
    done = dataclasses.replace(done, typed=dataclasses.replace(done.typed, tried=tried))
    steps = report_document(done)["optimisations"]
    assert [s["step"] for s in steps] == [
        "baseline", "rewrite", "bias correction", "smoothing", "precision int8", "plan gpu-8.9"
    ]  # fmt: skip
    assert [(s["before_db"], s["after_db"], s["applied"]) for s in steps[2:4]] == [
        (20.0, 25.0, True),
        (25.0, 24.0, False),
    ]
    assert steps[0]["nodes"] == 9
    assert steps[-1]["bytes"] == done.plans[0].plan.size
    assert all(s["p50_ms"] is None and s["estimated_seconds"] is None for s in steps)
    assert steps[1]["after_db"] is None, "what the rewrite does to the numbers has no figure"


def test_measured_times_stand_at_their_steps(tmp_path):
    done = report_document(build(tmp_path, benchmark=MEASURED))
    assert done["optimisations"][0]["p50_ms"] == 2.0
    assert done["optimisations"][-1]["p50_ms"] == 2.0
    assert done["verdict"]["plans"][0]["throughput"] == 4000.0
    assert "4.00 times as fast as the baseline" in " ".join(done["trade_offs"])
    assert "measure_speed" not in [s["rule"] for s in done["next_steps"]]


def test_a_siblings_time_is_not_the_plans(tmp_path):
    only = timed(fp32_onnx=(1000.0, 1.0, "CPU"), **{"plan_gpu-8.9_fp16": (4000.0, 4.0, "RTX")})
    assert report_document(build(tmp_path, benchmark=only))["verdict"]["plans"][0]["p50_ms"] is None


def test_a_million_requests_cost_price_over_throughput(tmp_path):
    asked = SPEC | {"cost": {"price_per_hour": 3.6, "requests_per_second": 2500}}
    found = report_document(build(tmp_path, benchmark=MEASURED, asked=asked))["cost"]
    before, after = found["rows"]
    assert before["per_million"] == pytest.approx(3.6 / 3600 / 1000 * 1e6)
    assert after["per_million"] == pytest.approx(0.25)
    assert (before["machines"], after["machines"]) == (3, 1)
    assert before["per_million_at_traffic"] == pytest.approx(3 * 3.6 / 3600 / 2500 * 1e6)
    assert found["currency"] == "USD"


def test_no_throughput_no_cost(tmp_path):
    assert report_document(build(tmp_path))["cost"] is None
    found = report_document(build(tmp_path, asked=SPEC | {"cost": {"price_per_hour": 1}}))["cost"]
    assert found["rows"] == []
    assert found["note"].startswith("not measured")


def test_the_depth_has_the_graphs_order_and_errors_where_they_were_measured(tmp_path):
    done = build(tmp_path)
    node = dataclasses.replace(done.typed, assignment={"z": "int8", "y0": "int8"}, macs={"z": 7})
    measured = SensitivityTable("g", "d", "exact", 64, (NodeSensitivity("z", "MatMul", "int8", 0.1, 10.0, 7, 1),
                                                         NodeSensitivity("y0", "MatMul", "fp8", 0.1, 12.0, 7, 1)))  # fmt: skip
    point = FrontPoint({}, 10.0, {"t": 1e-6}, 4, {"int8": 1.0})
    front = Front("cosine", 0.9, {}, (point,), 0, 8, 1, True, sensitivity=measured)
    found = report_document(dataclasses.replace(done, typed=node, front=front))["depth"]
    assert found["error"] == {"how": "exact", "samples": 64}
    rows = {row["node"]: row for row in found["nodes"]}
    assert rows["z"]["sqnr_db"] == 10.0
    assert rows["z"]["macs"] == 7
    assert rows["y0"]["sqnr_db"] is None, "that was measured in another format"


def test_nodes_stand_as_the_graph_has_them(golden):
    document = json.loads((golden / "reports" / "digits.json").read_text())
    names = [row["node"] for row in document["depth"]["nodes"]]
    assert names[-1] == "/classifier/node_linear"
    assert names != sorted(names)


def test_the_worst_tensors_come_first(tmp_path):
    table = CalibrationTable("g", "mse", "d", 8, ("s",), False, {
        "flat": TensorRange(4.0, -4.0, 4.0, 0.0, histogram=(5, 5, 5, 5), bin_width=1.0),
        "clips": TensorRange(2.0, -4.0, 4.0, 0.1, histogram=(9, 9, 1, 1), bin_width=1.0),
        "spike": TensorRange(4.0, 0.0, 4.0, 0.0, histogram=(99, 0, 0, 1), bin_width=1.0),
        "no histogram": TensorRange(4.0, 0.0, 4.0, 0.9),
    })  # fmt: skip
    found = report_document(build(tmp_path, table=table))["ranges"]
    assert [t["tensor"] for t in found["worst"]] == ["clips", "spike", "flat"]
    assert (found["tensors"], found["clipping"]) == (3, 1)
    assert found["worst"][2]["reach"] == pytest.approx(2.0)


def test_the_recommended_spec_is_read_again_and_has_what_was_settled(tmp_path):
    done = build(tmp_path, asked=SPEC)
    tried = (TriedTransform("smoothing", "x", 1.0, 1.0, False), TriedTransform("bias_correction", "x", 1.0, 2.0, True))
    done = dataclasses.replace(done, typed=dataclasses.replace(done.typed, tried=tried))
    found = report_document(done)["recommended"]
    file = tmp_path / "trtbuild.yaml"
    file.write_text(found["yaml"])
    spec = load_spec(file, environment={})
    assert spec.calibration.method == "entropy", "what auto chose"
    assert spec.calibration.transforms == ["bias_correction"]
    assert len(found["settled"]) == 2
    assert report_document(build(tmp_path, asked=SPEC, verifications=()))["recommended"] is None
    assert report_document(build(tmp_path))["recommended"] is None


def test_random_data_leads_to_real_data(tmp_path):
    done = build(tmp_path)
    done = dataclasses.replace(done, table=dataclasses.replace(done.table, synthetic=True),
                               verifications=(dataclasses.replace(proof(), synthetic=True),))  # fmt: skip
    rules = [s["rule"] for s in report_document(done)["next_steps"]]
    assert rules.count("real_data") == 2
    assert "asked_and_got" in rules
