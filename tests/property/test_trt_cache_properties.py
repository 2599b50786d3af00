import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.artifacts import CalibrationTable, TensorRange
from trtbuild.calibration.trt_cache import CalibrationCache, cache_from_table, cache_text, read_cache, write_cache

NAMES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)
SCALES = st.floats(0, width=32, allow_nan=False).map(abs)  # -0.0 is written as 0 is


def through_a_file(cache):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.cache"
        write_cache(cache, path)
        return read_cache(path), path.read_bytes()


@given(st.dictionaries(NAMES, SCALES), st.integers(0, 10**6), st.sampled_from(["EntropyCalibration2", "Other"]))
def test_what_is_written_is_read_and_written_again_byte_by_byte(scales, version, algorithm):
    cache = CalibrationCache(str(version), algorithm, scales)
    found, written = through_a_file(cache)
    assert found == cache
    assert list(found.scales) == list(scales)
    assert cache_text(found).encode() == written


@given(st.dictionaries(NAMES, st.floats(2.0**-118, 2.0**127)))
def test_a_range_comes_back_within_a_float32(ranges):
    table = CalibrationTable(
        "graph", "mse", "data", 1, (), False, {n: TensorRange(amax, 0.0, amax, 0.0) for n, amax in ranges.items()}
    )
    found, _ = through_a_file(cache_from_table(table, version="10.3.0"))
    for name, amax in ranges.items():
        assert np.float32(found.scales[name]) == np.float32(amax / 127)
