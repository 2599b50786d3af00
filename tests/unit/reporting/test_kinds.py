"""Every kind of build has a page: a template that names what is not there raises."""

import dataclasses
import json

import pytest
from plan_values import proof
from report_pages import from_nowhere, numbers, parsed
from report_values import build

import trtbuild.reporting.html as page
from trtbuild.artifacts import (
    Benchmark,
    CalibrationTable,
    Front,
    FrontPoint,
    GateResult,
    Latency,
    ProfileAdvice,
    SpeedGate,
    SpeedResult,
    TaskScore,
    TensorRange,
    Timing,
)
from trtbuild.reporting import as_text, compare, render_comparison, render_html, render_report, report_document

TIMES = Latency(p50=2.125, p90=2.5, p95=3, p99=4, mean=2, min=1, max=5, spread=0.1, runs=50)
COST = {"cost": {"price_per_hour": 1.25, "requests_per_second": 40}, "model": {"name": "net", "source": "m.py:load"}}


def timing(subject, rows, end, *, rate, ratio):
    return Timing(subject, {"x": (rows, 3, 16)}, TIMES, rate, rows, 0, end, None, {}, ratio, "RTX", "plan")


def measured():
    rows = [timing(name, size, end, rate=size * 470.5, ratio=ratio) for name, ratio in (("fp32 onnx", 1.0), ("plan gpu-8.9 int8", 3.5))
            for size, end in ((1, "min"), (8, "opt"), (32, "max"))]  # fmt: skip
    advice = ProfileAdvice("plan gpu-8.9 int8", 0, "max", "n", 3.0, "profiles:\n  - {n: [1, 2, 3]}", "Split it.")
    return Benchmark(tuple(rows), "RTX", ("a note",), "fp32 onnx", (), (advice,))


def undecided():
    gate = GateResult("top1 drop <= 0.001", 0.0, 0.001, False, "spec", "4,000 rows could tell")
    return dataclasses.replace(proof(), gates=(gate,), task=TaskScore("top1", 0.95, 0.94, 100, (0.0, 0.02), 0.03))


FRONT = Front(
    "sqnr", 20.0, {}, (FrontPoint({}, 10.5, {"gpu-8.9": 1e-6}, 4096, {"int8": 1.0}, 9.25, 0.99, 9.0, False),
                       FrontPoint({"a": "fp16"}, 30.5, {"gpu-8.9": 3e-6}, 8192, {"fp16": 1.0})),
    None, 8, 1, False, notes=("a note",),
)  # fmt: skip
RANGES = {"x": TensorRange(1.5, -1.0, 2.0, 0.0125, histogram=(9, 3, 1), bin_width=0.75)}
KINDS = {
    "measured": {"benchmark": measured(), "asked": COST},
    "slower than FP16": {"benchmark": measured(), "speed": SpeedGate((SpeedResult("gpu-8.9", 0, 2.5, 1.75, 0.02),))},
    "not passed": {"verifications": (proof(passed=False),), "packaged": ()},
    "cannot tell": {"verifications": (undecided(),), "packaged": ()},
    "not verified": {"verifications": ()},
    "no plan": {"plans": (), "packaged": ()},
    "no calibration": {"table": None, "calibration_reader": None},
    "searched in vain": {"front": FRONT},
    "clips": {"table": CalibrationTable("g", "mse", "d", 8, ("s",), False, RANGES)},
    "a price and no plan run": {"asked": COST},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_build_has_a_page_of_its_own_figures(tmp_path, kind, monkeypatch):
    document = json.loads(as_text(report_document(build(tmp_path, **KINDS[kind]))))
    html = render_html(document)
    assert len(numbers(" ".join(parsed(html).text))) > 20
    assert from_nowhere(html, document) == []
    assert "None" not in " ".join(parsed(html).text)
    assert render_report(document).startswith("# net")
    monkeypatch.setattr(page, "draw_all", lambda _document, prefix: {})  # the same charts once more
    beside = compare(report_document(build(tmp_path)), document)
    assert beside["differs"] > 0
    assert "None" not in render_comparison(beside)
    assert "None" not in " ".join(parsed(render_html(beside)).text)


def test_a_points_figures_that_nobody_measured_are_named(tmp_path):
    search = report_document(build(tmp_path, front=FRONT))["precision"]["search"]
    assert set(search["estimates"]) <= set(search["points"][0])
    assert "Times are estimates" in render_html(report_document(build(tmp_path, front=FRONT)))
