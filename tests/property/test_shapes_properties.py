from hypothesis import example, given
from hypothesis import strategies as st

from trtbuild.errors import UsageError
from trtbuild.spec.shapes import parse_axes, parse_shapes

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:/]*[A-Za-z_]", fullmatch=True)
dims = st.lists(st.integers(1, 10**6), min_size=2, max_size=6).map(tuple)
shapes = st.dictionaries(names, dims, min_size=1, max_size=4)
likely = st.text(alphabet="abx:,=[]0123456789 \t-²٣", max_size=30)


def trtexec(name, sizes):
    return f"{name}:{'x'.join(map(str, sizes))}"


def polygraphy(name, sizes):
    return f"{name}:[{','.join(map(str, sizes))}]"


def onnxslim(name, sizes):
    return f"{name}:{','.join(map(str, sizes))}"


@given(
    shapes,
    st.sampled_from([" ", ","]),
    st.lists(st.sampled_from([trtexec, polygraphy, onnxslim]), min_size=4, max_size=4),
)
def test_three_syntaxes_and_their_mixtures_say_the_same(wanted, separator, writers):
    words = [write(name, sizes) for write, (name, sizes) in zip(writers, wanted.items(), strict=False)]
    assert parse_shapes(separator.join(words)) == wanted


@given(st.text(max_size=40) | likely)
@example("x:" + "1" * 5000)
@example("x:[²]")
def test_any_text_is_read_or_refused_with_a_hint(text):
    try:
        found = parse_shapes(text)
    except UsageError as error:
        assert error.hint  # noqa: PT017
    else:
        assert found
        assert all(name and all(size >= 1 for size in sizes) for name, sizes in found.items())


@given(names, st.lists(st.integers(1, 10**6), min_size=3, max_size=3))
def test_axes_are_read_when_they_are_in_order(name, sizes):
    low, opt, high = sorted(sizes)
    assert parse_axes([f"{name}={low}:{opt}:{high}"]) == {name: (low, opt, high)}


@given(st.text(max_size=40) | likely)
def test_any_axis_is_read_or_refused_with_a_hint(text):
    try:
        found = parse_axes([text])
    except UsageError as error:
        assert error.hint  # noqa: PT017
    else:
        assert all(1 <= low <= opt <= high for low, opt, high in found.values())
