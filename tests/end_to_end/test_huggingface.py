"""A Hugging Face folder as a source: a small BERT with seeded weights, from `init` to plans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from harness import Tool

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Tool:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tool = Tool(tmp_path / "work", tmp_path / "cache")
    tool.folder.mkdir()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=3
    )
    BertForSequenceClassification(config).save_pretrained(tool.folder / "bert")
    return tool


def test_a_hugging_face_folder_becomes_fp16_plans_and_a_changed_weight_is_noticed(folder: Tool) -> None:
    folder.succeeds("init", "bert")
    words = ["build", "--target", "sm89", "--set", "profiles=[{batch: [1, 2, 4], seq: [4, 8, 16]}]"]
    words += ["--set", "model.inputs.input_ids.range=[1, 49]"]
    folder.succeeds(*words)
    report = json.loads((folder.folder / "build" / "report.json").read_text())
    assert report["export"]["parity"][0]["max_rel"] < 1e-4
    assert report["plans"][0]["work"] == {"fp16": 1.0}
    assert [o["name"] for o in report["plans"][0]["outputs"]] == ["logits"]
    config = (folder.folder / "build" / "model_repository" / "bert" / "config.pbtxt").read_text()
    assert "max_batch_size: 4" in config

    folder.succeeds(*words)
    again = json.loads((folder.folder / "build" / "report.json").read_text())
    assert all(stage["hit"] for stage in again["stages"])

    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(folder.folder / "bert")
    with torch.no_grad():
        model.classifier.weight[0, 0] += 1
    model.save_pretrained(folder.folder / "bert")
    folder.succeeds(*words)
    changed = json.loads((folder.folder / "build" / "report.json").read_text())
    assert changed["stages"][0]["hit"] is False
    assert changed["plans"][0]["sha256"] != report["plans"][0]["sha256"]
