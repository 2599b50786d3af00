import pytest

from trtbuild.errors import FeedError, UsageError
from trtbuild.sources import load_callable, source_file, user_code


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "reader.py").write_text(
        "def batches():\n    return 7\n\n\ndef held_out():\n    return 8\n\n\nsize = 3\n"
    )
    return tmp_path


def test_a_function_of_a_file(folder):
    assert load_callable("reader.py:batches", folder)() == 7
    assert source_file("reader.py:batches", folder) == folder / "reader.py"


def test_a_function_of_a_module():
    assert load_callable("os.path:basename", None)("a/b") == "b"
    assert source_file("os.path:basename", None) is None


def test_a_module_beside_the_spec_is_found(folder):
    (folder / "beside_the_spec_module.py").write_text("def load():\n    return 1\n")
    assert load_callable("beside_the_spec_module:load", folder)() == 1


def test_readers_that_ship_are_found_from_anywhere(tmp_path):
    assert callable(load_callable("calibration/digits.py:batches", tmp_path))
    assert source_file("calibration/digits.py:batches", tmp_path).is_file()


def test_the_users_own_file_wins_over_a_shipped_one(tmp_path):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "digits.py").write_text("def batches():\n    return 'mine'\n")
    assert load_callable("calibration/digits.py:batches", tmp_path)() == "mine"


def test_a_changed_file_is_read_again(folder):
    assert load_callable("reader.py:batches", folder)() == 7
    (folder / "reader.py").write_text("def batches():\n    return 9\n")
    assert load_callable("reader.py:batches", folder)() == 9


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("reader.py", "does not name a function"),
        ("reader.py:", "does not name a function"),
        (":batches", "does not name a function"),
        ("reader.py:not a name", "does not name a function"),
        ("raeder.py:batches", "there is no file 'raeder.py'"),
        (
            "calibration/image.py:batches",
            "there is no file 'calibration/image.py'\n  hint: did you mean 'calibration/images.py'",
        ),
        ("reader.py:batchs", "did you mean 'batches'"),
        ("reader.py:size", "has no function 'size'"),
        ("no_such_module_here:load", "there is no module 'no_such_module_here'"),
        ("os.no_such_part:load", "there is no module 'os.no_such_part'"),
    ],
)
def test_wrong_references_say_what_is_wrong(folder, reference, words):
    with pytest.raises(UsageError, match=words) as caught:
        load_callable(reference, folder)
    assert caught.value.place == reference
    assert caught.value.hint


def test_what_the_users_file_raises_names_its_line(folder):
    (folder / "broken.py").write_text("x = 1\n\nraise RuntimeError('no data')\n")
    with pytest.raises(UsageError, match=r"RuntimeError: no data \(raised at .*broken.py:3\)"):
        load_callable("broken.py:load", folder)


def test_a_missing_import_of_the_users_file_is_theirs(folder):
    (folder / "needy.py").write_text("import no_such_module_here\n")
    with pytest.raises(UsageError, match=r"No module named 'no_such_module_here' \(raised at .*needy.py:1\)"):
        load_callable("needy.py:load", folder)


def test_user_code_becomes_the_error_that_is_asked_for():
    with pytest.raises(FeedError, match="KeyError: 'x'"), user_code("reader.py:batches", FeedError):
        raise KeyError("x")


def test_user_code_lets_our_own_errors_and_interrupts_through():
    with pytest.raises(FeedError, match=r"^mine$"), user_code("r"):
        raise FeedError("mine")
    with pytest.raises(KeyboardInterrupt), user_code("r"):
        raise KeyboardInterrupt
