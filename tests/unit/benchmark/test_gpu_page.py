"""bench/gpu.py: the page of a machine without a GPU has no figure, and is the one that is checked in."""

import importlib.util
import sys
from pathlib import Path

import pytest

from trtbuild.artifacts import Benchmark, Timing, to_json
from trtbuild.benchmark.statistics import latency
from trtbuild.device import Gpu, compute_capabilities

BENCH = Path(__file__).parents[3] / "bench"
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_numbers" name="a"/>
<testcase classname="tests.gpu.test_numbers" name="b"><failure message="no"/></testcase>
<testcase classname="tests.gpu.test_speed" name="c"><skipped message="no rtx"/></testcase>
<testcase classname="tests.gpu.test_speed" name="d"><error message="no"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def page():
    described = importlib.util.spec_from_file_location("bench_gpu", BENCH / "gpu.py")
    module = importlib.util.module_from_spec(described)
    sys.modules[described.name] = module
    described.loader.exec_module(module)
    yield module
    del sys.modules[described.name]


def test_the_page_that_is_checked_in_says_that_there_was_no_gpu_as_the_script_would(page):
    lines = (BENCH / "GPU.md").read_text().splitlines()
    about = lines[2]
    assert "\n".join(lines) + "\n" == page.render(about, None, None)
    assert "No GPU was to be had so far" in page.ABSENT


def test_versions_are_of_what_is_installed_and_have_a_date(page):
    assert page.versions()[:2] == "20"
    assert "trtbuild " in page.versions()


def test_the_suites_result_is_read(page):
    suite = page.read_suite(JUNIT)
    assert suite.counts == {"passed": 1, "failed": 2, "skipped": 1}
    assert suite.failures == ("test_numbers::b", "test_speed::d")
    assert suite.reasons == {"no rtx": 1}


def test_with_a_gpu_the_page_has_what_was_given_and_not_the_sentence_about_none(page):
    row = Timing("plan here int8", {"x": (1, 2)}, latency([1.5]), 10.0)
    tables = [("without CUDA graphs", to_json(Benchmark((row,), "given")))]
    text = page.render("today", Gpu("a GPU", "8.9", "600.1", 1024), page.read_suite(JUNIT), (), tables)
    assert "a GPU, compute capability 8.9, driver 600.1, 1024 MiB." in text
    assert "1 passed, 2 failed, 1 skipped." in text
    assert "- failed: `test_numbers::b`" in text
    assert "## Speed, without CUDA graphs" in text
    assert "| plan here int8 |" in text
    assert "No GPU was to be had" not in text
    assert "python bench/gpu.py" in text


@pytest.mark.skipif(bool(compute_capabilities()), reason="this machine has a GPU")
def test_the_script_runs_here_and_writes_a_page_without_a_figure(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "GPU.md")])
    page.main()
    assert "No GPU was to be had so far" in (tmp_path / "GPU.md").read_text()
    assert "no figure" in capsys.readouterr().out
