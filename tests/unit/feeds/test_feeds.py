from itertools import islice

import numpy as np
import pytest

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.errors import FeedError
from trtbuild.feeds import Samples, check_feed, check_within_profiles, random_feeds

X = TensorSpec("x", "float32", ("batch", 3))
IDS = TensorSpec("ids", "int64", ("batch", "seq"))
MASK = TensorSpec("mask", "int64", ("batch", "seq"))
PROFILE = OptimizationProfile({"batch": AxisRange(2, 4, 8), "seq": AxisRange(1, 5, 9)})


def reader(tmp_path, body, inputs=(X,), **options):
    (tmp_path / "reader.py").write_text(f"import numpy as np\ndef batches(**args):\n    {body}\n")
    return Samples("reader.py:batches", inputs, tmp_path, **{"limit": 100, **options})


def test_a_sample_has_the_models_dtype_order_and_rows():
    feed = check_feed({"mask": [[1, 1]], "ids": np.array([[5, 6]], np.int32)}, (IDS, MASK), "here")
    assert list(feed) == ["ids", "mask"]
    assert feed["ids"].dtype == np.int64
    assert feed["ids"].tolist() == [[5, 6]]


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ([1, 2], "dicts from input name to array, not list"),
        ({"x": np.ones((1, 3), np.float32), "y": 1}, "no input 'y'"),
        ({}, "'x' is missing"),
        ({"x": np.ones(3, np.float32)}, "keep the batch axis"),
        ({"x": np.ones((0, 3), np.float32)}, "has no rows"),
        ({"x": np.ones((1, 4), np.float32)}, r"is \[1, 4\], but 3 is 3"),
        ({"x": np.ones((1, 3), np.int64)}, "wants float32, the sample has int64"),
        ({"x": np.array([["a", "b", "c"]])}, "wants float32"),
        ({"x": np.array([[1, np.nan, 0]], np.float32)}, "holds NaN or Inf"),
        ({"x": np.array([[1, -np.inf, 0]], np.float32)}, "holds NaN or Inf"),
        ({"x": np.array([[1e300, 0, 0]])}, "holds NaN or Inf"),
        ({"x": [[1.0, 2.0, 3.0], [1.0]]}, "'x'"),
    ],
)
def test_what_does_not_fit_is_refused(feed, words):
    with pytest.raises(FeedError, match=words) as caught:
        check_feed(feed, (X,), "sample 3")
    assert caught.value.place == "sample 3"
    assert caught.value.hint


def test_one_axis_name_has_one_size():
    with pytest.raises(FeedError, match=r"'mask' is \[2, 4\], but 'seq' is 3 \(from 'ids'\)"):
        check_feed({"ids": np.ones((2, 3), np.int64), "mask": np.ones((2, 4), np.int64)}, (IDS, MASK), "here")


def test_an_integer_that_the_input_cannot_hold_is_refused():
    tensor = TensorSpec("x", "uint8", ("n",))
    assert check_feed({"x": np.array([0, 255])}, (tensor,), "here")["x"].dtype == np.uint8
    with pytest.raises(FeedError, match="uint8"):
        check_feed({"x": np.array([0, 300])}, (tensor,), "here")


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(FeedError) as caught:
        check_feed({"input_id": 1}, (TensorSpec("input_ids", "int64", ("n",)),), "here")
    assert caught.value.hint == "did you mean 'input_ids'?"


def test_torch_like_arrays_are_read():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.ones((2, 3), np.float32)

    assert check_feed({"x": Tensor()}, (X,), "here")["x"].tolist() == [[1] * 3] * 2


def test_a_reader_is_read_with_labels_and_can_be_read_twice(tmp_path):
    samples = reader(tmp_path, "for i in range(3): yield {'x': np.full((2, 3), i, 'f')}, [i, i]")
    found = list(samples)
    assert [s.rows for s in found] == [2, 2, 2]
    assert [s.labels.tolist() for s in found] == [[0, 0], [1, 1], [2, 2]]
    assert len({s.digest for s in found}) == 3
    assert [s.digest for s in samples] == [s.digest for s in found]
    assert samples.digest() == samples.digest()
    assert not samples.synthetic


def test_a_reader_takes_its_arguments(tmp_path):
    samples = reader(tmp_path, "yield {'x': np.full((1, 3), args['value'], 'f')}", args={"value": 4})
    assert next(iter(samples)).feed["x"].tolist() == [[4, 4, 4]]


def test_no_more_is_read_than_the_limit_needs(tmp_path):
    body = "for i in range(3): yield {'x': np.zeros((2, 3), 'f')}\n    raise IndexError('read too far')"
    assert sum(s.rows for s in reader(tmp_path, body, limit=6)) == 6


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("yield from ()", "yielded nothing"),
        ("return 5", "not iterable"),
        ("raise RuntimeError('no disk')", r"RuntimeError: no disk \(raised at .*reader.py:3\)"),
        ("yield {'x': np.ones((2, 3), 'f')}, [1, 2, 3]", "2 rows, but labels of shape"),
        ("yield {'x': np.ones((2, 3), 'f')}, 1", "2 rows, but labels of shape"),
    ],
)
def test_what_a_reader_does_wrong_is_said(tmp_path, body, words):
    with pytest.raises(FeedError, match=words):
        list(reader(tmp_path, body))


def test_the_number_of_a_bad_sample_is_named(tmp_path):
    samples = reader(tmp_path, "yield from ({'x': np.ones((1, 3 + i), 'f')} for i in range(2))")
    with pytest.raises(FeedError) as caught:
        list(samples)
    assert caught.value.place == "reader.py:batches, sample 1"


def test_labels_of_a_scalar_input_are_one_row(tmp_path):
    samples = reader(tmp_path, "yield {'x': np.float32(1)}, [3]", inputs=(TensorSpec("x", "float32", ()),))
    assert [(s.labels.tolist(), s.feed["x"].shape, s.rows) for s in samples] == [([3], (), 1)]


def test_random_feeds_begin_at_the_corners_and_stay_inside():
    feeds = list(islice(random_feeds((IDS, MASK), [PROFILE], {}, seed=3), 40))
    shapes = [f["ids"].shape for f in feeds]
    assert shapes[:3] == [(4, 5), (2, 1), (8, 9)]
    assert all(2 <= b <= 8 and 1 <= s <= 9 for b, s in shapes)
    assert len(set(shapes)) > 5
    assert all(f["mask"].shape == f["ids"].shape for f in feeds)


def test_random_values_stay_in_their_range():
    feeds = list(islice(random_feeds((X, IDS), [PROFILE], {"x": (2, 3), "ids": (10, 12)}, seed=3), 20))
    assert all((f["x"] >= 2).all() and (f["x"] <= 3).all() for f in feeds)
    assert {int(v) for f in feeds for v in f["ids"].ravel()} == {10, 11, 12}


def test_a_random_mask_never_masks_everything():
    assert all((f["mask"][:, 0] == 1).all() for f in islice(random_feeds((MASK,), [PROFILE], {}, seed=0), 20))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), ("batch",), (2, 3)])
def test_random_feeds_have_every_dtype_and_rank(dtype, shape):
    feed = next(random_feeds((TensorSpec("x", dtype, shape),), [PROFILE], {}, seed=0))
    assert feed["x"].dtype == np.dtype(dtype)
    assert feed["x"].shape == tuple(4 if d == "batch" else d for d in shape)


def test_random_samples_repeat_with_their_seed(tmp_path):
    def digest(seed):
        return Samples("random", (X,), tmp_path, 20, profiles=(PROFILE,), seed=seed).digest()

    assert digest(1) == digest(1) != digest(2)
    assert Samples("random", (X,), tmp_path, 1).synthetic


def test_which_axis_is_outside_of_the_profiles(tmp_path):
    other = OptimizationProfile({"batch": AxisRange(1, 1, 1), "seq": AxisRange(20, 20, 20)})
    samples = reader(tmp_path, "yield {'ids': np.ones((4, 12), 'i8'), 'mask': np.ones((4, 12), 'i8')}", (IDS, MASK))
    sample = next(iter(samples))
    said = check_within_profiles(sample, (IDS, MASK), [PROFILE])
    assert said == "axis 'seq' is 12, the profile takes 1 to 9"
    assert check_within_profiles(sample, (IDS, MASK), [PROFILE, other]) is not None
    wide = OptimizationProfile({"batch": AxisRange(1, 4, 4), "seq": AxisRange(1, 5, 12)})
    assert check_within_profiles(sample, (IDS, MASK), [PROFILE, wide]) is None
