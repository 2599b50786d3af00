import json

from hypothesis import given
from hypothesis import strategies as st

from trtbuild.content import canonical_json, json_digest

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reordered(value):
    if isinstance(value, dict):
        return {k: reordered(value[k]) for k in reversed(list(value))}
    return [reordered(v) for v in value] if isinstance(value, list) else value


@given(values)
def test_canonical_json_is_json_of_the_same_value(value):
    assert json.loads(canonical_json(value)) == value


@given(values)
def test_canonical_json_is_a_fixed_point_and_ascii(value):
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@given(values)
def test_order_of_keys_changes_nothing(value):
    assert json_digest(reordered(value)) == json_digest(value)


@given(values, values)
def test_other_values_have_other_digests(left, right):
    assert (json_digest(left) == json_digest(right)) == (canonical_json(left) == canonical_json(right))
