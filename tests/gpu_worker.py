"""What the GPU suite runs in worker processes: one TensorRT flavour each."""

from pathlib import Path

import numpy as np

from trtbuild.enginerun.arrays import load_arrays
from trtbuild.enginerun.loading import read_plan
from trtbuild.enginerun.runner import EngineRunner
from trtbuild.enginerun.sharing import primary_context


def compare_with_polygraphy(request, emit):
    """Polygraphy's own runner and comparator, on the engine and on its ONNX; no code of trtbuild's runs the engine."""
    del emit
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.backend.trt import EngineFromBytes, TrtRunner
    from polygraphy.comparator import Comparator, CompareFunc

    feeds = [load_arrays(Path(file)) for file in request["feeds"]]
    engine = TrtRunner(EngineFromBytes(read_plan(request)), name="engine", optimization_profile=request["profile"])
    onnx = OnnxrtRunner(SessionFromOnnx(request["onnx"], providers=["cpu"]), name="onnx")
    results = Comparator.run([engine, onnx], data_loader=feeds)
    for iteration, feed in zip(results["engine"], feeds, strict=True):
        for name, array in iteration.items():
            assert array.shape[0] == feed["x"].shape[0], name
    how = CompareFunc.simple(atol=request["atol"], rtol=0, check_error_stat="max")
    judged = Comparator.compare_accuracy(results, compare_func=how)
    outputs = {name for row in judged.values() for outcome in row for name in outcome}
    return {"passed": bool(judged), "iterations": len(results["engine"]), "outputs": sorted(outputs)}


def share_with_torch(request, emit):
    """A module of torch's before, while and after an engine runs in the same process and context."""
    del emit
    import torch

    held = torch.arange(1024, dtype=torch.float32, device="cuda")
    weight = torch.randn(64, 64, device="cuda")
    feed = load_arrays(Path(request["feed"]))
    before = (weight @ weight).sum().item()
    with primary_context(request["compute_capability"]) as device:
        runner = EngineRunner.load(device, request)
        runner.prepare(feed)
        runner.call()
        while_running = (weight @ weight).sum().item()
        runner.call()
        outputs = runner.outputs()
        fresh = torch.full((1024,), 3.0, device="cuda")
        runner.close()
    after = (weight @ weight).sum().item()
    return {
        "kept": bool((held == torch.arange(1024, dtype=torch.float32, device="cuda")).all().item()),
        "fresh": fresh.sum().item(),
        "products": [before, while_running, after],
        "outputs": {name: float(np.abs(array).sum()) for name, array in outputs.items()},
    }
