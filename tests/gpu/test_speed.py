"""The bench and the speed gate on a GPU. Nothing here says how fast: only what was measured, and in which order."""

import dataclasses
import json

import pytest
from gpu_models import network
from harness import populate, write_spec
from onnx_models import save

from trtbuild import pipeline
from trtbuild.artifacts import PHASES, TensorSpec
from trtbuild.benchmark import Variant, bench
from trtbuild.errors import SpeedError
from trtbuild.spec import load_spec
from trtbuild.store import Store

pytestmark = pytest.mark.gpu


@pytest.fixture
def onnx(tmp_path):
    return save(network(), tmp_path / "network.onnx")


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_engines_are_measured_beside_onnx_runtime_at_the_ends_of_both_profiles(built, onnx, cuda_graphs):
    plans = [built[p][1] for p in ("fp32", "fp16", "int8")]
    done = bench({"onnx": onnx}, plans, runs=12, warm_up=3, cuda_graphs=cuda_graphs)

    assert done.gpu is not None
    subjects = list(dict.fromkeys(t.subject for t in done.timings))
    assert subjects[1:] == ["plan here fp32", "plan here fp16", "plan here int8"]
    assert [(t.profile, t.end) for t in done.timings if t.subject == subjects[1]] == [
        (p, end) for p in (0, 1) for end in ("opt", "min", "max")
    ]
    for timing in done.timings:
        assert timing.latency.runs == 12
        if timing.kind == "plan":
            assert set(timing.phases) == set(PHASES)
            assert timing.device == done.gpu
            assert 0 < timing.compute.p50 <= timing.latency.p50
    assert [s.moment for s in done.states] == ["before", "warm", "after"]
    assert {s.name for s in done.states} == {done.gpu}
    assert {t.ratio for t in done.timings if t.subject == done.baseline} == {1.0}
    assert any("CUDA graph" in note for note in done.notes) is cuda_graphs


def test_torch_is_measured_in_the_same_run(built, onnx):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    from trtbuild.exporters.timed import timed

    variants = []
    for compiled in (False, True):
        module = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 32))
        device, prepare = timed(module, ["input"], "here", compiled=compiled)
        inputs = (TensorSpec("input", "float32", ("n", 64)),)
        variants.append(Variant(f"torch {'compiled' if compiled else 'eager'}", inputs, prepare, device))
    done = bench({"onnx": onnx}, [built["fp16"][1]], variants=variants, at="opt", runs=8, warm_up=3)
    rows = {t.subject: t for t in done.timings if t.profile == 0}
    assert set(rows["torch eager"].phases) == set(rows["torch compiled"].phases) == set(PHASES)
    assert rows["torch eager"].device == done.gpu


@pytest.fixture
def spec(here, tmp_path):
    folder = populate(tmp_path / "work")
    target = {"backend": here.backend, "compute_capability": here.compute_capability, "name": "here"}
    write_spec(folder, targets=[target])
    return folder / "trtbuild.yaml"


def test_an_int8_build_is_verified_benched_and_held_against_its_fp16_sibling(spec, tmp_path):
    words = ["precision=int8", "speed.allow_slower=true"]  # so small a model may well be slower: this is about the way
    done = pipeline.build(load_spec(spec, overrides=words), store=Store(tmp_path / "store"))
    assert {v.subject for v in done.build.verifications} == {"engine"}
    (result,) = done.build.speed.results
    assert result.target == "here"
    assert done.build.speed.note == ""
    measured = {(t.subject, t.end): t.compute.p50 for t in done.build.benchmark.timings}
    assert measured[("plan here int8", "opt")] == result.engine_ms
    assert measured[("plan here fp16", "opt")] == result.sibling_ms
    report = json.loads((done.folder / "report.json").read_text())
    assert report["speed_gate"]["results"][0]["engine_ms"] == result.engine_ms


def test_the_gate_ends_a_build_exactly_when_the_engine_is_slower(spec, tmp_path):
    store = Store(tmp_path / "store")
    allowed = pipeline.build(load_spec(spec, overrides=["precision=int8", "speed.allow_slower=true"]), store=store)
    held = dataclasses.replace(allowed.build.speed, allowed=False)

    def again():  # the same measurements, from the store
        return pipeline.build(load_spec(spec, overrides=["precision=int8"]), store=store)

    if held.passed:
        assert again().build.speed.results == allowed.build.speed.results
    else:
        with pytest.raises(SpeedError) as caught:
            again()
        assert caught.value.exit_code == 6
