"""Ranges, sums and bins, compiled and in numpy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trtbuild.calibration import counting
from trtbuild.calibration.counting import BINS, count, count_in_numpy, moments, moments_in_numpy
from trtbuild.calibration.statistics import TensorStatistics

SOURCE = Path(counting.__file__).with_name("counting.c")
SHAPES = [(1, 1, 1), (1, 1, 5000), (700, 3, 1), (513, 48, 1), (1, 7, 333), (3, 5, 40), (6, 88, 1), (2, 16, 6401)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    made = tmp_path_factory.mktemp("counting") / "libcounting.so"
    strict = ["-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *strict, "-o", str(made), str(SOURCE)], check=True)
    return made


@pytest.fixture
def use(monkeypatch):
    def given(path):
        monkeypatch.setattr(counting, "LIBRARY", path)
        counting._compiled.cache_clear()

    yield given
    counting._compiled.cache_clear()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["normal", "relu", "tiny", "large", "outlier"])
def test_compiled_and_numpy_give_the_same_ranges_and_bins(library, use, shape, kind):
    use(library)
    assert counting.is_compiled()
    values = np.random.default_rng(0).normal(1, 2, shape).astype("f")
    if kind == "outlier":
        values.flat[values.size // 2] = -9e4
    values = {"relu": np.maximum(values, 0), "tiny": values * 1e-30, "large": values * 1e9}.get(kind, values).astype(
        "f"
    )
    mine, plain = moments(values), moments_in_numpy(values)
    assert (mine.low == values.min(axis=(0, 2))).all()
    assert (mine.high == values.max(axis=(0, 2))).all()
    assert (mine.low == plain.low).all()
    assert (mine.high == plain.high).all()
    exact = values.astype("f8")
    largest = np.abs(exact).sum(axis=(0, 2))
    for found in (mine, plain):
        assert (np.abs(found.total - exact.sum(axis=(0, 2))) <= 1e-6 * largest).all()
        assert found.squares == pytest.approx((exact**2).sum(), rel=1e-5, abs=1e-37)
    scale = BINS / 2.0 ** np.ceil(np.log2(np.abs(exact).max() * 1.001 + 1e-40))
    counts, others = np.ones(BINS, np.int64), np.ones(BINS, np.int64)
    count(values.reshape(-1), scale, counts)
    count_in_numpy(values.reshape(-1), scale, others)
    assert (counts == others).all()
    assert counts.sum() == BINS + values.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_finite_shows_in_the_squares(library, use, shape, bad):
    use(library)
    values = np.ones(shape, "f")
    for at in {0, values.size // 3, values.size - 1}:
        values[...] = 1
        values.flat[at] = bad
        assert not np.isfinite(moments(values).squares)
        assert not np.isfinite(moments_in_numpy(values).squares)


def test_arrays_that_are_not_contiguous_or_not_float32_are_counted_too(library, use):
    use(library)
    values = np.random.default_rng(0).normal(size=(40, 30))
    counts, others = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    count(values.astype("f").T.reshape(-1)[::2], 256.0, counts)
    count_in_numpy(values.astype("f").T.reshape(-1)[::2].copy(), 256.0, others)
    assert (counts == others).all()
    wide = moments(values.reshape(1, 40, 30))
    assert (wide.high == values.max(axis=1)).all()


@pytest.mark.parametrize("content", [None, b"not a library", b"other form"])
def test_without_a_library_that_fits_numpy_counts(use, tmp_path, content):
    path = tmp_path / "libcounting.so"
    if content == b"other form":
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler")
        source = tmp_path / "other.c"
        source.write_text(SOURCE.read_text().replace("(void) { return 1; }", "(void) { return 99; }"))
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    elif content:
        path.write_bytes(content)
    use(path)
    assert not counting.is_compiled()
    counts = np.zeros(BINS, np.int64)
    count(np.array([0.5, -1.5, 0], "f"), 2.0, counts)
    assert counts[:4].tolist() == [1, 1, 0, 1]


def test_statistics_are_the_same_with_and_without_the_library(library, use, tmp_path):
    values = np.random.default_rng(3).standard_cauchy((37, 12, 91)).astype("f")
    found = []
    for path in (library, tmp_path / "none"):
        use(path)
        seen = TensorStatistics(channel_axis=1)
        for part in np.array_split(values, 5):
            seen.add(part)
        found.append(seen)
    compiled, plain = found
    assert (compiled.low, compiled.high, compiled.count) == (plain.low, plain.high, plain.count)
    assert (compiled.histogram.counts == plain.histogram.counts).all()
    assert (compiled.channels.amax == plain.channels.amax).all()
    assert compiled.channels.total == pytest.approx(plain.channels.total, rel=1e-5, abs=1e-2)


def wheel_of(tmp_path, compiler):
    """A wheel made of a copy of the project."""
    root = SOURCE.parents[2]
    copy = tmp_path / "project"
    ignored = shutil.ignore_patterns("*.so", "__pycache__", ".git", ".venv*", "tests", "bench", "demo-build")
    shutil.copytree(root, copy, ignore=ignored)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(words, cwd=copy, check=True, capture_output=True, env={**os.environ, "CC": compiler})
    return next((tmp_path / "dist").glob("*.whl"))


def test_a_wheel_holds_the_library_and_says_for_which_machine(tmp_path):
    pytest.importorskip("hatchling")
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    wheel = wheel_of(tmp_path, "cc")
    assert wheel.name.startswith("trtbuild-")
    assert "-py3-none-any" not in wheel.name
    names = subprocess.run([sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True).stdout
    assert "trtbuild/calibration/libcounting.so" in names


def test_without_a_compiler_the_wheel_is_for_every_machine(tmp_path):
    pytest.importorskip("hatchling")
    wheel = wheel_of(tmp_path, "no-such-compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
