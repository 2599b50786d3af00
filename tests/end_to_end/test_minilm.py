"""The real thing: MiniLM-L6 with its weights, through both exporters, to INT8 plans for two architectures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trtbuild.artifacts import EngineLayer, from_json

SPEC = Path(__file__).parent / "minilm" / "trtbuild.yaml"

pytestmark = pytest.mark.slow


def build(output, cache, exporter):
    words = [sys.executable, "-m", "trtbuild", "build", str(SPEC), "--exporter", exporter, "-o", str(output)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "TRTBUILD_CACHE": str(cache)})
    assert done.returncode == 0, done.stderr
    return json.loads((output / "report.json").read_text()), done.stderr


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_minilm_becomes_int8_plans_that_keep_its_embeddings(exporter, tmp_path):
    report, said = build(tmp_path / "out", tmp_path / "cache", exporter)

    assert report["export"]["exporter"] == exporter
    assert len(report["export"]["parity"]) >= 2
    assert {p["compute_capability"] for p in report["plans"]} == {"8.9", "12.0"}
    for plan in report["plans"]:
        assert plan["work"]["int8"] > 0.9
        assert plan["not_honoured"] == {}
        layers = [from_json(EngineLayer, layer) for layer in plan["layers"]]
        attention = [layer for layer in layers if layer.role == "attention"]
        assert [layer.precision for layer in attention] == ["fp16"] * 6
        assert not [layer.name for layer in layers if "Exp" in layer.operations], "a softmax stands by itself"
        gemms = [layer for layer in layers if layer.role == "matrix"]
        assert [layer.precision for layer in gemms] == ["int8"] * 24, "36 products, q, k and v of each block in one"
        assert (
            tmp_path / "out/model_repository/minilm/1" / f"model.sm{plan['compute_capability'].replace('.', '')}.plan"
        ).is_file()
    (proof,) = report["verifications"]
    assert proof["samples"] == 160
    assert not proof["synthetic"]
    assert proof["outputs"][0]["cosine"] >= 0.997
    assert proof["outputs"][0]["sqnr_db"] >= 20
    assert {t["name"] for t in report["precision"]["tried"] if t["kept"]} >= {"branch_smoothing"}
    assert all(len(plan["layers"]) <= 72 for plan in report["plans"]), "with FP32 beside INT8 there are 101 kernels"
    log = (tmp_path / "out/build.log").read_text()
    for stage in (
        "export",
        "rewrite",
        "equalize",
        "calibrate",
        "assign precision",
        "compile sm89",
        "compile sm120",
        "verify",
        "package",
    ):
        assert f"\n{stage} " in f"\n{log}"
        assert stage in said

    again, _ = build(tmp_path / "out", tmp_path / "cache", exporter)
    assert all(stage["hit"] for stage in again["stages"])
    assert [p["sha256"] for p in again["plans"]] == [p["sha256"] for p in report["plans"]]
