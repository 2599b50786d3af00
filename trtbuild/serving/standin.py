"""A stand-in for Triton's TensorRT backend: a python-based backend that runs a plan's ONNX in ONNX Runtime.

It is copied to ``<backends>/tensorrt/model.py`` and runs inside the server's own Python, which has no trtbuild. The
plan itself is never run. ``<plan's stem>.onnx`` lies beside it; with ``cc_model_filenames`` the first one that does.
Else ``<the plan's SHA-256>.onnx`` is looked for in the folder TRTBUILD_STANDIN_ONNX.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


class TritonPythonModel:
    """One instance of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the ONNX of the version that is asked for."""
        import onnxruntime

        self.config = json.loads(args["model_config"])
        folder = Path(args["model_repository"])
        place = _onnx(folder, args["model_version"], self.config)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as verify runs it
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # instances share the machine
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
        self.batched = int(self.config.get("max_batch_size", 0)) > 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers requests: in one run where the server batches and their rows are alike, else one by one."""
        import numpy as np

        feeds = [{i["name"]: _array(request, i["name"]) for i in self.config["input"]} for request in requests]
        rows = [next(iter(feed.values())).shape[0] if self.batched else 1 for feed in feeds]
        alike = len({tuple(a.shape[1:] for a in feed.values()) for feed in feeds}) == 1
        if not (self.batched and alike):
            return [self._response(self._run(feed)) for feed in feeds]
        whole = self._run({name: np.concatenate([f[name] for f in feeds]) for name in feeds[0]})
        ends = np.cumsum(rows)
        parts = [{n: a[end - count : end] for n, a in whole.items()} for end, count in zip(ends, rows, strict=True)]
        return [self._response(part) for part in parts]

    def _run(self, feed: dict[str, Any]) -> dict[str, Any]:
        names = [o["name"] for o in self.config["output"]]
        return dict(zip(names, self.session.run(names, feed), strict=True))

    def _response(self, outputs: dict[str, Any]) -> Any:
        import triton_python_backend_utils as pb

        tensors = []
        for output in self.config["output"]:
            array = outputs[output["name"]]
            if "reshape" in output:  # the config's dims are the client's; the model's are in ``reshape``
                lead = array.shape[:1] if self.batched else ()
                array = array.reshape(*lead, *(int(d) for d in output["dims"]))
            tensors.append(pb.Tensor(output["name"], array))
        return pb.InferenceResponse(output_tensors=tensors)


def _array(request: Any, name: str) -> Any:
    import triton_python_backend_utils as pb

    return pb.get_input_tensor_by_name(request, name).as_numpy()


def _onnx(folder: Path, version: str, config: dict[str, Any]) -> Path:
    """The ONNX beside the plan."""
    inside = folder / version if (folder / version).is_dir() else folder
    plans = [config.get("default_model_filename") or "model.plan", *config.get("cc_model_filenames", {}).values()]
    found = [inside / f"{Path(plan).stem}.onnx" for plan in plans]
    for place in found:
        if place.is_file():
            return place
    known = os.environ.get("TRTBUILD_STANDIN_ONNX")
    for plan in map(inside.joinpath, plans) if known else ():
        if plan.is_file():
            place = Path(str(known), f"{hashlib.sha256(plan.read_bytes()).hexdigest()}.onnx")
            if place.is_file():
                return place
    raise FileNotFoundError(f"the stand-in for TensorRT runs a plan's ONNX, and there is no {found[0]}")
