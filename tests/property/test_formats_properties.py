import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.quantization import FORMATS, quantize_weight

ELEMENTS = {"INT8": np.int8, "INT4": ml_dtypes.int4, "FLOAT8E4M3FN": ml_dtypes.float8_e4m3fn}


@given(
    name=st.sampled_from(list(FORMATS)),
    shape=st.tuples(st.sampled_from([1, 3, 32, 48, 100]), st.sampled_from([1, 2, 7, 64])),
    transposed=st.booleans(),
    size=st.sampled_from([1e-30, 1e-6, 1e-3, 1.0, 1e4]),
    seed=st.integers(0, 9),
)
def test_stored_numbers_are_of_the_type_and_near_the_weight(name, shape, transposed, size, seed):
    kind = FORMATS[name]
    random = np.random.default_rng(seed)
    w = (random.normal(size=shape) * size * 10.0 ** random.integers(-3, 1, shape)).astype(np.float32)
    reduced = 0
    if transposed:
        w, reduced = np.ascontiguousarray(w.T), 1
    done = quantize_weight(w, kind, axis=1 - reduced, reduced_axis=reduced)
    element = ELEMENTS[kind.element]
    assert (done.numbers.astype(element).astype(np.float32) == done.numbers).all()
    assert np.abs(done.numbers).max() <= kind.largest
    assert done.scale.dtype == np.float32
    assert (done.scale > 0).all()
    assert (done.block is not None) == (kind.block(w.shape[reduced]) is not None)
    step = np.repeat(done.scale, done.block, axis=reduced) if done.block else np.expand_dims(done.scale, reduced)
    # an integer is off by half a step; E4M3 by half of its last of three bits, and by half a subnormal near zero
    allowed = step / 2 if kind.element.startswith("INT") else np.maximum(np.abs(w) / 16, step * 2.0**-10)
    assert (np.abs(done.values() - w) <= allowed * 1.0001).all()
