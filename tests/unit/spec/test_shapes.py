import pytest

from trtbuild.errors import UsageError
from trtbuild.spec.shapes import parse_axes, parse_shapes


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("x:1x3x224x224", {"x": (1, 3, 224, 224)}),
        ("x:[1,3,224,224]", {"x": (1, 3, 224, 224)}),
        ("x:1,3,224,224", {"x": (1, 3, 224, 224)}),
        ("x:8", {"x": (8,)}),
        ("x:[]", {"x": ()}),
        ("a:1x2,b:3x4", {"a": (1, 2), "b": (3, 4)}),
        ("a:[1,2] b:[3,4]", {"a": (1, 2), "b": (3, 4)}),
        ("a:[1,2],b:[3,4]", {"a": (1, 2), "b": (3, 4)}),
        ("a:1,2,b:3,4", {"a": (1, 2), "b": (3, 4)}),
        ("a:1x2 b:[3,4] c:5,6", {"a": (1, 2), "b": (3, 4), "c": (5, 6)}),
        ("input:0:1x2", {"input:0": (1, 2)}),
        ("model/in.put_1:1x2", {"model/in.put_1": (1, 2)}),
    ],
)
def test_three_syntaxes(text, shapes):
    assert parse_shapes(text) == shapes


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "x:", ":1x2", "x:1x", "x:0x2", "x:[1,-1]", "x:[1,a]", "x:1x2x", "x:[1,2", "x:1x2,x:1x2", "x:[²]"],
)
def test_anything_else_is_a_usage_error(text):
    with pytest.raises(UsageError) as caught:
        parse_shapes(text)
    assert caught.value.hint


def test_axes():
    assert parse_axes(["batch=1:8:32", "seq=128"]) == {"batch": (1, 8, 32), "seq": (128, 128, 128)}
    assert parse_axes([]) == {}


@pytest.mark.parametrize(
    "word", ["batch", "batch=", "=1", "batch=1:2", "batch=3:2:1", "batch=0", "batch=a", "batch=1:2:3:4", "batch=²"]
)
def test_wrong_axes_are_usage_errors(word):
    with pytest.raises(UsageError) as caught:
        parse_axes([word])
    assert caught.value.hint


def test_an_axis_given_twice_is_refused():
    with pytest.raises(UsageError, match="'batch' is given twice"):
        parse_axes(["batch=1", "batch=2"])
