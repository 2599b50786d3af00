"""The page: every number of it stands in the document, nothing is loaded, names cannot break it."""

import functools
import importlib.util
import json
import re

import pytest
from report_pages import TEMPLATES, from_nowhere, numbers, parsed, values

import trtbuild.reporting.charts as charts
from trtbuild.errors import UsageError
from trtbuild.reporting import compare, render_html
from trtbuild.reporting.formats import FORMATS

NAMES = ("digits", "minilm")


@functools.cache
def drawn(text):
    """A page, drawn once for all tests that only look at it."""
    return render_html(json.loads(text))


@pytest.fixture
def shown(golden):
    return lambda name="digits": drawn((golden / "reports" / f"{name}.json").read_text())


@pytest.fixture
def document(golden):
    return lambda name="digits": json.loads((golden / "reports" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_a_template_formats_is_a_value_of_the_document(document, name):
    done = document(name)
    known = {repr(value) for value in values(done)}
    strange = []

    def watched(key, function):
        def write(value, *rest):
            if key not in ("axes", "shapes", "shortened") and repr(value) not in known:
                strange.append((key, value))
            return function(value, *rest)

        return write

    render_html(done, formats={key: watched(key, function) for key, function in FORMATS.items()})
    assert strange == []


@pytest.mark.parametrize("name", NAMES)
def test_every_number_on_the_page_is_found_in_the_document(document, shown, name):
    found = parsed(shown(name)).text
    assert len(numbers(" ".join(found))) > 100
    assert from_nowhere(shown(name), document(name)) == []


def test_a_number_from_nowhere_would_be_found(document, shown):
    html = shown().replace("</footer>", "and 123.456 of it</footer>")
    assert from_nowhere(html, document()) == ["123.456"]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_stands_alone_and_is_small(shown, name):
    html = shown(name)
    found = parsed(html)
    loading = {"src", "srcset", "action", "data", "poster", "background"}
    assert not [
        tag for tag, of in found.tags if tag in ("script", "link", "iframe", "object", "img") or loading & set(of)
    ]
    assert all(of["href"].startswith("#") for _, of in found.tags if "href" in of)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    policy = next(of["content"] for tag, of in found.tags if of.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert len(html) < 1_000_000
    assert len(found.ids) == len(set(found.ids)), "an id stands twice"


def test_the_links_of_the_page_lead_somewhere(shown):
    found = parsed(shown("minilm"))
    assert {of["href"][1:] for tag, of in found.tags if tag == "a"} <= set(found.ids)


def test_the_charts_take_their_colours_from_the_page(document):
    pytest.importorskip("matplotlib")
    made = charts.draw_all(document("minilm"))
    assert set(made) == {"sizes", "depth", "ranges", "front", "stages"}
    style = (TEMPLATES / "style.css").read_text()
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for svg in made.values():
        assert "#fe00" not in svg
        assert "<text" in svg, "text stays text"
        for name in set(re.findall(r"var\(--(\w+)\)", svg)):
            assert f"--{name}:" in light
            assert f"--{name}:" in dark or name == "font"


def test_the_same_document_is_the_same_page(document, shown):
    assert shown() == render_html(json.loads(json.dumps(document())))


def test_a_name_cannot_break_the_page(document):
    bad = "<script>alert('$x_1$ & \"y\"')</script>"
    text = json.dumps(document()).replace("/features.1/node_Conv_23", json.dumps(bad)[1:-1])
    done = json.loads(text) | {"model": bad, "source": bad}
    done["warnings"] = [bad]
    done["ranges"]["worst"][0]["tensor"] = bad
    html = render_html(done)
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    assert bad in " ".join(parsed(html).text)
    assert "<script" not in render_html(compare(done, done, names=(bad, bad)))


def test_without_matplotlib_the_page_says_so_and_has_its_tables(document, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name))
    html = render_html(document())
    assert "<svg" not in html
    assert "pip install &#39;trtbuild[report]&#39;" in html or "pip install 'trtbuild[report]'" in html
    assert html.count("<table>") > 8


def test_an_older_report_is_refused_with_what_to_do(document):
    with pytest.raises(UsageError, match="schema 1") as caught:
        render_html(document() | {"schema": 1})
    assert "trtbuild build" in caught.value.hint


def test_what_was_not_measured_is_called_so(shown):
    text = re.sub(r"\s+", " ", " ".join(parsed(shown()).text))
    assert "speed: not run on a GPU" in text
    assert "Latency and throughput were not measured" in text
    assert text.count("not measured") >= 5
