"""Times of kernels that builds share, or that one is pinned to; with fakes, for no GPU times any here."""

import fcntl
import json
from pathlib import Path

import pytest
from onnx_models import model, node, save
from release_builds import RTX, TIMED, TRT_11, ask, build

from trtbuild.backends import BACKENDS
from trtbuild.engine.building import build_plan
from trtbuild.errors import IntegrityError


def timings(file):
    return json.loads(Path(file).read_text())


@pytest.mark.parametrize("release", TIMED)
def test_times_are_shared_between_builds(fake, onnx, tmp_path, release):
    trt = fake(release)
    answer, _state = build(trt, onnx, tmp_path)
    (shared,) = (tmp_path / "timing").glob("*.timing")
    assert shared.name == f"{trt.__name__}-{trt.__version__}-GPU-0.timing"
    assert timings(answer["timing_cache"]) == timings(shared) == {"device": "GPU 0", "entries": ["matmul", "relu"]}
    other = save(model([node("Relu", ["x"], ["y"], "alone")], [("x", [2])], [("y", [2])]), tmp_path / "o.onnx")
    request = ask(trt, other, tmp_path) | {"profiles": []}
    assert timings(build_plan(request, lambda _event: None)["timing_cache"])["entries"] == ["alone", "matmul", "relu"]
    assert timings(shared)["entries"] == ["alone", "matmul", "relu"]
    request["options"]["timing_cache"] = "off"
    assert timings(build_plan(request, lambda _event: None)["timing_cache"])["entries"] == ["alone"]
    assert timings(shared)["entries"] == ["alone", "matmul", "relu"]


def test_what_another_build_wrote_meanwhile_is_kept(fake, onnx, tmp_path, monkeypatch):
    trt = fake(TRT_11)
    build(trt, onnx, tmp_path)
    (shared,) = (tmp_path / "timing").glob("*.timing")

    def meanwhile(_event):
        shared.write_text(json.dumps({"device": "GPU 0", "entries": ["of another"]}))

    build_plan(ask(trt, onnx, tmp_path), meanwhile)
    assert timings(shared)["entries"] == ["matmul", "of another", "relu"]
    assert [f.name for f in shared.parent.iterdir() if "partial" in f.name] == []


def test_nobody_else_merges_meanwhile(fake, onnx, tmp_path, monkeypatch):
    """Between reading what the others wrote and putting the sum in its place, the lock is held."""
    trt = fake(TRT_11)
    build(trt, onnx, tmp_path)
    (lock,) = (tmp_path / "timing").glob("*.lock")
    merge, tried = trt._kinds["ITimingCache"].combine, []

    def combine(cache, other, ignore_mismatch):
        with lock.open("w") as of_another, pytest.raises(BlockingIOError):
            fcntl.flock(of_another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(other)
        return merge(cache, other, ignore_mismatch)

    monkeypatch.setattr(trt._kinds["ITimingCache"], "combine", combine)
    build(trt, onnx, tmp_path)
    assert len(tried) == 1


def test_times_of_another_gpu_are_not_used(fake, onnx, tmp_path):
    build(fake(TRT_11, device="GPU 1"), onnx, tmp_path)
    (shared,) = (tmp_path / "timing").glob("*.timing")
    answer, _state = build(fake(TRT_11), onnx, tmp_path)
    assert answer["warnings"] == [f"the timing cache {shared} was made by another TensorRT or GPU, and is made anew"]
    assert timings(shared)["device"] == "GPU 0"


@pytest.mark.parametrize("release", TIMED)
def test_a_pinned_cache_is_read_and_a_miss_is_an_error(fake, onnx, tmp_path, release):
    trt = fake(release)
    pinned = tmp_path / "mine.timing"
    pinned.write_bytes(Path(build(trt, onnx, tmp_path)[0]["timing_cache"]).read_bytes())
    before = pinned.read_bytes()
    _answer, state = build(trt, onnx, tmp_path / "again", timing_cache=str(pinned))
    assert state["flags"] == ["ERROR_ON_TIMING_CACHE_MISS"]
    assert pinned.read_bytes() == before
    assert not (tmp_path / "again" / "timing").exists()
    with pytest.raises(IntegrityError, match="made by another version or on another GPU"):
        build(fake(release, device="GPU 1"), onnx, tmp_path, timing_cache=str(pinned))


def test_rtx_has_no_times_and_says_so_when_asked(fake, onnx, tmp_path):
    answer, _state = build(fake(RTX), onnx, tmp_path)
    assert (answer["timing_cache"], answer["warnings"]) == (None, [])
    answer, _state = build(fake(RTX), onnx, tmp_path, timing_cache=str(onnx))
    assert answer["warnings"] == [f"build.timing_cache: {BACKENDS.load('tensorrt_rtx').IGNORES['timing_cache']}"]
    assert not (tmp_path / "timing").exists()
