"""Builds with a fake TensorRT of each release, in this process."""

import json
from pathlib import Path

from fake_tensorrt import RELEASES

from trtbuild.artifacts import BuildOptions, Target, to_json
from trtbuild.engine.building import build_plan

TRT_10_0, TRT_10, TRT_11, RTX = RELEASES
TIMED = (TRT_10_0, TRT_10, TRT_11)


def ask(trt, onnx, folder, **options):
    folder.mkdir(exist_ok=True)
    return {
        "backend": trt.__name__, "onnx": str(onnx), "plan": str(folder / "m.plan"), "log": str(folder / "m.log"),
        "target": to_json(Target("rtx4090", trt.__name__, "8.9")), "timings": str(folder / "timing"), "tf32": False,
        "profiles": [{"x": [[1, 8], [4, 8], [16, 8]]}], "options": to_json(BuildOptions(**options)),
    }  # fmt: skip


def build(trt, onnx, folder, **options):
    """The answer, and how the builder was configured when it built."""
    request = ask(trt, onnx, folder, **options)
    answer = build_plan(request, lambda _event: None)
    return answer, json.loads(Path(request["plan"]).read_bytes()[64:])
