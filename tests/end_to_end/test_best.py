"""Precision ``best`` from a spec: the search decides what the plan is built of, and the report shows the front."""

from __future__ import annotations

import json

from harness import Tool, populate, write_spec


def test_a_spec_that_asks_for_the_best_gets_what_holds_the_floor(tmp_path):
    tool = Tool(populate(tmp_path / "work"), tmp_path / "cache")
    write_spec(tool.folder, accuracy={"metric": "cosine", "min": 0.99})
    words = ("build", "--set", "precision=best", "--set", "search={exact: true}")
    tool.succeeds(*words)
    report = json.loads((tool.folder / "out" / "report.json").read_text())
    search = report["precision"]["search"]
    taken = search["points"][search["chosen"]]
    assert taken["holds"]
    assert taken["cosine"] >= 0.99
    assert report["verifications"][0]["outputs"][0]["cosine"] >= 0.99
    assert report["precision"]["nodes"].get("int8", 0) == 2 - len(taken["raised"])
    assert "search" in {s["stage"] for s in report["stages"]}
    assert all(s["hit"] for s in tool.json(*words)["stages"])


def test_a_floor_that_nothing_holds_is_an_error_with_what_was_reached(tmp_path):
    tool = Tool(populate(tmp_path / "work"), tmp_path / "cache")
    write_spec(tool.folder, accuracy={"metric": "sqnr", "min": 200.0})
    tool.fails(5, "build", "--set", "precision=best", says=["sqnr >= 200", "rest: fp32"])


def test_an_override_reaches_the_graph_and_one_that_matches_nothing_is_refused(tmp_path):
    tool = Tool(populate(tmp_path / "work"), tmp_path / "cache")
    write_spec(tool.folder, accuracy={"metric": "cosine", "min": 0.9})
    tool.succeeds("build", "--precision", "int8", "--set", 'precision_overrides={"*": fp16}')
    assert json.loads((tool.folder / "out" / "report.json").read_text())["precision"]["nodes"] == {"fp16": 2}
    tool.fails(2, "build", "--precision", "int8", "--set", "precision_overrides={nowhere: fp16}", says=["nowhere"])
