"""Every command alone, on plain files: the way through by hand, and the ones that tell things."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from harness import Tool, cnn, one_json, populate, sha256, tree, write

COMMANDS = {
    "init", "build", "export", "rewrite", "equalize", "calibrate", "quantize", "compile", "verify", "debug", "bench", "package", "report",
    "sign", "ship", "versions", "shadow", "promote", "rollback", "serve-check", "tune-serving",
    "inspect", "estimate", "advise", "diff", "rules", "methods", "backends", "targets", "doctor", "schema", "demo", "completion",
}  # fmt: skip
AXIS = ("--axis", "batch=1:4:8")
WRONG_RULE = """\
from trtbuild.rewriter.graph import Edit

OPS = ("Relu",)
AFTER = ()
BACKENDS = ()


def propose(node, graph):
    return Edit("made a Tanh", lambda: graph.substitute(node, graph.insert("Tanh", node.inputs[0], at=node)))
"""
NET = """\
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


def load():
    return Net()
"""


@dataclass(frozen=True)
class Chain:
    """The commands run one after the other, and what each answered."""

    tool: Tool
    answers: dict[str, Any]

    def copy(self, folder: Path) -> Tool:
        """Its files in a folder that a test may change; paths in them are relative, so they move along."""
        shutil.copytree(self.tool.folder, folder / "work")
        return Tool(folder / "work", folder / "cache")


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    base = tmp_path_factory.mktemp("chain")
    tool = Tool(populate(base / "work"), base / "cache")
    calls = {
        "rewrite": ["rewrite", "tiny.onnx", "rewritten.onnx"],
        "calibrate": ["calibrate", "rewritten.onnx", "--reader", "readers.py:calibration", "-o", "table.json"],
        "quantize": ["quantize", "rewritten.onnx", "typed.onnx", "--table", "table.json", *AXIS],
        "compile": ["compile", "typed.onnx", "-o", "model.plan", "--target", "rtx4090", *AXIS],
        "verify": [
            "verify", "tiny.onnx", "typed.onnx", "--data", "readers.py:held_out", "--min", "0.9", *AXIS,
            "-o", "proof.json",
        ],
        "package": [
            "package", "model.plan.json", "--name", "tiny", "--verification", "proof.json", "--repository", "repo"
        ],
    }  # fmt: skip
    return Chain(tool, {name: tool.json(*words) for name, words in calls.items()})


def test_rewrite_says_what_it_did(chain: Chain) -> None:
    answer = chain.answers["rewrite"]
    assert answer["nodes_before"] >= answer["nodes_after"] > 0
    assert answer["model"]["sha256"]


def test_calibrate_measures_the_inputs_of_matrix_work(chain: Chain) -> None:
    answer = chain.answers["calibrate"]
    assert answer["method"] in ("mse", "percentile", "entropy", "minmax")
    assert answer["notes"][0].startswith(f"auto chose {answer['method']}")
    assert answer["samples"] == 32
    assert answer["synthetic"] is False
    assert len(answer["ranges"]) == 2
    assert all(r["amax"] > 0 for r in answer["ranges"].values())
    assert json.loads((chain.tool.folder / "table.json").read_text()) == answer


def test_quantize_writes_int8_into_the_graph(chain: Chain) -> None:
    assert set(chain.answers["quantize"]["assignment"].values()) == {"int8"}
    operators = chain.tool.json("inspect", "typed.onnx")["operators"]
    assert operators["QuantizeLinear"] >= 2
    assert operators["DequantizeLinear"] >= 4


def test_compile_writes_a_plan_and_its_description(chain: Chain) -> None:
    folder = chain.tool.folder
    assert (folder / "model.plan").read_bytes()[:4] == b"vtrt"
    assert (folder / "model.plan.log").is_file()
    described = json.loads((folder / "model.plan.json").read_text())
    assert described["plan"]["sha256"] == sha256(folder / "model.plan")
    assert described["target"]["compute_capability"] == "8.9"


def test_compile_takes_every_key_of_the_build_block(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    done = tool.json(
        "compile", "typed.onnx", "-o", "other.plan", "--target", "rtx4090", *AXIS,
        "--option", "tiling=full", "--option", "tactic_sources=[]", "--workspace-mib", "64",
    )  # fmt: skip
    assert done["options"] == {"workspace_mib": 64, "tactic_sources": [], "tiling": "full"}
    assert [w.partition(":")[0] for w in done["warnings"] if w.startswith("build.")] == [
        "build.tactic_sources", "build.tiling"
    ]  # fmt: skip


def test_compile_takes_the_precision_from_the_graph(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    tool.succeeds("quantize", "rewritten.onnx", "fp16.onnx", "--precision", "fp16")
    done = tool.json("compile", "fp16.onnx", "-o", "turing.plan", "--target", "rtx2080", *AXIS)
    assert done["precision"] == "fp16", "TensorRT-RTX has FP16 matrix work for Turing, though no FP32"
    tool.fails(
        4, "quantize", "rewritten.onnx", "bf16.onnx", "--precision", "bf16", says=["Conv has no bf16 form", "opset=22"]
    )
    model = onnx.load(tool.folder / "rewritten.onnx")
    model.opset_import[0].version, model.ir_version = 22, 10  # no operator in it changed but for its types
    onnx.save(model, tool.folder / "newer.onnx")
    tool.succeeds("quantize", "newer.onnx", "bf16.onnx", "--precision", "bf16")
    tool.fails(2, "compile", "bf16.onnx", "-o", "bf16.plan", "--target", "rtx2080", *AXIS, says=["rtx2080", "bf16"])


def test_fp8_is_written_and_compiled_where_the_target_has_it(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    answer = tool.json("quantize", "rewritten.onnx", "fp8.onnx", "--precision", "fp8", "--table", "table.json", *AXIS)
    assert set(answer["assignment"].values()) == {"fp8"}
    done = tool.json("compile", "fp8.onnx", "-o", "ada.plan", "--target", "rtx4090", *AXIS)
    assert (done["precision"], done["work"]["shares"]) == ("fp8", {"fp8": 1.0})
    tool.fails(
        2, "compile", "fp8.onnx", "-o", "ampere.plan", "--target", "rtx3090", *AXIS,
        says=["cannot do fp8", "take precision int8 or fp16; fp8 begins at compute capability 8.9"],
    )  # fmt: skip


def test_verify_passes_and_writes_its_proof(chain: Chain) -> None:
    answer = chain.answers["verify"]
    assert answer["passed"] is True
    assert 0.9 <= answer["outputs"][0]["cosine"] < 1
    proof = json.loads((chain.tool.folder / "proof.json").read_text())
    assert proof["gates"] == answer["gates"]


def test_verify_refuses_the_samples_its_table_was_made_from(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    words = ["verify", "tiny.onnx", "typed.onnx", "--data", "readers.py:calibration", "--min", "0.9", *AXIS]
    tool.succeeds(*words)
    tool.fails(2, *words, "--table", "table.json", says=["sample 0", "used for calibration"])


def test_package_writes_what_triton_takes(chain: Chain) -> None:
    folder = chain.tool.folder
    assert set(tree(folder / "repo")) == {"tiny/config.pbtxt", "tiny/1/model.plan"}
    assert sha256(folder / "repo" / "tiny" / "1" / "model.plan") == sha256(folder / "model.plan")
    assert set(chain.answers["package"]["files"]) == {"config.pbtxt", "1/model.plan"}
    assert 'name: "tiny"' in (folder / "repo" / "tiny" / "config.pbtxt").read_text()


def test_no_command_leaves_more_than_its_result(chain: Chain) -> None:
    assert {n.split("/")[0] for n in tree(chain.tool.folder)} == {
        "tiny.onnx", "readers.py", "trtbuild.yaml", "rewritten.onnx", "table.json", "typed.onnx", "model.plan",
        "model.plan.json", "model.plan.log", "proof.json", "repo",
    }  # fmt: skip
    assert not chain.tool.cache.exists(), "single commands do not use the store"


def test_inspect_reads_a_plan_with_its_description(chain: Chain) -> None:
    found = chain.tool.json("inspect", "model.plan")
    assert found["backend"] == "tensorrt_rtx"
    assert found["compute capabilities"] == ["8.9"]
    assert found["precision"] == "int8"
    assert found["matrix work"] == {"int8": pytest.approx(1.0)}
    assert found["profiles"] == [{"batch": [1, 4, 8]}]


def test_inspect_lists_the_kernels_and_their_work(chain: Chain) -> None:
    found = chain.tool.json("inspect", "model.plan")
    assert found["kernels"] == len(found["layers"]) == sum(found["roles"].values())
    (profile,) = found["per profile"]
    assert profile["flops"]["shares"] == {"int8": pytest.approx(1.0)}
    assert profile["flops"]["kernels not known"] == 0
    assert profile["bytes"]["total"] > 0
    assert {"int8", "fp32"} >= set(profile["bytes"]["shares"]) > set()
    text = chain.tool.succeeds("inspect", "model.plan", "--layers").stdout
    assert all(layer["name"] in text for layer in found["layers"])
    assert "nothing was measured" in text


def test_inspect_says_where_a_node_went(chain: Chain) -> None:
    found = chain.tool.json("inspect", "model.plan")
    node = next(layer["onnx_nodes"][0] for layer in found["layers"] if layer["macs"])
    kernels = chain.tool.json("inspect", "model.plan", "--node", node)
    assert list(kernels) == [node]
    assert [k["name"] for k in kernels[node]] == [k["name"] for k in found["layers"] if node in k["onnx_nodes"]]
    assert f"* {node}" in chain.tool.succeeds("inspect", "model.plan", "--node", node).stdout
    chain.tool.fails(2, "inspect", "model.plan", "--node", node + "s", says=["did you mean", node])


def test_inspect_without_the_description_tells_flavour_version_and_targets(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    (tool.folder / "model.plan.json").unlink()
    found = tool.json("inspect", "model.plan")
    assert (found["backend"], found["compute capabilities"], found["described by"]) == ("tensorrt_rtx", ["8.9"], [])
    assert found["version"].split(".")[0].isdecimal()
    said = tool.succeeds("inspect", "model.plan").stdout
    assert "compute capability 8.9" in said
    assert "this is what its first bytes say" in said
    tool.fails(2, "inspect", "model.plan", "--node", "any", says=["nothing says which kernels"])


def test_inspect_loads_a_plan_only_where_there_is_a_gpu(chain: Chain) -> None:
    from trtbuild.device import compute_capabilities

    if compute_capabilities():
        pytest.skip("this machine has a GPU")
    chain.tool.fails(8, "inspect", "model.plan", "--load", says=["no NVIDIA GPU", "leave --load out"])


def test_inspect_says_what_an_onnx_file_is(chain: Chain) -> None:
    done = chain.tool.succeeds("inspect", "typed.onnx")
    assert "QuantizeLinear" in done.stdout
    assert "opset" in done.stdout
    found = chain.tool.json("inspect", "typed.onnx")
    assert found["matrix nodes"] == {"int8": sum(found["matrix nodes"].values())}
    assert found["quantize"] == found["operators"]["QuantizeLinear"]
    chain.tool.fails(2, "inspect", "typed.onnx", "--layers", says=["an ONNX file has no kernels"])


def test_inspect_notices_a_plan_that_is_not_the_described_one(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    data = bytearray((tool.folder / "model.plan").read_bytes())
    data[-1] ^= 1
    (tool.folder / "model.plan").write_bytes(data)
    tool.fails(7, "inspect", "model.plan", says=["model.plan"])
    tool.fails(7, "package", "model.plan.json", "--name", "m", "--verification", "proof.json", says=["model.plan"])


def test_diff_tells_what_quantising_did(chain: Chain) -> None:
    found = chain.tool.json("diff", "rewritten.onnx", "typed.onnx")
    assert (found["kind"], found["same"], found["equivalent"]) == ("onnx", False, False)
    counts = {c["name"]: (c["before"], c["after"]) for c in found["changes"] if c["topic"] == "operator"}
    assert counts["QuantizeLinear"][0] == 0 < counts["QuantizeLinear"][1]
    words = chain.tool.succeeds("diff", "rewritten.onnx", "typed.onnx").stdout
    assert words.startswith("two different graphs\n")
    assert f"QuantizeLinear: 0 -> {counts['QuantizeLinear'][1]}" in words
    assert chain.tool.succeeds("diff", "typed.onnx", "typed.onnx").stdout == "the same model\n"


def test_diff_of_two_plans_and_its_exit_code(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    tool.succeeds("quantize", "rewritten.onnx", "half.onnx", "--precision", "fp16", *AXIS)
    tool.succeeds("compile", "half.onnx", "-o", "half.plan", "--target", "rtx4090", *AXIS)
    found = tool.json("diff", "model.plan", "half.plan")
    lost = {c["name"]: (c["before"], c["after"]) for c in found["changes"] if c["topic"] == "node precision"}
    assert len(lost) == 2
    assert set(lost.values()) == {("int8", "fp16")}
    done = tool.run("diff", "model.plan", "half.plan", "--exit-code")
    assert done.returncode == 7
    assert done.stdout.startswith("two different plans\n")
    assert tool.succeeds("diff", "half.plan", "half.plan", "--exit-code").stdout == "the same plan\n"
    (tool.folder / "half.plan.json").unlink()
    assert "note: one of them has no description" in tool.succeeds("diff", "model.plan", "half.plan").stdout
    tool.fails(2, "diff", "model.plan", "half.onnx", says=["two of a kind"])


def test_estimate_ranks_precisions_and_says_that_it_is_one(chain: Chain) -> None:
    found = chain.tool.json("estimate", "rewritten.onnx", "--target", "l4", "--target", "t4", "--axis", "batch=4096")
    times = {(e["target"], e["precision"]): e["estimated_seconds"] for e in found["estimates"]}
    for target in ("l4", "t4"):
        assert 0 < times[target, "int8"] <= times[target, "fp16"] <= times[target, "fp32"]
    assert all(e["sizes"] == {"batch": 4096} for e in found["estimates"])
    words = chain.tool.succeeds("estimate", "typed.onnx", "model.plan", "--target", "rtx4090", *AXIS).stdout
    assert "Estimates from datasheet rates, not measured" in words
    assert "estimated us" in words.splitlines()[0]


def test_package_without_a_verification_is_refused(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    before = tree(tool.folder)
    done = tool.run("package", "model.plan.json", "--name", "new")
    assert done.returncode == 2
    assert "--verification" in done.stderr
    assert tree(tool.folder) == before


def test_package_with_the_verification_of_another_model_is_refused(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    tool.succeeds("verify", "tiny.onnx", "tiny.onnx", "-o", "other.json")
    words = ["package", "model.plan.json", "--name", "new", "--verification", "other.json", "--repository", "repo"]
    tool.fails(7, *words, says=["nothing verifies this plan"])


def test_package_with_a_verification_that_did_not_pass_is_refused(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    done = tool.run("verify", "tiny.onnx", "typed.onnx", "--min", "0.9999999", "-o", "failed.json")
    assert done.returncode == 5
    words = ["package", "model.plan.json", "--name", "new", "--verification", "failed.json", "--repository", "repo"]
    tool.fails(5, *words, says=["did not pass verification"])
    tool.fails(5, *words, "--verification", "proof.json", says=["did not pass verification"])


def test_golden_requests_are_kept_and_hold_a_later_model(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    data = ["--data", "readers.py:held_out", "--min", "0.9", *AXIS]
    tool.succeeds("verify", "tiny.onnx", "typed.onnx", *data, "--golden", "golden")
    found = tool.json("verify", "--against", "golden", "typed.onnx")
    assert (found["passed"], found["samples"]) == (True, 16)
    tool.fails(5, "verify", "--against", "golden", "typed.onnx", "--metric", "max_abs", "--max", "0", says=["max_abs"])
    tool.fails(2, "verify", "--against", "golden", "tiny.onnx", "typed.onnx", says=["the subject alone"])


def test_debug_names_the_node_and_its_reproduce_command_fails(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    broken = onnx.load(tool.folder / "typed.onnx")
    scale = next(n for n in broken.graph.node if n.op_type == "QuantizeLinear").input[1]
    tensor = next(t for t in broken.graph.initializer if t.name == scale)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 10, scale))
    onnx.save(broken, tool.folder / "broken.onnx")
    words = ["debug", "rewritten.onnx", "broken.onnx", "--data", "readers.py:held_out", "--bound", "30", *AXIS]
    found = tool.json(*words, "--reduce", "reduced")
    assert found["suspects"][0]["cause"] == "bad scale"
    assert found["command"].startswith("cd reduced && trtbuild verify")
    again = Tool(tool.folder / "reduced", tool.cache)
    refused = again.run(*found["command"].split(" && trtbuild ")[1].split())
    assert refused.returncode == 5, refused.stderr
    assert "advice: " in tool.succeeds(*words).stderr


def test_debug_of_one_model_names_the_rule_that_breaks_it(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    (tool.folder / "relu_is_tanh.py").write_text(WRONG_RULE)
    words = ["debug", "tiny.onnx", "--data", "readers.py:held_out", *AXIS]
    found = tool.json(*words, "--rules", "relu_is_tanh.py")
    assert {e["edit"]["rule"] for e in found["edits"]} == {"relu_is_tanh"}
    assert found["advice"][0].startswith("rewrite: {skip: [relu_is_tanh]}")
    assert "wrong edit: relu_is_tanh at" in tool.succeeds(*words, "--rules", "relu_is_tanh.py").stderr
    assert "no edit of the rules makes the outputs differ" in tool.succeeds(*words).stderr
    tool.fails(2, "debug", "tiny.onnx", "typed.onnx", "--rules", "relu_is_tanh.py", says=["leave SUBJECT out"])


def test_advise_profiles_an_onnx_file_and_a_spec(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    found = tool.json("advise", "tiny.onnx", "--target", "l4", *AXIS, "--runs", "1")
    assert found["bound"] == "launch"
    assert next(s["name"] for s in found["steps"] if s["verdict"] == "do") == "cuda graphs"
    assert found["estimate"]["sizes"] == {"batch": 4}
    assert found["profile"]["seconds"] > 0
    said = tool.succeeds("advise", "trtbuild.yaml", "--target", "l4", "--latency-ms", "1000").stderr
    assert "are estimated to reach 1000 ms" in said
    assert "next: nothing" in said
    tool.fails(2, "advise", "typed.onnx", says=["give the FP32 model"])
    tool.fails(2, "advise", "tiny.onnx", "--latency-ms", "1", says=["--target"])


def test_a_pytorch_module_is_compared_with_its_export(chain: Chain, tmp_path: Path) -> None:
    tool = chain.copy(tmp_path)
    (tool.folder / "net.py").write_text(NET)
    inputs = ["--input", "x:float32:n,1,8,8", "--axis", "n=1:2:8"]
    tool.succeeds("export", "net.py:load", "net.onnx", *inputs)
    found = tool.json("verify", "net.py:load", "net.onnx", "--axis", "n=1:2:8", "--samples", "4")
    assert found["passed"]
    assert {c["sizes"]["n"] for c in found["shapes"]} >= {1, 8}
    tool.fails(2, "verify", "net.py:load", "net.py:load", says=["what their inputs are"])


def test_bench_measures_onnx_files_side_by_side(chain: Chain) -> None:
    found = chain.tool.json(
        "bench", "tiny.onnx", "typed.onnx", "--shapes", "x:4x1x8x8", "--runs", "3", "--warm-up", "1"
    )
    assert len(found["timings"]) == 2
    for timing in found["timings"]:
        assert timing["shapes"] == {"x": [4, 1, 8, 8]}
        assert timing["latency"]["runs"] == 3
        assert 0 < timing["latency"]["p50"] <= timing["latency"]["p99"]
        assert timing["throughput"] > 0
    assert found["gpu"] is None


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_export_writes_what_torch_computes(tool: Tool, exporter: str) -> None:
    write(tool.folder / "net.py", NET)
    answer = tool.json(
        "export", "net.py:load", "net.onnx", "--input", "x:float32:batch,1,8,8", "--output-name", "logits", *AXIS,
        "--exporter", exporter,
    )  # fmt: skip
    assert answer["exporter"] == exporter
    assert len(answer["parity"]) >= 2
    assert all(row["max_rel"] < 1e-4 for row in answer["parity"])
    assert answer["model"]["sha256"] == sha256(tool.folder / "net.onnx")
    assert not list(tool.folder.glob(".trtbuild-*"))
    found = tool.json("inspect", "net.onnx")
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert found["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 4]}]


BRANCHING = """\
import torch


class Net(torch.nn.Module):
    def forward(self, x):
        if x.mean() > 1e9:  # dynamo cannot follow a branch on values; TorchScript takes the one it sees
            return x * 0
        return x * 2


def load():
    return Net()
"""


def test_export_falls_back_to_torchscript_and_says_so(tool: Tool) -> None:
    write(tool.folder / "net.py", BRANCHING)
    words = ["export", "net.py:load", "net.onnx", "--input", "x:float32:batch,4", "--axis", "batch=1:2:4"]
    done = tool.succeeds(*words, "--json")
    answer = one_json(done.stdout)
    assert answer["exporter"] == "torchscript"
    assert any("fell back to TorchScript" in note for note in answer["notes"])
    assert "fell back to TorchScript" in done.stderr
    tool.fails(
        3, *words[:2], "other.onnx", *words[3:], "--exporter", "dynamo", says=["dynamo", "--exporter torchscript"]
    )


def test_export_refuses_a_model_that_runs_at_one_size_only(tool: Tool) -> None:
    text = BRANCHING.replace("x * 2", "x + torch.arange(8.0).reshape(2, 4)").replace("x.mean() > 1e9", "False")
    write(tool.folder / "net.py", text)
    words = ["export", "net.py:load", "net.onnx", "--input", "x:float32:batch,4", "--axis", "batch=1:2:4"]
    tool.fails(3, *words, says=["dynamo", "torchscript", "the module does not run at x:3x4"])


# ------------------------------------------------------------------------------------------- telling things


@pytest.mark.parametrize(
    ("command", "known"),
    [
        ("rules", {"conv_batchnorm", "inference_mode"}),
        ("methods", {"auto", "entropy", "percentile", "minmax", "mse"}),
        ("backends", {"tensorrt", "tensorrt_rtx"}),
        ("targets", {"rtx4090", "rtx5090", "h100"}),
    ],
)
def test_lists_name_what_there_is_in_words_and_in_json(tool: Tool, command: str, known: set[str]) -> None:
    assert known <= set(tool.json(command))
    words = tool.succeeds(command).stdout
    assert all(name in words for name in known)


def test_all_of_one_target_is_told_in_words_and_in_json(tool: Tool) -> None:
    told = tool.json("targets", "rtx2080")
    assert (told["backend"], told["backends"]) == ("tensorrt_rtx", ["tensorrt_rtx", "tensorrt"])
    assert told["tensor_cores"] == ["fp16", "int8", "int4"]
    assert set(told["refused"]) == {"fp32", "tf32", "bf16", "fp8", "int4"}
    assert "INT8 convolutions in FP16" in told["partly"]["int8"]
    words = tool.succeeds("targets", "rtx3090").stdout
    assert "take precision int8 or fp16; fp8 begins at compute capability 8.9" in words
    assert "int8 284?" in words, "nobody has looked that up"
    tool.fails(2, "targets", "rtx3091", says=["did you mean 'rtx3090'?"])


def test_schema_is_a_json_schema_with_and_without_json(tool: Tool) -> None:
    plain = json.loads(tool.succeeds("schema").stdout)
    assert plain == tool.json("schema")
    assert plain["$schema"].startswith("https://json-schema.org/")
    assert {"model", "targets", "precision"} <= set(plain["properties"])


def test_init_writes_a_spec_that_builds(tool: Tool) -> None:
    cnn(tool.folder / "mine.onnx", seed=4)
    assert tool.json("init", "mine.onnx", "-o", "mine.yaml") == {"spec": "mine.yaml"}
    text = (tool.folder / "mine.yaml").read_text()
    assert "mine.onnx" in text
    assert "batch" in text
    document = tool.json("build", "mine.yaml", "-o", "mine")
    assert document["passed"] is True
    assert (tool.folder / "mine" / "manifest.json").is_file()


def test_doctor_says_what_this_machine_can_do(tool: Tool) -> None:
    found = tool.json("doctor")
    assert found["cache"] == {"folder": str(tool.cache), "writable": True, "free": found["cache"]["free"]}
    able = {row["ability"]: row["able"] for row in found["abilities"]}
    assert able["rewrite, calibrate, quantize, verify ONNX"] is True
    assert all(row["able"] or row["install"] for row in found["abilities"]), (
        "what is missing comes with what to install"
    )
    assert not tool.cache.exists()


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion_prints_a_script(tool: Tool, shell: str, word: str) -> None:
    script = tool.succeeds("completion", shell).stdout
    assert "_TRTBUILD_COMPLETE" in script
    assert word in script


def test_completion_answers_the_shell(tool: Tool) -> None:
    asked = {"_TRTBUILD_COMPLETE": "bash_complete", "COMP_WORDS": "trtbuild re", "COMP_CWORD": "1"}
    assert {line.split(",")[1] for line in tool.run(env=asked).stdout.split()} == {"rewrite", "report"}


def test_help_names_every_command(tool: Tool) -> None:
    listed = tool.succeeds("--help").stdout
    assert all(f"  {name} " in listed for name in COMMANDS)


def test_version(tool: Tool) -> None:
    assert tool.succeeds("--version").stdout.startswith("trtbuild")
