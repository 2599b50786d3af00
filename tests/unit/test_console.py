import json

import pytest

from trtbuild.console import Console, Observer, human_size, table
from trtbuild.errors import SpecError


def test_a_stage_is_one_line_on_standard_error(capsys):
    console = Console()
    console.started("rewrite")
    console.progress("rewrite", 0.5, "half")
    console.finished("rewrite", hit=False, seconds=1.5, said=["headline", "detail"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split() == ["done", "rewrite", "1.50", "s", "headline"]


def test_a_stored_stage_says_kept(capsys):
    Console().finished("rewrite", hit=True, seconds=0, said=[])
    assert capsys.readouterr().err.startswith("kept")


def test_verbose_says_what_a_stage_did(capsys):
    Console(1).finished("rewrite", hit=False, seconds=0, said=["headline", "detail one", "detail two"])
    lines = capsys.readouterr().err.splitlines()
    assert [line.strip() for line in lines[1:]] == ["detail one", "detail two"]


def test_quiet_says_nothing_but_errors(capsys):
    console = Console(-1)
    console.finished("rewrite", hit=False, seconds=0, said=["headline"])
    console.note("a note")
    assert capsys.readouterr().err == ""
    console.error(SpecError("broken", place="a.yaml:3"))
    assert capsys.readouterr().err == "error: a.yaml:3: broken\n"


def test_the_result_is_text_or_one_json_object(capsys):
    Console().result({"b": 1}, "words\n\n")
    assert capsys.readouterr().out == "words\n"
    Console(as_json=True).result({"b": 1, "a": [2]}, "words")
    assert json.loads(capsys.readouterr().out) == {"a": [2], "b": 1}


def test_an_error_as_json_has_every_part(capsys):
    Console(as_json=True).error(SpecError("broken", place="a.yaml:3", hint="mend it"))
    out, err = capsys.readouterr()
    assert "hint: mend it" in err
    assert json.loads(out) == {
        "error": {"kind": "SpecError", "message": "broken", "place": "a.yaml:3", "hint": "mend it", "exit_code": 2}
    }


def test_no_bar_and_no_colour_in_a_pipe(capsys):
    console = Console()
    console.started("compile")
    console.progress("compile", None, "tactics")
    console.close()
    assert capsys.readouterr().err == ""


def test_an_observer_keeps_quiet(capsys):
    quiet = Observer()
    quiet.started("a")
    quiet.progress("a", None, "")
    quiet.finished("a", hit=True, seconds=0, said=["x"])
    quiet.note("x")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (5 << 30, "5.0 GiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_sizes_for_people(size, text):
    assert human_size(size) == text


def test_table_columns_are_aligned_without_trailing_spaces():
    assert table([("name", "what"), ("a", "x"), ("longer", "y")]) == "name    what\na       x\nlonger  y"
