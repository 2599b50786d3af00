import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.errors import FeedError
from trtbuild.feeds import Sample, check_feed, check_within_profiles, random_feeds

DTYPES = ["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"]
axes = st.sampled_from(["n", "m", 1, 2, 3])
tensors = st.builds(
    TensorSpec, st.sampled_from(["x", "y"]), st.sampled_from(DTYPES), st.lists(axes, max_size=3).map(tuple)
)
inputs = st.lists(tensors, min_size=1, max_size=2, unique_by=lambda t: t.name)
everything = arrays.arrays(
    st.sampled_from([np.dtype(d) for d in DTYPES]), arrays.array_shapes(min_dims=0, max_dims=3, max_side=3)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    | everything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "z"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(anything | st.dictionaries(st.sampled_from(["x", "y"]), anything), inputs)
def test_any_feed_is_brought_into_form_or_refused_with_place_and_hint(feed, wanted):
    try:
        checked = check_feed(feed, wanted, "here")
    except FeedError as error:
        assert error.place == "here"  # noqa: PT017
        assert error.hint  # noqa: PT017
        return
    assert list(checked) == [t.name for t in wanted]
    sizes = {}
    for tensor in wanted:
        array = checked[tensor.name]
        assert array.dtype == np.dtype(tensor.dtype)
        assert array.ndim == len(tensor.shape)
        assert array.flags.c_contiguous
        assert (array == np.asarray(feed[tensor.name])).all() or array.dtype.kind == "f"
        assert np.isfinite(array).all()
        for axis, size in zip(tensor.shape, array.shape, strict=True):
            assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size))


ranges = st.lists(st.integers(1, 6), min_size=3, max_size=3).map(lambda s: AxisRange(*sorted(s)))
profiles = st.builds(lambda n, m: OptimizationProfile({"n": n, "m": m}), ranges, ranges)


@given(inputs, st.lists(profiles, min_size=1, max_size=2), st.integers(0, 99))
def test_random_feeds_fit_the_model_and_a_profile(wanted, bounds, seed):
    source = random_feeds(wanted, bounds, {}, seed)
    for _ in range(8):
        feed = next(source)
        checked = check_feed(feed, wanted, "here")
        assert all((checked[k] == feed[k]).all() for k in feed)
        assert check_within_profiles(Sample(feed, None, ""), wanted, bounds) is None
