"""The report stage: one JSON document, and everything a person reads made from it and from nothing else."""

from __future__ import annotations

from trtbuild.reporting import said
from trtbuild.reporting.comparison import compare, render_comparison
from trtbuild.reporting.delivery import MANIFEST, PAGE, REPORT, files_of, inputs_read, renewed, warnings_of
from trtbuild.reporting.document import as_text, files_of_manifest, manifest_document, report_document
from trtbuild.reporting.html import render_html
from trtbuild.reporting.log import render_log
from trtbuild.reporting.markdown import render_report
from trtbuild.reporting.parts.tuning import with_tuning
from trtbuild.reporting.speed import render_speed

__all__ = [
    "MANIFEST",
    "PAGE",
    "REPORT",
    "as_text",
    "compare",
    "files_of",
    "files_of_manifest",
    "inputs_read",
    "manifest_document",
    "render_comparison",
    "render_html",
    "render_log",
    "render_report",
    "render_speed",
    "renewed",
    "report_document",
    "said",
    "warnings_of",
    "with_tuning",
]
