"""Reading a report's page: its text, its tags, and the numbers of it that no value of the document gives."""

import re
from html.parser import HTMLParser
from pathlib import Path

import trtbuild.reporting
from trtbuild.reporting.formats import FORMATS, shortened

TEMPLATES = Path(trtbuild.reporting.__file__).parent / "templates"
OF_A_NUMBER = (
    "size", "ratio", "percent", "score", "signed", "cosine", "decibel", "number", "tiny", "milliseconds", "microseconds",
    "seconds", "whole", "money", "plain",
)  # fmt: skip


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


def from_nowhere(html, document):
    """Numbers in a page's text that are neither a value of the document as it is formatted nor a template's own."""
    allowed = set(numbers(said_by_templates()))
    for value in values(document):
        if isinstance(value, str):
            texts = [value, *(shortened(value, letters) for letters in (16, 26, 30, 40))]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            texts = [str(value), *(FORMATS[key](value) for key in OF_A_NUMBER)]
        else:
            texts = []
        allowed |= {number for text in texts for number in numbers(text)}
    shown = numbers(" ".join(parsed(html).text))
    return [number for number in shown if number not in allowed and number.strip("+-") not in allowed]
