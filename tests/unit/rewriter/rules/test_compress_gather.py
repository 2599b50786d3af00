from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import parsed
from rewriting import apply, holds


@given(st.lists(st.booleans(), min_size=1, max_size=4).filter(any), st.sampled_from([-1, 1, None]))
@settings(max_examples=25, deadline=None)
def test_a_constant_condition_becomes_a_gather(condition, axis):
    kept = sum(condition)
    shape = f"n,{kept}" if axis is not None else str(kept)
    attribute = "" if axis is None else f"<axis: int = {axis}>"
    bits = ",".join(str(int(c)) for c in condition)
    proto = parsed(
        f"g (float[{'3' if axis is None else 'n'},4] x) => (float[{shape}] y) <bool[{len(condition)}] c = {{{bits}}}> "
        f"{{ y = Compress {attribute} (x, c) }}",
    )
    assert holds(proto, "compress_gather").rules == ["compress_gather"]


def test_one_that_keeps_nothing_is_left():
    proto = parsed("g (float[n,2] x) => (float[n,k] y) <bool[2] c = {0,0}> { y = Compress <axis: int = 1> (x, c) }")
    assert apply(proto, "compress_gather").reasons == ["it keeps nothing"]


def computed():
    return parsed("g (float[n,4] x, bool[4] c) => (float[n,k] y) { y = Compress <axis: int = 1> (x, c) }")


GUARDS = {"its condition is computed: how much it keeps is not known": computed}
