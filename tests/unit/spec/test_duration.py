import pytest

from trtbuild.errors import UsageError
from trtbuild.spec.duration import parse_seconds


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2 min", 120), ("1.5h", 5400)])
def test_spans_of_time_as_people_write_them(text, seconds):
    assert parse_seconds(text, "--time-budget") == seconds


@pytest.mark.parametrize("text", ["", "soon", "-3s", "0", "10 d", "1e3"])
def test_what_is_none_is_refused(text):
    with pytest.raises(UsageError, match="no span of time"):
        parse_seconds(text, "--time-budget")
