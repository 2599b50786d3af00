import json
import re
from pathlib import Path

import pytest
from report_values import build

from trtbuild.cli.tune_serving import _renew, _report_of
from trtbuild.errors import UsageError
from trtbuild.reporting import as_text, render_html, render_report, report_document, with_tuning

ONE = {"max_queue_delay_us": 500, "preferred_batch_sizes": [], "instances": 1}
TWO = {"max_queue_delay_us": 100, "preferred_batch_sizes": [8, 16], "instances": 2}


def measured(setting, concurrency, throughput, p50, p99):
    return {
        "setting": setting, "concurrency": concurrency, "throughput": throughput, "p50": p50, "p99": p99, "requests": 9,
    }  # fmt: skip


FOUND = {
    "model": "net", "version": 3, "p99_s": 0.02, "before": ONE, "best": TWO,
    "curve": [
        measured(ONE, 1, 111.0, 0.00512, 0.01023), measured(ONE, 4, 333.0, 0.00814, 0.02517),
        measured(TWO, 4, 444.0, 0.00615, 0.01819),
    ],
}  # fmt: skip


@pytest.fixture
def document(tmp_path):
    return json.loads(as_text(report_document(build(tmp_path))))


def test_the_curve_is_in_the_document_in_milliseconds(document):
    tuning = with_tuning(document, FOUND)["tuning"]
    assert (tuning["before"], tuning["best"]) == (
        "1 instance, any size, delay 500 µs", "2 instances, 8, 16, delay 100 µs",
    )  # fmt: skip
    assert [(r["kept"], r["best"]) for r in tuning["rows"]] == [(True, False), (False, False), (True, True)]
    assert tuning["rows"][1]["p99_ms"] == pytest.approx(25.17)
    assert "tuning" not in document, "a new document"


def test_page_and_markdown_show_every_measurement(document):
    tuned = with_tuning(document, FOUND)
    page, text = render_html(tuned), render_report(tuned)
    for shown in ("111", "333", "444", "10.230", "25.170", "18.190", "20.000"):
        assert shown in page
        assert shown in text
    assert page.count('id="tuning') >= 1
    assert re.search(r"25\.170 \(over\)", text)
    assert "Latency against throughput of each setting" in page


def test_nothing_is_said_of_it_where_nothing_was_tuned(document):
    assert "tuned" not in render_html(document)
    assert "tuned" not in render_report(document)


def test_the_report_of_a_build_is_written_anew_and_nothing_else(document, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "report.json").write_text(as_text(document))
    (folder / "manifest.json").write_text("{}")
    _renew(folder, _report_of(folder), FOUND)
    _renew(folder, _report_of(folder), FOUND)
    assert {p.name for p in folder.iterdir()} == {"report.json", "report.md", "report.html", "manifest.json"}
    assert json.loads((folder / "report.json").read_text())["tuning"]["version"] == 3
    assert (folder / "manifest.json").read_text() == "{}"


@pytest.mark.parametrize("text", [None, "{", '{"schema": 1, "model": "net"}'])
def test_a_folder_without_a_report_is_told_before_anything_is_measured(tmp_path, text):
    if text is not None:
        Path(tmp_path / "report.json").write_text(text)
    with pytest.raises(UsageError):
        _report_of(tmp_path)
