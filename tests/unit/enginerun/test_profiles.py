import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.enginerun.profiles import choose_profile
from trtbuild.errors import FeedError


def profile(**inputs):
    return {name: tuple(tuple(dims) for dims in ranges) for name, ranges in inputs.items()}


SMALL = profile(x=([1, 8], [1, 16], [4, 64]))
LARGE = profile(x=([1, 8], [32, 16], [64, 64]))


def test_the_nearest_opt_wins_among_those_that_take_the_shapes():
    assert choose_profile([SMALL, LARGE], {"x": (2, 16)}, "plan") == 0
    assert choose_profile([LARGE, SMALL], {"x": (2, 16)}, "plan") == 1
    assert choose_profile([SMALL, LARGE], {"x": (5, 16)}, "plan") == 1


def test_the_first_of_two_equals_wins():
    assert choose_profile([SMALL, SMALL], {"x": (1, 16)}, "plan") == 0


def test_no_profile_is_an_error_that_names_each():
    with pytest.raises(FeedError) as caught:
        choose_profile([SMALL, LARGE], {"x": (65, 16)}, "plan")
    text = str(caught.value)
    assert "x:65x16" in text
    assert "profile 0: axis 0 of x is 65; it takes x 1x8 to 4x64" in text
    assert "profile 1: axis 0 of x is 65; it takes x 1x8 to 64x64" in text


def test_another_rank_and_a_missing_input_are_refused():
    with pytest.raises(FeedError, match="x has 2 axes"):
        choose_profile([SMALL], {"x": (2,)}, "plan")
    with pytest.raises(FeedError, match="x is not given"):
        choose_profile([SMALL], {"y": (2, 16)}, "plan")


@st.composite
def profiles_and_shape(draw):
    axes = draw(st.integers(1, 3))
    profiles = []
    for _ in range(draw(st.integers(1, 4))):
        ranges = [sorted(draw(st.lists(st.integers(0, 40), min_size=3, max_size=3))) for _ in range(axes)]
        profiles.append({"x": tuple(tuple(r[which] for r in ranges) for which in range(3))})
    return profiles, tuple(draw(st.integers(0, 40)) for _ in range(axes))


@given(profiles_and_shape())
def test_what_is_chosen_takes_the_shape_and_nothing_that_does_is_nearer(case):
    profiles, shape = case

    def takes(p):
        low, _opt, high = p["x"]
        return all(a <= s <= b for s, a, b in zip(shape, low, high, strict=True))

    def distance(p):
        return sum(abs(math.log(max(s, 1)) - math.log(max(o, 1))) for s, o in zip(shape, p["x"][1], strict=True))

    able = [p for p in profiles if takes(p)]
    if not able:
        with pytest.raises(FeedError):
            choose_profile(profiles, {"x": shape}, "plan")
        return
    chosen = profiles[choose_profile(profiles, {"x": shape}, "plan")]
    assert takes(chosen)
    assert distance(chosen) <= min(map(distance, able)) + 1e-9
