import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from trtbuild.enginerun.arrays import as_type, dtype_of, load_arrays, save_arrays
from trtbuild.errors import FeedError, IntegrityError

KINDS = ("float32", "float16", "int8", "int32", "int64", "uint8", "bool")


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.sampled_from(KINDS).flatmap(
            lambda k: arrays(k, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        ),
        max_size=3,
    ),
    st.lists(st.floats(-400, 400), max_size=5),
)
def test_arrays_come_back_as_they_went(tmp_path_factory, held, floats):
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    given_arrays = {
        **held,
        "a bf16 / with any name": np.array(floats, ml_dtypes.bfloat16),
        "fp8": np.array(floats, ml_dtypes.float8_e4m3fn).reshape(1, -1),
    }
    save_arrays(path, given_arrays)
    back = load_arrays(path)
    assert list(back) == list(given_arrays)
    for name, array in given_arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("FLOAT", np.float32), ("HALF", np.float16), ("BF16", ml_dtypes.bfloat16), ("FP8", ml_dtypes.float8_e4m3fn),
     ("INT64", np.int64), ("BOOL", np.bool_)],
)  # fmt: skip
def test_tensorrts_types_are_numpys(name, dtype):
    assert dtype_of(name, "x") == np.dtype(dtype)


def test_a_type_of_half_a_byte_is_refused_by_name():
    with pytest.raises(IntegrityError, match="'x' is of type INT4"):
        dtype_of("INT4", "x")


def test_every_type_of_tensorrt_is_either_held_or_refused():
    trt = pytest.importorskip("tensorrt_rtx")
    for name, kind in trt.DataType.__members__.items():
        try:
            held = dtype_of(name, "x")
        except IntegrityError:
            assert name in ("INT4", "FP4", "E8M0")
        else:
            assert held.itemsize == kind.itemsize


def test_floats_are_rounded_as_a_cast_would():
    out = as_type(np.array([1.0, 1.001], np.float32), np.dtype(ml_dtypes.bfloat16), "x")
    assert out.dtype == ml_dtypes.bfloat16
    assert out.astype(np.float32).tolist() == [1.0, 1.0]


def test_integers_are_cast_only_when_every_value_fits():
    assert as_type(np.array([1, 2]), np.dtype(np.int32), "x").dtype == np.int32
    with pytest.raises(FeedError, match="does not fit int32"):
        as_type(np.array([2**40]), np.dtype(np.int32), "x")
    with pytest.raises(FeedError, match="does not fit uint8"):
        as_type(np.array([-1]), np.dtype(np.uint8), "x")


def test_a_float_is_no_integer():
    with pytest.raises(FeedError, match="it is float32, the engine reads int64"):
        as_type(np.zeros(1, np.float32), np.dtype(np.int64), "x")


def test_a_scalar_stays_one_and_a_slice_becomes_contiguous():
    assert as_type(np.array(3.0, np.float32), np.dtype(np.float32), "x").shape == ()
    assert as_type(np.arange(6.0, dtype=np.float32).reshape(2, 3).T, np.dtype(np.float32), "x").flags.c_contiguous
