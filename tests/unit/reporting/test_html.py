"""The page: every number of it stands in the document, nothing is loaded, names cannot break it."""

import functools
import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import trtbuild.reporting.charts as charts
import trtbuild.reporting.html as page
from trtbuild.errors import UsageError
from trtbuild.reporting import compare, render_html
from trtbuild.reporting.formats import FORMATS, shortened

NAMES = ("digits", "minilm")
OF_A_NUMBER = (
    "size", "ratio", "percent", "score", "signed", "cosine", "decibel", "number", "tiny", "milliseconds", "microseconds",
    "seconds", "whole", "money",
)  # fmt: skip
TEMPLATES = Path(page.__file__).parent / "templates"


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


class _Text(HTMLParser):
    """Text of a page and its tags; styles, titles and the marks along a chart's axes left out."""

    def __init__(self):
        super().__init__()
        self.text, self.tags, self.ids, self.left_out = [], [], [], []

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.tags.append((tag, of))
        self.ids += [of["id"]] if "id" in of else []
        if self.left_out or tag == "style" or re.search(r"-[xy]tick_\d+$", of.get("id") or ""):
            self.left_out.append(tag)

    def handle_endtag(self, tag):
        if self.left_out and tag == self.left_out[-1]:
            self.left_out.pop()

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data):
        if not self.left_out:
            self.text.append(data)


VOID = {"meta", "br"}


def parsed(html):
    parser = _Text()
    parser.feed(html)
    return parser


def numbers(text):
    """Numbers that stand by themselves: not the 8 of INT8, nor the digits of a digest."""
    return re.findall(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])", text)


def values(node):
    """Everything a document holds, its keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from values(value)
    elif isinstance(node, list):
        yield node
        for value in node:
            yield from values(value)
    else:
        yield node


def said_by_templates():
    """Text of the templates themselves, such as ``95 % confidence``."""
    return " ".join(re.sub(r"\{[{%#].*?[}%#]\}", " ", f.read_text(), flags=re.DOTALL) for f in TEMPLATES.rglob("*.j2"))


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
    done = document(name)
    allowed = set(numbers(said_by_templates()))
    for value in values(done):
        if isinstance(value, str):
            allowed |= set(numbers(value)) | set(numbers(shortened(value, 16))) | set(numbers(shortened(value)))
            allowed |= set(numbers(shortened(value, 30)))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            texts = [str(value), *(FORMATS[key](value) for key in OF_A_NUMBER)]
            allowed |= {number for text in texts for number in numbers(text)}
    found = numbers(" ".join(parsed(shown(name)).text))
    assert len(found) > 100
    assert [number for number in found if number not in allowed and number.strip("+-") not in allowed] == []


def test_a_number_from_nowhere_would_be_found(shown):
    html = shown().replace("</footer>", "and 123.456 of it</footer>")
    assert "123.456" in numbers(" ".join(parsed(html).text))


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
