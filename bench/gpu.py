"""What only a GPU can show, onto one page: the GPU suite, and engines beside torch and ONNX Runtime in one run.

    python bench/gpu.py [--runs N] [--precision fp32,fp16,int8] [--no-suite] [--output bench/GPU.md]

MiniLM with its trained weights is built for this machine's GPU with every TensorRT flavour that is installed, verified
on the GPU, and measured beside torch (eager and compiled) and ONNX Runtime: same inputs, in turns, at min, opt and max
of its profile, without CUDA graphs and with them. Where there is no GPU the page says so and has no figure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from trtbuild.device import Gpu, gpus

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "bench" / "GPU.md"
MINILM = ROOT / "tests" / "end_to_end" / "minilm"
PACKAGES = (
    "trtbuild",
    "tensorrt",
    "tensorrt-rtx",
    "pycuda",
    "cuda-bindings",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
)
FLAVOURS = ("tensorrt", "tensorrt_rtx")

COMMANDS = """\
## How this page is made

On a machine with an NVIDIA GPU and its driver:

```sh
python -m venv .venv && . .venv/bin/activate
pip install --editable '.[all,dev]'
pip install 'tensorrt>=10' pycuda cuda-bindings   # tensorrt-rtx is in [all]; pycuda needs a CUDA toolkit to build
pip install onnxruntime-gpu                       # instead of onnxruntime: its CUDA provider
pip install torch                                 # a build with CUDA
pytest -m gpu                                     # the GPU suite alone
python bench/gpu.py                               # the suite, the bench, and this page
trtbuild bench model.onnx plan.json --torch net.py:load --torch-compile net.py:load --cuda-graphs   # a model of yours
```
"""

ABSENT = """\
**No GPU was to be had so far.** Nothing on this page has been run on one: not the GPU suite, not an engine, no speed
gate. Every figure that a GPU would give is absent.

What was run without one: real TensorRT-RTX builds, the compiled ONNX against its FP32 reference in ONNX Runtime, and
the bench itself on ONNX Runtime and torch on a CPU. What runs a plan is held, name by name, against the API of TensorRT
10.0, 10.16 and 11.4, TensorRT-RTX 1.7.1, pycuda and cuda-bindings.
"""


@dataclass(frozen=True)
class SuiteResult:
    """How the GPU suite went.

    Attributes:
        counts: ``passed``, ``failed`` and ``skipped`` tests.
        failures: Names of the failed ones.
        reasons: Why tests were skipped, with how many.
    """

    counts: dict[str, int]
    failures: tuple[str, ...]
    reasons: dict[str, int]


def read_suite(junit: str) -> SuiteResult:
    """Reads pytest's ``--junitxml``."""
    counts: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    failures, reasons = [], Counter[str]()
    for case in ET.fromstring(junit).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
            failures.append(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
        elif skipped is not None:
            counts["skipped"] += 1
            reasons[str(skipped.get("message"))] += 1
        else:
            counts["passed"] += 1
    return SuiteResult(dict(counts), tuple(failures), dict(reasons))


def run_suite() -> SuiteResult:
    """Runs ``pytest -m gpu``."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "junit.xml"
        words = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-q", f"--junitxml={file}"]
        subprocess.run(words, cwd=ROOT, check=False)
        return read_suite(file.read_text(encoding="utf-8"))


def build(flavour: str, gpu: Gpu, precision: str, folder: Path) -> Any:
    """MiniLM for this GPU, verified on it; what the pipeline came to."""
    from trtbuild import pipeline
    from trtbuild.spec import load_spec

    target = f"{{backend: {flavour}, compute_capability: '{gpu.compute_capability}', name: {flavour}}}"
    words = [f"precision={precision}", f"targets=[{target}]", "speed.allow_slower=true"]
    spec = load_spec(MINILM / "trtbuild.yaml", overrides=words)
    return pipeline.build(spec, output=folder / f"{flavour}-{precision}").build


def measure(builds: Sequence[Any], runs: int) -> list[tuple[str, dict[str, Any]]]:
    """All engines beside torch and ONNX Runtime, without CUDA graphs and with them."""
    from trtbuild.artifacts import to_json
    from trtbuild.benchmark import Variant, bench
    from trtbuild.exporters.modules import load_module
    from trtbuild.exporters.timed import timed

    first = builds[0]
    inputs, ranges = first.exported.inputs, {"ids": (1000.0, 20000.0)}
    variants = []
    for compiled in (False, True):
        module = load_module("model.py:load", MINILM, None)
        device, prepare = timed(module, [t.name for t in inputs], "model.py:load", compiled=compiled)
        variants.append(Variant(f"torch {'compiled' if compiled else 'eager'} ({device})", inputs, prepare, device))
    found = []
    for graphs in (False, True):
        done = bench(
            {"onnx fp32": first.exported.model.path},
            [plan for b in builds for plan in b.plans],
            variants=variants,
            profiles=first.plans[0].profiles,
            ranges=ranges,
            runs=runs,
            warm_up=10,
            turn=10,
            baseline=variants[0].name,
            cuda_graphs=graphs,
        )
        found.append(("with CUDA graphs" if graphs else "without CUDA graphs", to_json(done)))
    return found


def versions() -> str:
    """Date, machine, and the packages that are there."""
    there = []
    for package in PACKAGES:
        try:
            there.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}; {', '.join(there)}."


def render(
    about: str,
    gpu: Gpu | None,
    suite: SuiteResult | None,
    builds: Sequence[Any] = (),
    tables: Sequence[tuple[str, dict[str, Any]]] = (),
) -> str:
    """The page; without a GPU it has no figure."""
    parts = ["# What ran on a GPU", about]
    if gpu is None:
        return "\n\n".join([*parts, ABSENT.strip(), COMMANDS.strip()]) + "\n"
    parts.append(f"{gpu.name}, compute capability {gpu.compute_capability}, driver {gpu.driver}, {gpu.memory_mib} MiB.")
    if suite is None:
        parts.append("The GPU suite was not run for this page.")
    else:
        parts.append("## The GPU suite\n\n" + ", ".join(f"{n} {word}" for word, n in suite.counts.items()) + ".")
        parts += ["\n".join(f"- failed: `{name}`" for name in suite.failures)]
        parts += ["\n".join(f"- {n} skipped: {why}" for why, n in suite.reasons.items())]
    if builds:
        parts.append("## MiniLM on the engine\n\n" + "\n".join(line for b in builds for line in _proofs(b)))
    for words, measured in tables:
        from trtbuild.reporting import render_speed

        parts.append(f"## Speed, {words}\n\n" + render_speed(measured))
    return "\n\n".join([*(p for p in parts if p), COMMANDS.strip()]) + "\n"


def _proofs(done: Any) -> list[str]:
    from trtbuild.reporting import said

    plan = done.plans[0]
    head = f"- {plan.target.backend} {plan.backend_version}, {done.precision}, plan `{plan.plan.sha256[:16]}`: "
    gate = f"; {said.speed(done.speed)}" if done.speed and done.speed.results else ""
    return [head + said.verify(proof)[0] + gate for proof in done.verifications]


def main() -> None:
    """Runs what this machine can, and writes the page."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=200)
    words.add_argument("--precision", default="fp32,fp16,int8")
    words.add_argument("--no-suite", action="store_true")
    words.add_argument("--output", type=Path, default=PAGE)
    asked = words.parse_args()
    gpu = next(iter(gpus()), None)
    suite, builds, tables = None, [], []
    if gpu is not None:
        suite = None if asked.no_suite else run_suite()
        flavours = [f for f in FLAVOURS if importlib.util.find_spec(f) is not None]
        with tempfile.TemporaryDirectory() as folder:
            os.environ.setdefault("TRTBUILD_CACHE", str(Path(folder) / "cache"))
            precisions = asked.precision.split(",")
            builds = [build(f, gpu, p, Path(folder)) for f in flavours for p in precisions]
            tables = measure(builds, asked.runs) if builds else []
    asked.output.write_text(render(versions(), gpu, suite, builds, tables), encoding="utf-8")
    print(f"wrote {asked.output}" + ("" if gpu else ": no GPU here, so it has no figure"))


if __name__ == "__main__":
    main()
