"""Every name that running a plan touches exists in each TensorRT, in pycuda and in cuda-bindings.

None of it runs here without a GPU. What is held against the facts is the source itself: an attribute of a variable of
one of these names is an attribute of that class.
"""

import ast
import json
from pathlib import Path

import pytest

import trtbuild.enginerun

TESTS = Path(__file__).parents[2]
SOURCES = sorted(Path(trtbuild.enginerun.__file__).parent.glob("*.py"))
TENSORRT = sorted((TESTS / "trt_api").glob("tensorrt*.json"))
CLASSES = {
    "engine": "ICudaEngine", "context": "IExecutionContext", "_context": "IExecutionContext", "runtime": "Runtime",
    "config": "IRuntimeConfig", "Logger": "Logger", "TensorFormat": "TensorFormat", "TensorIOMode": "TensorIOMode",
    "TensorLocation": "TensorLocation", "strategies": "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy": "DynamicShapesKernelSpecializationStrategy",
    "IOutputAllocator": "IOutputAllocator",
}  # fmt: skip
ONLY_RTX = {
    "trt.CudaGraphStrategy", "trt.DynamicShapesKernelSpecializationStrategy", "strategies.WHOLE_GRAPH_CAPTURE",
    "strategies.DISABLED", "DynamicShapesKernelSpecializationStrategy.EAGER", "config.cuda_graph_strategy",
    "config.dynamic_shapes_kernel_specialization_strategy", "engine.create_runtime_config",
}  # fmt: skip
CUDA = {"cuda": None, "_cuda": None, "device": "Device", "_stream": "Stream", "stream": "Stream", "Context": "Context", "primary": "Context",
        "sent": "Event", "ready": "Event", "computed": "Event", "returned": "Event"}  # fmt: skip
OURS = {"device.cuda", "device.name", "device.bus"}  # a SharedDevice


def uses(owners, files=SOURCES):
    """``owner.attribute`` for every attribute of a variable (or an attribute) of one of these names."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = getattr(node.value, "id", getattr(node.value, "attr", None))
                if owner in owners:
                    found.add(f"{owner}.{node.attr}")
    return found


def facts(path):
    return json.loads(path.read_text(encoding="utf-8"))


def missing_of_tensorrt(api):
    classes = api["classes"]
    lacking = set()
    for use in uses({"trt", *CLASSES}):
        owner, name = use.split(".")
        if owner == "trt":
            known = name in classes or name in api["functions"]
        else:
            described = classes.get(CLASSES[owner], {})
            known = name in described.get("members", ()) or name in described.get("enum", ())
        if not known:
            lacking.add(use)
    return lacking


def test_the_walk_finds_what_the_runner_is_made_of():
    found = uses({"trt", *CLASSES})
    assert {"_context.execute_async_v3", "_context.set_optimization_profile_async", "engine.get_tensor_name"} <= found
    assert {"runtime.deserialize_cuda_engine", "trt.IOutputAllocator", "_context.set_output_allocator"} <= found


@pytest.mark.parametrize("path", TENSORRT, ids=lambda p: p.stem)
def test_every_tensorrt_name_is_in_that_version(path):
    lacking = missing_of_tensorrt(facts(path))
    assert lacking == (set() if path.stem.startswith("tensorrt_rtx") else ONLY_RTX & lacking)


def test_what_only_rtx_has_stands_behind_a_look_at_the_module():
    source = (Path(trtbuild.enginerun.__file__).parent / "loading.py").read_text(encoding="utf-8")
    function = next(n for n in ast.parse(source).body if getattr(n, "name", "") == "create_context")
    branch = next(n for n in function.body if isinstance(n, ast.If))
    assert ast.unparse(branch.test) == "not hasattr(trt, 'CudaGraphStrategy')"
    inside = {f"{n.value.id}.{n.attr}" for s in branch.orelse for n in ast.walk(s)
              if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}  # fmt: skip
    assert ONLY_RTX - {"DynamicShapesKernelSpecializationStrategy.EAGER"} <= inside


def test_a_name_that_goes_is_noticed():
    api = facts(TENSORRT[0])
    api["classes"]["IExecutionContext"]["members"].remove("execute_async_v3")
    assert "_context.execute_async_v3" in missing_of_tensorrt(api)


def test_every_output_allocator_method_has_tensorrts_name_and_arguments():
    source = (Path(trtbuild.enginerun.__file__).parent / "memory.py").read_text(encoding="utf-8")
    allocator = next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ClassDef) and n.name == "Allocator")
    named = {m.name: [a.arg for a in m.args.args] for m in allocator.body if isinstance(m, ast.FunctionDef)}
    trt = pytest.importorskip("tensorrt_rtx")
    for line in trt.IOutputAllocator.__doc__.splitlines():
        if line.strip().startswith("def ") and "__init__" not in line:
            name, _, arguments = line.strip()[4:].rstrip(":").partition("(")
            assert named[name] == [a.strip() for a in arguments.rstrip(")").split(",")]


def test_every_pycuda_name_is_in_pycuda():
    api = facts(TESTS / "cuda_api" / "pycuda.json")
    lacking = set()
    for use in uses(set(CUDA)) - OURS:
        owner, name = use.split(".")
        known = api["module"] if CUDA[owner] is None else api["classes"][CUDA[owner]]
        if name not in known:
            lacking.add(use)
    assert lacking == set()


def test_every_driver_name_is_in_cuda_bindings():
    api = facts(TESTS / "cuda_api" / "cuda_bindings.json")
    used = {u.split(".")[1] for u in uses({"driver", "_driver"})}
    assert "cuGraphLaunch" in used
    assert used - set(api["module"]) == set()
    for use in uses({"CUresult", "CUstreamCaptureMode"}):
        owner, name = use.split(".")
        assert name in api["classes"][owner]
