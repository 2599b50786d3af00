"""`trtbuild demo`: the first thing a user runs."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Built, Tool, assert_manifest_fits, assert_store_sound, one_json, tree

PLANS = ("model.sm89.plan", "model.sm120.plan")
STAGES = [
    "export", "rewrite", "equalize", "calibrate", "assign precision", "compile rtx4090", "compile rtx5090", "verify", "package"
]  # fmt: skip

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Built:
    base = tmp_path_factory.mktemp("demo")
    tool = Tool(base / "work", base / "cache")
    tool.folder.mkdir()
    started = time.monotonic()
    done = tool.succeeds("demo", "-o", "X")
    return Built(tool, tool.folder / "X", done, time.monotonic() - started)


@pytest.fixture
def copied(demo: Built, tmp_path: Path) -> Tool:
    return demo.copy(tmp_path)


def hits(folder: Path) -> dict[str, bool]:
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {stage["stage"]: stage["hit"] for stage in document["stages"]}


def test_says_where_the_results_lie(demo: Built) -> None:
    for name in ("X/report.md", "X/manifest.json", "X/model_repository"):
        assert name in demo.done.stdout
    assert "top-1 on 899 held-out digits" in demo.done.stderr
    assert "Traceback" not in demo.done.stderr


def test_two_plans_lie_in_the_triton_folder(demo: Built) -> None:
    folder = demo.output / "model_repository" / "digits"
    assert sorted(p.name for p in (folder / "1").iterdir()) == sorted(PLANS)
    assert (folder / "config.pbtxt").is_file()
    for plan in PLANS:
        data = (folder / "1" / plan).read_bytes()
        assert data[:4] == b"vtrt", "not a TensorRT-RTX plan"
        assert len(data) > 10_000


def test_each_plan_is_for_its_own_target(demo: Built) -> None:
    folder = demo.output / "model_repository" / "digits" / "1"
    for plan, capability in zip(PLANS, ("8.9", "12.0"), strict=True):
        found = demo.tool.json("inspect", folder / plan)
        assert found["backend"] == "tensorrt_rtx"
        assert found["compute capabilities"] == [capability]


def test_inspect_finds_manifest_and_report_of_a_published_plan(demo: Built) -> None:
    plan = demo.output / "model_repository" / "digits" / "1" / PLANS[0]
    found = demo.tool.json("inspect", plan)
    assert [Path(p).name for p in found["described by"]] == ["manifest.json", "report.json"]
    assert (found["precision"], found["matrix work"]) == ("int8", {"int8": pytest.approx(1.0)})
    assert found["profiles"]
    assert found["inputs"][0]["name"]
    assert found["kernels"] == len(found["layers"])
    assert found["per profile"][0]["flops"]["shares"] == {"int8": pytest.approx(1.0)}


def test_inspect_tells_what_it_can_when_manifest_and_report_are_gone(copied: Tool) -> None:
    plan = next(copied.folder.rglob(PLANS[1]))
    for name in ("manifest.json", "report.json"):
        next(copied.folder.rglob(name)).unlink()
    found = copied.json("inspect", plan)
    assert (found["backend"], found["compute capabilities"], found["described by"]) == ("tensorrt_rtx", ["12.0"], [])


def test_triton_config_finds_each_plan_by_capability(demo: Built) -> None:
    text = (demo.output / "model_repository" / "digits" / "config.pbtxt").read_text(encoding="utf-8")
    for plan in PLANS:
        assert plan in text


def test_top1_drops_by_half_a_point_at_most(demo: Built) -> None:
    assert demo.report["passed"] is True
    (proof,) = demo.report["verifications"]
    task = proof["task"]
    assert task["samples"] == 899
    assert task["reference"] > 0.9, "the FP32 model has learnt nothing, so a small drop would prove nothing"
    assert task["reference"] - task["subject"] <= 0.005
    assert proof["synthetic"] is False


def test_the_report_says_that_no_gpu_ran_the_plans(demo: Built) -> None:
    if any(p["subject"] == "engine" for p in demo.report["verifications"]):
        pytest.skip("this machine has the target's GPU")
    assert any("not run on a GPU" in warning for warning in demo.report["warnings"])


def test_all_matrix_work_is_int8(demo: Built) -> None:
    for plan in demo.report["plans"]:
        assert plan["work"] == {"int8": pytest.approx(1.0)}
        assert plan["not_honoured"] == {}


def test_manifest_names_every_lasting_file_with_its_digest(demo: Built) -> None:
    assert_manifest_fits(demo.output)
    named = set(json.loads((demo.output / "manifest.json").read_text(encoding="utf-8"))["outputs"])
    brought = {"model.py", "digits.pt", "trtbuild.yaml"}
    changing = {"report.json", "report.md", "report.html", "build.log", "manifest.json"}
    there = set(tree(demo.output))
    assert there - brought - changing == named


def test_first_run_did_every_stage(demo: Built) -> None:
    assert hits(demo.output) == dict.fromkeys(STAGES, False)
    assert_store_sound(demo.tool.cache)


def test_second_run_does_nothing_again(copied: Tool) -> None:
    before = tree(copied.folder)
    document = copied.json("demo", "-o", "X")
    assert hits(copied.folder / "X") == dict.fromkeys(STAGES, True)
    assert {s["stage"]: s["hit"] for s in document["stages"]} == dict.fromkeys(STAGES, True)
    after = tree(copied.folder)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {"X/report.json", "X/report.md", "X/report.html", "X/build.log"}, (
        "only what holds times may change"
    )


def test_another_calibration_method_redoes_calibrate_and_what_follows(copied: Tool) -> None:
    copied.succeeds("build", "X/trtbuild.yaml", "--set", "calibration.method=minmax", "-o", "X")
    found = hits(copied.folder / "X")
    assert {s for s, hit in found.items() if hit} == {"export", "rewrite", "equalize"}
    assert {s for s, hit in found.items() if not hit} == set(STAGES) - {"export", "rewrite", "equalize"}
    assert_manifest_fits(copied.folder / "X")


def test_report_prints_the_markdown(demo: Built) -> None:
    done = demo.tool.succeeds("report", "X")
    assert done.stdout.strip() == (demo.output / "report.md").read_text(encoding="utf-8").strip()
    assert done.stdout.startswith("#")
    assert "digits" in done.stdout


def test_the_page_beside_the_report_is_made_from_its_json(demo: Built) -> None:
    done = demo.tool.succeeds("report", "X", "--format", "html")
    assert done.stdout.strip() == (demo.output / "report.html").read_text(encoding="utf-8").strip()


def test_two_builds_side_by_side(copied: Tool) -> None:
    copied.succeeds("build", "X/trtbuild.yaml", "--set", "precision=fp16", "-o", "Y")
    page = copied.folder / "two.html"
    copied.succeeds("report", "X", "Y", "--format", "html", "-o", "two.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    text = copied.succeeds("report", "X", "Y").stdout
    assert "| precision asked | int8 | fp16 |" in text
    assert "## Kernels for rtx4090" in text
    found = copied.json("report", "X", "X")
    assert (found["differs"], found["kind"]) == (0, "comparison")


def test_report_as_json_is_the_report(demo: Built) -> None:
    assert demo.tool.json("report", "X") == demo.report


def test_a_tampered_plan_is_noticed(demo: Built, tmp_path: Path) -> None:
    shutil.copytree(demo.output, tmp_path / "X")
    plan = tmp_path / "X" / "model_repository" / "digits" / "1" / PLANS[0]
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(data)
    Tool(tmp_path, tmp_path / "cache").fails(7, "report", "X", says=[PLANS[0], "manifest"])


def test_a_plan_that_is_gone_is_noticed(demo: Built, tmp_path: Path) -> None:
    shutil.copytree(demo.output, tmp_path / "X")
    (tmp_path / "X" / "model_repository" / "digits" / "1" / PLANS[1]).unlink()
    Tool(tmp_path, tmp_path / "cache").fails(7, "report", "X", says=[PLANS[1]])


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"outputs": 3}'])
def test_a_damaged_manifest_is_noticed(demo: Built, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "X"
    folder.mkdir()
    shutil.copyfile(demo.output / "report.json", folder / "report.json")
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    done = Tool(tmp_path, tmp_path / "cache").run("report", "X")
    assert done.returncode in (2, 7), done.stderr
    assert "hint: " in done.stderr


def test_json_is_exactly_one_object(demo: Built) -> None:
    done = demo.tool.succeeds("report", "X", "--json")
    document: Any = one_json(done.stdout)
    assert isinstance(document, dict)


def test_export_agreed_with_torch(demo: Built) -> None:
    rows = demo.report["export"]["parity"]
    assert len(rows) >= 2
    assert all(row["max_rel"] < 1e-4 for row in rows)


def test_a_build_takes_away_what_the_one_before_left_and_it_does_not_make(copied: Tool) -> None:
    assert len(list((copied.folder / "X").rglob("*.plan"))) == 2
    copied.succeeds("build", "X/trtbuild.yaml", "--target", "rtx4090", "--precision", "fp16")
    left = {name for name in tree(copied.folder / "X") if name.endswith((".plan", ".onnx"))}
    assert left == {"digits.fp16.onnx", "model_repository/digits/1/model.plan"}


def test_changed_labels_are_scored_again(copied: Tool) -> None:
    text = """
from trtbuild.shipped import shipped_folder
from trtbuild.sources import load_callable


def held_out():
    for feed, labels in load_callable("calibration/digits.py:held_out", shipped_folder("calibration").parent)():
        yield feed, (labels + OFFSET) % 10
"""
    scores = []
    for offset in (0, 1):
        (copied.folder / "X" / "labels.py").write_text(f"OFFSET = {offset}\n{text}", encoding="utf-8")
        copied.succeeds("build", "X/trtbuild.yaml", "--set", "accuracy.data=labels.py:held_out")
        document = json.loads((copied.folder / "X" / "report.json").read_text(encoding="utf-8"))
        assert hits(copied.folder / "X")["verify"] is (offset == 0)  # the same samples and labels by another reader
        scores.append(document["verifications"][0]["task"]["reference"])
    assert scores[0] > 0.9
    assert scores[1] < 0.2
