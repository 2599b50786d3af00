"""The pages of digits and MiniLM in headless Chromium: no word in the console, no request, light and dark, wide and narrow."""

import json

import pytest
from chromium import chromium, render

from trtbuild.reporting import compare, render_html

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
WIDE, NARROW = 1280, 400


@pytest.fixture
def shown(golden, tmp_path):
    def show(name, **how):
        one, _, other = name.partition(" beside ")
        document = json.loads((golden / "reports" / f"{one}.json").read_text())
        if other:
            document = compare(document, json.loads((golden / "reports" / f"{other}.json").read_text()))
        page = tmp_path / "report.html"
        page.write_text(render_html(document), encoding="utf-8")
        return render(page, tmp_path, **how)

    return show


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("digits", WIDE, False),
        ("digits", NARROW, True),
        ("minilm", WIDE, True),
        ("minilm", NARROW, False),
        ("digits beside minilm", WIDE, False),
    ],
)
def test_a_page_is_drawn_without_a_word_in_the_console_or_a_request(shown, name, width, dark):
    from PIL import Image

    rendered = shown(name, width=width, dark=dark)
    assert rendered.console == []
    assert rendered.asked_for == []
    with Image.open(rendered.picture) as picture:
        grey = picture.convert("L")
        assert picture.width == width
        assert (grey.getpixel((2, 2)) < 60) is dark, "the page's ground follows the scheme"
        shades = grey.getcolors()
    assert len(shades) > 30, "something is drawn on it"
    most = max(shades)[1]
    assert (most < 90) is dark


def test_the_checks_see_what_they_look_for(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>', encoding="utf-8")
    rendered = render(page, tmp_path, width=NARROW)
    assert any("oh" in line for line in rendered.console)
    assert any("127.0.0.1:9" in address for address in rendered.asked_for)


def test_the_policy_of_the_page_forbids_what_it_might_load(shown, golden, tmp_path):
    document = json.loads((golden / "reports" / "digits.json").read_text())
    page = tmp_path / "report.html"
    bad = '<img src="http://127.0.0.1:9/x.png"></main>'
    page.write_text(render_html(document).replace("</main>", bad), encoding="utf-8")
    rendered = render(page, tmp_path, width=NARROW)
    assert rendered.asked_for == []
    assert any("Content Security Policy" in line for line in rendered.console)
