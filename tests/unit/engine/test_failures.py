"""Each way a build fails has a kind and a lever; TensorRT-RTX 1.7.1 brings about all that need no GPU."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from trtbuild import worker
from trtbuild.artifacts import BuildOptions, Target, to_json
from trtbuild.engine.failures import classify
from trtbuild.errors import (
    BuildCancelledError,
    BuildError,
    NoTacticError,
    OutOfMemoryError,
    ProfileError,
    TrtbuildError,
    UnsupportedError,
    WorkerCrashedError,
)

BUILD = "trtbuild.engine.building:build_plan"
WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
MATMUL = ("float[n,64] x) => (float[n,64] y", "{ y = MatMul (x, w) }", 18)
HEADS = "float[1,4,64,64]"
ATTENTION = (f"{HEADS} q, {HEADS} k, {HEADS} v) => ({HEADS} y", "{ y = Attention (q, k, v) }", 23)
DEADLY = (f"{HEADS} q) => ({HEADS} y", "{ y = Attention (q, q, q) }", 23)
BFLOAT16 = ("bfloat16[4,64] x) => (bfloat16[4,4] y", "{ t = Transpose (x) y = MatMul (x, t) }", 18)
TOP_K = ("float[2,8192] x) => (float[2,k] y, int64[2,k] i", "{ k = Constant <value_ints: ints = [5000]> () y, i = TopK (x, k) }", 18)  # fmt: skip
RESHAPE = ("float[n,64] x) => (float[2,64] y", "{ s = Constant <value_ints: ints = [2, 64]> () y = Reshape (x, s) }", 18)  # fmt: skip


def request(folder, graph=MATMUL, *, capability="8.9", profile=None, workspace_mib=None):
    interface, body, opset = graph
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g ({interface}) {body}')
    for node in proto.graph.node:
        node.name = f"/m/{node.op_type}"
    proto.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "w"))
    onnx.save(proto, folder / "m.onnx")
    return {
        "backend": "tensorrt_rtx", "onnx": str(folder / "m.onnx"), "plan": str(folder / "m.plan"),
        "log": str(folder / "m.log"), "target": to_json(Target("sm", "tensorrt_rtx", capability)),
        "profiles": [{"x": profile}] if profile else [], "tf32": False, "timings": str(folder),
        "options": to_json(BuildOptions(workspace_mib=workspace_mib)),
    }  # fmt: skip


GOOD = [[1, 64], [4, 64], [8, 64]]
CASES = {
    "workspace": ({"profile": GOOD, "workspace_mib": 0}, OutOfMemoryError, "build.workspace_mib"),
    "no profile": ({}, ProfileError, "add profiles:"),
    "order": ({"profile": [[4, 64], [2, 64], [8, 64]]}, ProfileError, "min <= opt <= max"),
    "fixed axis": ({"profile": [[1, 63], [4, 63], [8, 63]]}, ProfileError, "one the model can take"),
    "impossible size": ({"graph": RESHAPE, "profile": GOOD}, ProfileError, "one the model can take"),
    "kernel": ({"graph": ATTENTION}, UnsupportedError, "--set model.opset=20"),
    "turing": ({"capability": "7.5", "profile": GOOD}, UnsupportedError, "precision: fp16"),
    "format": ({"graph": BFLOAT16, "capability": "7.5"}, UnsupportedError, "no such number format"),
    "limit": ({"graph": TOP_K}, UnsupportedError, "change the model there"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_failure_of_the_real_builder_has_its_kind_and_lever(name, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    asked, kind, lever = CASES[name]
    with pytest.raises(BuildError) as caught:
        worker.call(BUILD, request(tmp_path, **asked))
    assert type(caught.value) is kind, caught.value
    assert lever in caught.value.hint
    assert caught.value.place
    assert not (tmp_path / "m.plan").exists()


def test_a_crash_inside_of_tensorrt_names_the_signal_the_phase_and_the_last_lines(tmp_path):
    trt = pytest.importorskip("tensorrt_rtx")
    if not trt.__version__.startswith("1.7.1"):
        pytest.skip("FP32 Attention of one tensor with itself was seen to kill TensorRT-RTX 1.7.1")
    with pytest.raises(WorkerCrashedError, match="died of SIGSEGV, in the phase 'Determining refit") as caught:
        worker.call(BUILD, request(tmp_path, DEADLY))
    assert "[INFO] Compiler backend is used during engine build." in caught.value.message
    assert "onnx.checker" in caught.value.hint


def test_too_little_workspace_for_any_kernel_is_a_matter_of_memory():
    """Its words came from TensorRT-RTX 1.7.1 with one byte of workspace, which trtbuild does not ask for."""
    said = (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([tactic.cpp:1676: enumerate_tactics] Tactic Selection: "
        "no tactics to implement the operation within workspace limit. Consider increase the allowed workspace size if "
        "applicable.; [tactic.cpp:264: run] Error during tactic selection. In compileGraph at /_src/a.cpp:2012)"
    )
    kind, lever = classify([said])
    assert kind is OutOfMemoryError
    assert "build.workspace_mib" in lever


NO_IMPLEMENTATION = (
    "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for node "
    "{ForeignNode[/1/Constant_36_output_0.../1/Slice_4]}.)"
)
REPORTED = {  # by users of TensorRT 8.6 to 10.3; none of these was seen by us
    "allocation": (
        ["[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)", NO_IMPLEMENTATION],
        ["Requested amount of GPU memory (15485030400 bytes) could not be allocated."],
        OutOfMemoryError,
    ),
    "size": (
        ["[virtualMemoryBuffer.cpp::resizePhysical::154] Error Code 2: OutOfMemory (Requested size was 1658 bytes.)"],
        [],
        OutOfMemoryError,
    ),
    "disguise, told by warnings": (
        [NO_IMPLEMENTATION],
        ["UNSUPPORTED_STATE: Skipping tactic 33 due to insufficient memory on requested size of 629145600 detected."],
        OutOfMemoryError,
    ),
    "disguise, older words": (
        [NO_IMPLEMENTATION],
        ["Tactic Device request: 448MB Available: 425MB. Device memory is insufficient to use tactic."],
        OutOfMemoryError,
    ),
    "disguise, workspace": (
        ["Error Code 10: Could not find any implementation for node Conv_0 due to insufficient workspace. See verbose log"],
        [],
        OutOfMemoryError,
    ),
    "no tactic": ([NO_IMPLEMENTATION], ["Weights were rounded."], NoTacticError),
    "autotuner": (["Autotuner: no tactics to implement operation: 1379: corrltn"], [], NoTacticError),
    "cancelled": (["Error Code 7: BuildCanceled (Build canceled by user In next at /_src/a.cpp:92)"], [], BuildCancelledError),
    "new words": (["Error Code 99: something new"], [], BuildError),
    "nothing": ([], [], BuildError),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_words_of_other_releases_are_sorted(name):
    errors, warnings, kind = REPORTED[name]
    found, lever = classify(errors, warnings)
    assert found is kind
    assert lever


def test_a_node_without_kernel_may_be_a_matter_of_memory_and_the_lever_says_so():
    assert "build.workspace_mib" in classify([NO_IMPLEMENTATION])[1]


def test_every_kind_comes_back_from_the_child_as_itself(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(TrtbuildError) as caught:
        worker.call(BUILD, request(tmp_path, profile=GOOD, workspace_mib=0))
    assert isinstance(caught.value, OutOfMemoryError)
    assert caught.value.exit_code == 4


def test_a_build_that_is_cancelled_between_two_steps_is_no_failure_of_the_model(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    script = (
        "import json, sys\nfrom trtbuild.engine.building import build_plan\n"
        "try:\n    build_plan(json.loads(sys.argv[1]), lambda event: False)\n"
        "except Exception as error:\n    print(type(error).__name__, error.exit_code)\n"
    )
    asked = json.dumps(request(tmp_path, profile=GOOD))
    done = subprocess.run([sys.executable, "-c", script, asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["BuildCancelledError", "130"], done.stderr
    assert not (tmp_path / "m.plan").exists()
