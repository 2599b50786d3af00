"""One calibration by one tool, in a process and an environment of its own: prints seconds and peak memory.

    python bench/calibration_contender.py TOOL METHOD model.onnx feeds.npz quantized.onnx

Seconds count from the tool's call to the quantised file, without Python's start and imports; CPU seconds are those that
all of the process's threads (and processes of its own) took meanwhile. Each tool runs as its
users call it; where it can be told to make what TensorRT takes (symmetric INT8), it is told.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WEIGHTED = ["Conv", "MatMul", "Gemm"]


def feeds(file: Path) -> list[dict[str, Any]]:
    """The feeds of an ``.npz`` file, in order; this file runs where the bench's other modules cannot be imported."""
    import numpy as np

    found: dict[int, dict[str, Any]] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            number, _, name = key.partition(".")
            found.setdefault(int(number), {})[name] = arrays[key]
    return [found[number] for number in sorted(found)]


def trtbuild(method: str, model: Path, given: list[dict[str, Any]]) -> Callable[[Path], None]:
    """Calibration and Q/DQ; ``best`` with everything that is tried for better INT8, ``table`` without the Q/DQ."""
    import onnx  # noqa: F401 - imported before the clock starts, as with the other tools
    import onnxruntime  # noqa: F401

    from trtbuild import onnxfile
    from trtbuild.calibration import calibrate, equalize
    from trtbuild.feeds import parts
    from trtbuild.precision import assign_precision

    def once(out: Path) -> None:
        source, fit, judge = onnxfile.stored(model), [], []  # its digest is made once, as in a build
        if method == "table":
            calibrate(source, given, method="entropy")
            return
        best = method == "best"
        if best:
            source = equalize(source, given, out.parent).model
            fit, judge = (list(p) for p in parts(given, onnxfile.inputs(onnxfile.load(model))))
        table = calibrate(source, given, method="mse" if best else method, keep_apart=best)
        typed = assign_precision(
            source, out.parent, precision="int8", table=table, rest="fp32", judge=judge, fitting=fit
        )
        typed.model.path.replace(out)

    return once


def onnxruntime(method: str, model: Path, given: list[dict[str, Any]]) -> Callable[[Path], None]:
    """ONNX Runtime's static quantisation; ``forward`` runs the feeds and measures nothing."""
    from onnxruntime import quantization as tool
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(given)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    kinds = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}

    def forward(_out: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for feed in given:
            session.run(None, feed)

    if method == "forward":
        return forward

    def once(out: Path) -> None:
        tool.quantize_static(
            model, out, Reader(), quant_format=tool.QuantFormat.QDQ, per_channel=True,
            activation_type=tool.QuantType.QInt8, weight_type=tool.QuantType.QInt8, op_types_to_quantize=WEIGHTED,
            calibrate_method=tool.CalibrationMethod[kinds[method]],
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )  # fmt: skip

    return once


def modelopt(method: str, model: Path, given: list[dict[str, Any]]) -> Callable[[Path], None]:
    """NVIDIA ModelOpt; ``max`` and ``entropy`` are its own methods."""
    from modelopt.onnx.quantization import quantize
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self.left = iter(given)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

        def get_first(self) -> dict[str, Any]:
            return given[0]

    def once(out: Path) -> None:
        copy = out.parent / "input.onnx"  # it writes to its input file
        copy.write_bytes(model.read_bytes())
        quantize(
            str(copy), quantize_mode="int8", calibration_data_reader=Reader(), calibration_method=method,
            calibration_eps=["cpu"], high_precision_dtype="fp32", output_path=str(out), log_level="ERROR",
        )  # fmt: skip

    return once


def nncf(method: str, model: Path, given: list[dict[str, Any]]) -> Callable[[Path], None]:
    """NNCF with its defaults; ``transformer`` for models with attention."""
    import nncf as tool
    import onnx

    kind = tool.ModelType.TRANSFORMER if method == "transformer" else None

    def once(out: Path) -> None:
        onnx.save(tool.quantize(onnx.load(model), tool.Dataset(given), subset_size=len(given), model_type=kind), out)

    return once


TOOLS = {"trtbuild": trtbuild, "onnxruntime": onnxruntime, "modelopt": modelopt, "nncf": nncf}


def peak_mib() -> float:
    """Peak resident memory of this process; Linux counts it anew for each program, unlike getrusage's figure."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def parts_mib() -> tuple[float, float]:
    """What this process holds now: allocated memory, and pages of files that are mapped."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    allocated, mapped = (int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("RssAnon", "RssFile"))  # type: ignore[index]
    return allocated, mapped


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def main(words: list[str]) -> None:
    """Runs one."""
    tool, method, model, data, out = words
    once = TOOLS[tool](method, Path(model), feeds(Path(data)))
    started, worked = time.perf_counter(), cpu_seconds()
    once(Path(out))
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - worked
    print(json.dumps({"seconds": seconds, "cpu": cpu, "mib": peak_mib()}))


if __name__ == "__main__":
    main(sys.argv[1:])
