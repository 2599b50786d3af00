import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from onnx_models import matmul, random_feed, save
from plan_values import proof
from report_values import build

from trtbuild.artifacts import (
    Benchmark,
    Estimate,
    GpuState,
    Latency,
    PartEstimate,
    ProfileAdvice,
    SpeedGate,
    SpeedResult,
    TaskScore,
    Timing,
    TritonModel,
)
from trtbuild.reporting import as_text, files_of, manifest_document, render_log, render_report, report_document, said
from trtbuild.verification import verify


def test_the_document_is_json_and_the_report_is_made_from_it_alone(tmp_path):
    document = report_document(build(tmp_path))
    assert render_report(json.loads(as_text(document))) == render_report(document)


def test_everything_a_person_must_know_is_in_the_report(tmp_path):
    text = render_report(report_document(build(tmp_path)))
    for words in (
        "# net: int8 for gpu-8.9",
        "**Verification passed**",
        "not on a GPU",
        "- read this first",
        "`model.py:load`",
        "entropy, 512 samples from `data.py:batches`",
        "cosine >= 0.9",
        "int8 75 %, fp32 25 %",
        "| `b` | int8 | fp32 |",
        "from 9 to 7 nodes: conv_batchnorm x1, constant_nodes x1",
        "another node reads it",
        "an export note",
        "1 in float: a product of two activations",
        "batch 1..8..32",
        "from the store",
        "1.25",
        "The named release loads it",
        "| onnx | 1.2.3 |",
    ):
        assert words in text, words


def test_a_cell_cannot_break_its_table(tmp_path):
    assert "folded \\| into conv" in render_report(report_document(build(tmp_path)))


def test_a_failed_gate_comes_first(tmp_path):
    done = build(tmp_path, verifications=(proof(passed=False),), packaged=())
    document = report_document(done)
    text = render_report(document)
    assert not document["passed"]
    assert "**Verification did NOT pass**" in text.splitlines()[2]
    assert "**FAIL**" in text
    assert "Nothing was packaged" in text


def test_a_build_without_a_proof_has_not_passed(tmp_path):
    assert not build(tmp_path, verifications=()).passed


def test_random_data_is_called_random(tmp_path):
    done = build(tmp_path)
    done = dataclasses.replace(
        done,
        table=dataclasses.replace(done.table, synthetic=True),
        verifications=(dataclasses.replace(proof(), synthetic=True),),
    )
    text = render_report(report_document(done))
    assert "**random data**" in text
    assert "1 random samples" in text


def test_a_task_metric_has_both_scores_and_the_drop(tmp_path):
    task = dataclasses.replace(proof(), task=TaskScore("top1", 0.95, 0.94, 100))
    assert "| top1 | 0.9500 | 0.9400 | +0.0100 |" in render_report(
        report_document(build(tmp_path, verifications=(task,)))
    )


def test_a_real_comparison_is_rendered(tmp_path):
    path = save(matmul(), tmp_path / "a.onnx")
    done = build(tmp_path, verifications=(verify(path, path, [random_feed(matmul())]),))
    text = render_report(report_document(done))
    assert "| `y` | 1.000000 | 1.000000 | exact | 0 |" in text


def test_a_benchmark_is_rendered(tmp_path):
    times = Latency(p50=1.5, p90=1.8, p95=2, p99=3, mean=1.6, min=1, max=4, spread=0.1, runs=100)
    parts = {"compute": dataclasses.replace(times, p50=1.25), "enqueue": dataclasses.replace(times, p50=0.5)}
    row = Timing("plan sm89", {"x": (8, 3, 16)}, times, 5000.0, 8, 0, "opt", None, parts, 2.0, "RTX 4090")
    state = GpuState("before", "RTX 4090", "0", 2500, None, 2600, 300.0, 450.0, 60, 1024, ("power cap",))
    advice = ProfileAdvice("plan sm89", 0, "max", "n", 3.0, "profiles:\n  - {n: [1, 2, 3]}", "Split it.")
    measured = Benchmark((row,), "RTX 4090", ("a note",), "onnx", (state,), (advice,))
    text = render_report(report_document(build(tmp_path, benchmark=measured)))
    shown = "| plan sm89 | profile 0, opt | x:8x3x16 | 1.500 | 1.800 | 2.000 | 3.000 | 10% | 5000 | 2.00 | 100 |"
    assert shown in text
    assert "median of `onnx` over this one's" in text
    assert "| plan sm89 | profile 0, opt | x:8x3x16 |  | 1.250 |  | 0.500 |" in text
    assert "| RTX 4090 | before | 2500 | not known | 300 | 60 | 1024 | power cap |" in text
    assert "- a note" in text
    assert "Split it.\n\n```yaml\nprofiles:\n  - {n: [1, 2, 3]}\n```" in text


def test_a_speed_gate_that_does_not_pass_fails_the_build_and_is_shown(tmp_path):
    done = build(tmp_path, speed=SpeedGate((SpeedResult("t", 0, 2.0, 1.0, 0.02),)))
    assert not done.passed
    assert "**fail**" in render_report(report_document(done))
    allowed = dataclasses.replace(done, speed=dataclasses.replace(done.speed, allowed=True))
    assert allowed.passed


def test_a_speed_gate_that_was_not_applied_says_so(tmp_path):
    done = build(tmp_path, speed=SpeedGate((), False, "speed gate not applied: not run on a GPU"))
    assert done.passed
    assert "Speed gate not applied: not run on a GPU." in render_report(report_document(done))


def test_no_calibration_is_no_row(tmp_path):
    document = report_document(build(tmp_path, table=None, calibration_reader=None))
    assert document["asked"]["calibration"] is None
    assert "| calibration |" not in render_report(document)


def manifest(done):
    model = done.typed.model
    files = {Path("net.onnx"): model, Path("a.txt"): "text", Path("report.md"): "times", Path("build.log"): "times"}
    return manifest_document(done, files)


def test_the_manifest_names_every_output_that_lasts_by_its_digest(tmp_path):
    found = manifest(build(tmp_path))
    assert found["outputs"] == {
        "a.txt": {"sha256": hashlib.sha256(b"text").hexdigest(), "size": 4},
        "net.onnx": {
            "sha256": hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest(),
            "size": (tmp_path / "m.onnx").stat().st_size,
        },
    }
    assert found["passed"]
    assert found["verified"][0]["passed"]
    assert found["profiles"] == [{"batch": [1, 8, 32], "height": [8, 16, 64]}]


def test_the_manifest_does_not_change_with_time(tmp_path):
    done = build(tmp_path)
    later = dataclasses.replace(done, stages=tuple(dataclasses.replace(s, seconds=99.0, hit=True) for s in done.stages))
    assert as_text(manifest(done)) == as_text(manifest(later))
    assert str(tmp_path) not in as_text(manifest(done))


def test_the_log_has_every_stage_and_all_it_said(tmp_path):
    text = render_log(build(tmp_path))
    assert text.splitlines()[:3] == [f"export (made, 1.25 s, key {'k' * 16})", "    headline", "    detail"]
    assert "verify (from the store, 0.00 s" in text


@pytest.mark.parametrize(
    "stage", ["export", "rewrite", "calibrate", "assign_precision", "compile", "verify", "package"]
)
def test_every_stage_has_a_headline(tmp_path, stage):
    done = build(tmp_path)
    values = {
        "export": done.exported,
        "rewrite": done.rewritten,
        "calibrate": done.table,
        "assign_precision": done.typed,
        "compile": done.plans[0],
        "verify": done.verifications[0],
        "package": done.packaged[0],
    }
    lines = getattr(said, stage)(values[stage])
    assert lines
    assert all(isinstance(line, str) and line and "\n" not in line for line in lines)


def test_the_headlines_say_what_matters(tmp_path):
    done = build(tmp_path)
    assert said.rewrite(done.rewritten)[0] == "9 -> 7 nodes; conv_batchnorm x1, constant_nodes x1"
    assert said.calibrate(done.table)[0] == "entropy, 512 samples, 1 tensors"
    assert "RANDOM" in said.calibrate(dataclasses.replace(done.table, synthetic=True))[0]
    assert said.verify(proof(passed=False))[0].startswith("NOT PASSED")


def test_an_estimate_is_called_one_wherever_it_stands(tmp_path):
    part = PartEstimate("gemm_1", ("fc",), "int8", 10, 20, "compute", 3e-6, 4e-6)
    estimate = Estimate("int8", "l4", {"batch": 8}, (part,) * 7, 21e-6, 28e-6, {"compute": 1.0}, ("k",), ("a guess",))
    done = build(tmp_path)
    done = dataclasses.replace(done, plans=(dataclasses.replace(done.plans[0], estimate=estimate),))
    document = report_document(done)
    found = document["plans"][0]["estimate"]
    assert found["estimated_seconds"] == 21e-6
    assert len(found["parts"]) == 5
    text = render_report(document)
    assert "**Estimates, not measurements**" in text
    assert "| l4 | 21.0 | 28.0 | compute 100 % | batch 8 | 5 take 71%: `gemm_1`" in text
    assert "- l4: a guess\n- l4: 1 kernels are estimated too low" in text
    assert "stimate" not in render_report(report_document(build(tmp_path))), "nothing is said where there is none"


def test_what_goes_with_a_triton_folder_is_in_the_build_and_in_the_report(tmp_path):
    done = build(tmp_path)
    file = done.packaged[0].files["config.pbtxt"]
    model = TritonModel(
        "net", {"config.pbtxt": file}, {}, "triton", beside={"net_ensemble/config.pbtxt": file}, calls="net_ensemble",
        flags=("--a",), docker_run="docker run it",
    )  # fmt: skip
    done = dataclasses.replace(done, packaged=(model,))
    assert Path("model_repository/net_ensemble/config.pbtxt") in files_of(done)
    text = render_report(report_document(done))
    assert "docker run it" in text
    assert "a client calls `net_ensemble`" in text
