"""Two reports side by side."""

import json

import pytest
from plan_values import proof
from report_values import build

from trtbuild.reporting import as_text, compare, render_comparison, render_html, report_document


@pytest.fixture
def pair(golden):
    return [json.loads((golden / "reports" / f"{name}.json").read_text()) for name in ("digits", "minilm")]


def rows(found):
    return {(row["part"], row["what"]): row for row in found["rows"]}


def test_a_build_beside_itself_differs_in_nothing(pair):
    found = compare(pair[0], pair[0])
    assert found["differs"] == 0
    assert all(row["same"] for row in found["rows"])
    assert "0 figures differ" in render_comparison(found)
    assert "|" not in render_comparison(found), "there is nothing to tell"
    assert '<tr class="changed"' not in render_html(found)


def test_what_differs_is_marked_with_its_ratio(pair):
    found = compare(*pair, names=("old", "new"))
    size = rows(found)["sizes", "fp32 onnx"]
    assert not size["same"]
    assert size["ratio"] == pytest.approx(size["b"] / size["a"])
    text = render_comparison(found)
    assert "`old` (A) and `new` (B)" in text
    assert "| typed onnx: cosine | 0.999947 | 0.999067 |" in text
    assert f"{found['differs']} figures differ" in text
    html = render_html(found)
    assert html.count('<tr class="changed"') == found["differs"]
    pytest.importorskip("matplotlib")
    assert html.count("<svg") == 7, "sizes, depth and ranges of both, the front of one"


def test_a_lost_verdict_comes_first(tmp_path):
    a = report_document(build(tmp_path))
    b = report_document(build(tmp_path, verifications=(proof(passed=False),), packaged=()))
    found = compare(a, b)
    assert (rows(found)["verdict", "verdict"]["a"], rows(found)["verdict", "verdict"]["b"]) == ("passed", "not passed")
    assert "A: **passed**, B: **not passed**" in render_comparison(found).splitlines()[2]


def test_times_per_stage_do_not_count(pair):
    a = pair[0]
    b = json.loads(json.dumps(a))
    b["stages"][0]["seconds"] += 5
    found = compare(a, b)
    assert found["differs"] == 0
    assert not rows(found)["time per stage", "export"]["same"]


def test_the_comparison_is_json_and_rendered_from_it_alone(pair):
    found = compare(*pair, plans=[{"target": "rtx4090", "lines": ["other bytes", "kernels:"]}])
    again = json.loads(as_text(found))
    assert render_comparison(again) == render_comparison(found)
    assert "## Kernels for rtx4090\n\n```\nother bytes\nkernels:\n```" in render_comparison(found)
