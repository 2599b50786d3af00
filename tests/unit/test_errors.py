import errno
import pickle

import pytest

from trtbuild import errors
from trtbuild.errors import TrtbuildError


def every_error():
    found, pending = [], [TrtbuildError]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending.extend(kind.__subclasses__())
    return [k for k in found if k.__module__ == "trtbuild.errors"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TrtbuildError", 1),
        ("UsageError", 2),
        ("SpecError", 2),
        ("FeedError", 2),
        ("OutputError", 2),
        ("ModelError", 3),
        ("ExportError", 3),
        ("InvalidOnnxError", 3),
        ("BuildError", 4),
        ("WorkerCrashedError", 4),
        ("PrecisionError", 4),
        ("OutOfMemoryError", 4),
        ("NoTacticError", 4),
        ("UnsupportedError", 4),
        ("ProfileError", 4),
        ("BuildTimeoutError", 4),
        ("MemoryLimitError", 4),
        ("BuildCancelledError", 130),
        ("AccuracyError", 5),
        ("SpeedError", 6),
        ("IntegrityError", 7),
        ("MissingDependencyError", 8),
        ("ServerError", 9),
    ],
)
def test_exit_code_of_each_error(name, code):
    assert getattr(errors, name).exit_code == code


def test_the_drawn_tree_names_every_error():
    for kind in every_error():
        assert f"{kind.__name__} " in errors.__doc__


def test_text_has_place_message_and_hint():
    assert str(TrtbuildError("broken", place="a.yaml:3", hint="mend it")) == "a.yaml:3: broken\n  hint: mend it"
    assert str(TrtbuildError("broken")) == "broken"


@pytest.mark.parametrize("kind", every_error())
def test_survives_pickling(kind):
    back = pickle.loads(pickle.dumps(kind("broken", place="here", hint="mend it")))
    assert (type(back), back.message, back.place, back.hint) == (kind, "broken", "here", "mend it")


def test_missing_package_names_the_extra_to_install():
    error = errors.missing_package("tensorrt_rtx", "rtx", needed_for="building plans")
    assert error.exit_code == 8
    assert "tensorrt_rtx" in error.message
    assert "building plans" in error.message
    assert error.hint == "pip install 'trtbuild[rtx]'"


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")]
)
def test_refusals_to_write_have_a_remedy(number, word):
    refusal = OSError(number, "refused")
    assert errors.refuses_to_write(refusal)
    error = errors.as_output_error(refusal, "out")
    assert error.exit_code == 2
    assert error.place == "out"
    assert word in error.hint


def test_other_os_errors_are_no_refusal_to_write():
    assert not errors.refuses_to_write(OSError(errno.EIO, "broken disk"))
    assert not errors.refuses_to_write(OSError("no number"))
