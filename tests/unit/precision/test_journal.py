import json

import pytest

from trtbuild.errors import OutputError
from trtbuild.precision.searching.journal import Journal


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path):
    first = Journal(tmp_path / "deep" / "journal")
    first.add("a", {"noise": 0.5})
    first.add("b", {"noise": 0.25})
    again = Journal(tmp_path / "deep" / "journal")
    assert (again.get("a"), again.get("b"), again.get("c")) == ({"noise": 0.5}, {"noise": 0.25}, None)


@pytest.mark.parametrize("cut", range(1, 45))
def test_a_cut_last_line_is_taken_off_and_the_next_one_stands_alone(tmp_path, cut):
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.add("a", {"noise": 0.5})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:cut].replace(b'"a"', b'"b"'))
    journal = Journal(path)
    assert len(journal) == (2 if cut >= len(whole) else 1)
    journal.add("c", {"noise": 1.0})
    assert Journal(path).get("a") == {"noise": 0.5}
    assert Journal(path).get("c") == {"noise": 1.0}
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_folder_in_its_place_is_an_error_of_the_users(tmp_path):
    (tmp_path / "journal").mkdir()
    with pytest.raises(OutputError):
        Journal(tmp_path / "journal")
