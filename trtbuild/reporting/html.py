"""The report as one HTML file: no script, no network, nothing but the document.

Templates lie in ``templates/``, one file a part; Jinja2 escapes all that it is given, so a node may be called
``<script>``. What the page may load is forbidden by its content security policy besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trtbuild.errors import UsageError
from trtbuild.reporting.charts import can_draw, draw_all
from trtbuild.reporting.formats import FORMATS

if TYPE_CHECKING:
    from jinja2 import Environment

SCHEMA = 2
"""The report document's schema that the templates know."""

NOT_MEASURED = "not measured"

Formats = Mapping[str, Callable[..., str]]


def render_html(document: Mapping[str, Any], *, formats: Formats = FORMATS) -> str:
    """The page of one report, or of two side by side.

    Args:
        document: What ``report_document`` or ``compare`` returned, or that read back from JSON.
        formats: How templates write figures, by name.

    Raises:
        UsageError: The document is from an older trtbuild.
    """
    two = document.get("kind") == "comparison"
    for one in (document["a"], document["b"]) if two else (document,):
        hold_schema(one)
    if two:
        charts = [draw_all(document[side], prefix=f"{side}-") for side in ("a", "b")]
        page, values = "comparison.html.j2", {"c": document, "charts": charts}
    else:
        page, values = "report.html.j2", {"d": document, "charts": draw_all(document)}
    return environment(formats).get_template(page).render(values, can_draw=can_draw()) + "\n"


def hold_schema(document: Mapping[str, Any]) -> None:
    """Refuses a document that lacks the parts which later ones have.

    Raises:
        UsageError: It does.
    """
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"report.json has schema {document.get('schema')}, and the page needs {SCHEMA}",
            place=str(document.get("model", "report.json")),
            hint="run `trtbuild build` again: what is in the store is not done again; or take --format md",
        )


def environment(formats: Formats = FORMATS) -> Environment:
    """Jinja2 with the templates of this package and the figures' formats as filters."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("trtbuild.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(formats)
    made.filters["known"] = lambda value, name: NOT_MEASURED if value is None else formats[name](value)
    made.filters["shares"] = lambda work: [(kind, formats["percent"](share)) for kind, share in _largest_first(work)]
    return made


def _largest_first(work: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(work.items(), key=lambda item: (-item[1], item[0]))
