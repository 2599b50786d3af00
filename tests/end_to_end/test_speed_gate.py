"""The speed gate in the pipeline. What a GPU would measure is given; everything around it is real."""

from __future__ import annotations

import json

import pytest
from harness import populate, write_spec

from trtbuild import pipeline, recipes
from trtbuild.artifacts import Benchmark, SpeedGate, SpeedResult, Timing
from trtbuild.benchmark.statistics import latency
from trtbuild.console import Observer
from trtbuild.device import compute_capabilities
from trtbuild.errors import SpeedError
from trtbuild.recipes import engines
from trtbuild.spec import load_spec
from trtbuild.steps import Steps
from trtbuild.store import Store

pytestmark = pytest.mark.skipif(bool(compute_capabilities()), reason="tests/gpu measures it where there is a GPU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = populate(tmp_path_factory.mktemp("speed") / "work")
    write_spec(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def build(folder, store, *words):
    return pipeline.build(load_spec(folder / "trtbuild.yaml", overrides=words), store=store)


def test_without_a_gpu_an_int8_build_says_that_the_gate_was_not_applied(folder, store):
    done = build(folder, store, "precision=int8")
    assert done.build.passed
    assert done.build.benchmark is None
    assert "Speed gate not applied: not run on a GPU." in done.report.read_text()
    assert json.loads((done.folder / "report.json").read_text())["speed_gate"]["results"] == []


def test_fp16_promises_nothing_that_a_sibling_could_disprove(folder, store):
    done = build(folder, store, "precision=fp16")
    assert done.build.speed is None
    assert "peed gate" not in done.report.read_text()


def test_the_sibling_is_the_same_model_really_built_in_fp16(folder, store, monkeypatch):
    done = build(folder, store, "precision=int8").build
    model = done.equalized.model if done.equalized else done.rewritten.model
    steps = Steps(store, Observer())
    spec = load_spec(folder / "trtbuild.yaml", overrides=["precision=int8"])
    arguments = (steps, spec, model, done.table, done.plans, done.plans[0].profiles)
    assert recipes.fp16_siblings(*arguments) == ()

    monkeypatch.setattr(engines, "can_run", lambda _plan: True)
    (sibling,) = recipes.fp16_siblings(*arguments)

    assert (sibling.precision, sibling.target, sibling.profiles) == (
        "fp16",
        done.plans[0].target,
        done.plans[0].profiles,
    )
    assert [t.name for t in sibling.inputs] == [t.name for t in done.plans[0].inputs]
    assert sibling.work.shares["fp16"] == 1
    assert sibling.plan.sha256 != done.plans[0].plan.sha256
    assert [r.stage for r in steps.records] == ["assign precision fp16", f"compile {sibling.target.name} fp16"]

    timings = tuple(
        Timing(f"plan {sibling.target.name} {kind}", {}, latency([ms]), 1.0, 1, 0, "opt")
        for kind, ms in (("int8", 2.0), ("fp16", 1.0))
    )
    gate = recipes.speed_gate(spec, done.plans, [sibling], Benchmark(timings, "given"))
    assert gate.results == (SpeedResult(sibling.target.name, 0, 2.0, 1.0, spec.speed.margin),)
    assert not gate.passed


def test_a_slower_engine_is_not_packaged_and_ends_with_6(folder, store, monkeypatch):
    def given(spec, plans, siblings, measured):
        del siblings, measured
        result = SpeedResult(plans[0].target.name, 0, 2.0, 1.0, spec.speed.margin)
        return SpeedGate((result,), spec.speed.allow_slower)

    monkeypatch.setattr(recipes, "speed_gate", given)
    with pytest.raises(SpeedError, match=r"2\.000 ms, FP16 1\.000 ms") as caught:
        build(folder, store, "precision=int8", "output=slow")
    assert caught.value.exit_code == 6
    assert not (folder / "slow" / "model_repository").exists()
    assert "**fail**" in (folder / "slow" / "not-passed" / "report.md").read_text()

    allowed = build(folder, store, "precision=int8", "output=allowed", "speed.allow_slower=true")
    assert (allowed.folder / "model_repository").is_dir()
    assert "slower, accepted" in allowed.report.read_text()
