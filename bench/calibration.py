"""Our calibrator beside ONNX Runtime's, in one run: time and peak memory.

Both calibrate the demo's CNN on the same digits and take turns; the ratios of the medians are what counts, for the
machine may be shared. Run with `make bench`; the result is printed as Markdown.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

ROUNDS = 5
SUBJECTS = ("trtbuild minmax", "trtbuild entropy", "trtbuild mse", "onnxruntime minmax", "onnxruntime entropy")


def prepare(folder: Path) -> Path:
    """The demo's trained CNN as a rewritten ONNX file."""
    from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
    from trtbuild.demo import prepare as write_demo
    from trtbuild.exporters import export
    from trtbuild.rewriter import rewrite

    write_demo(folder)
    exported = export(
        "model.py:load",
        folder,
        inputs=[TensorSpec("image", "float32", ("batch", 1, 8, 8))],
        outputs=["logits"],
        profiles=[OptimizationProfile({"batch": AxisRange(1, 16, 64)})],
        folder=folder,
        weights="digits.pt",
    )
    return rewrite(exported.model, folder).model.path


def feeds() -> list[dict[str, object]]:
    """The calibration half of the digits, from the reader that ships, without the last batch.

    It is smaller than the others, and ONNX Runtime's entropy calibrator fails on samples of different shapes.
    """
    from trtbuild.shipped import shipped_folder
    from trtbuild.sources import load_callable

    return list(load_callable("calibration/digits.py:batches", shipped_folder("calibration").parent)())[:-1]


def with_trtbuild(model: Path, method: str) -> None:
    """One calibration by us."""
    from trtbuild.calibration import calibrate

    calibrate(model, feeds(), method=method)


def with_onnxruntime(model: Path, method: str) -> None:
    """One calibration by ONNX Runtime, the same tensors and samples."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(feeds())

        def get_next(self) -> dict[str, object] | None:
            return next(self.left, None)

    kind = {"minmax": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy}[method]
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model, ["Conv", "Gemm", "MatMul"], augmented_model_path=f"{folder}/augmented.onnx", calibrate_method=kind
        )
        calibrator.collect_data(Reader())
        calibrator.compute_data()


def once(subject: str, model: Path) -> dict[str, float]:
    """Runs one subject in this process; seconds without imports and session start-up of Python, peak MiB."""
    library, method = subject.split()
    feeds()  # imports and reads the data set once
    started = time.perf_counter()
    (with_trtbuild if library == "trtbuild" else with_onnxruntime)(model, method)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mib": peak_mib()}


def peak_mib() -> float:
    """Peak resident memory of this process; Linux counts it anew for each program, unlike getrusage's figure."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    """Takes turns and prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        model = prepare(Path(folder))
        taken: dict[str, list[dict[str, float]]] = {s: [] for s in SUBJECTS}
        for _ in range(ROUNDS):
            for subject in SUBJECTS:
                done = subprocess.run(
                    [sys.executable, __file__, subject, str(model)], capture_output=True, text=True, check=True
                )
                taken[subject].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {s: {k: statistics.median(r[k] for r in rows) for k in ("seconds", "mib")} for s, rows in taken.items()}
    base = medians["trtbuild minmax"]
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("trtbuild", "onnxruntime", "numpy"))
    print(f"# Calibration, digits CNN, 896 samples, median of {ROUNDS} rounds in turn\n")
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}, {versions}\n")
    print("| subject | s | times ours (minmax) | peak MiB | times ours (minmax) |\n|---|---|---|---|---|")
    for subject, row in medians.items():
        ratio, memory = row["seconds"] / base["seconds"], row["mib"] / base["mib"]
        print(f"| {subject} | {row['seconds']:.3f} | {ratio:.2f} | {row['mib']:.0f} | {memory:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(once(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
