"""Builds that are served by the real Triton: answers, batching, and a rollout under load. `make bench-serving`.

Takes folders that `trtbuild build` wrote. The server is the wheel's, without a GPU: the plan's ONNX runs in its place,
so the figures are about Triton and the rollout, and say nothing about TensorRT's speed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from trtbuild.golden import read
from trtbuild.serving import Client, Load, copied, roll_out, serve_check, serving, set_up
from trtbuild.serving.copies import add_cpu_config, read_config, write_config
from trtbuild.serving.environment import PINS, RELEASE, SERVER_VERSION
from trtbuild.serving.rollout import pin

REQUESTS = 1000
"""Requests of one row that a rollout has to stand, at least; one that is taken back, a quarter of them."""


def main() -> None:
    """Writes the table to standard output."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("builds", nargs="+", type=Path)
    asked.add_argument("--concurrency", type=int, default=4)
    words = asked.parse_args()
    environment = set_up()
    print("# Served by a real Triton\n")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.now(timezone.utc):%Y-%m-%d}, {machine}.")
    packages = ", ".join(f"{n} {v}" for n, v in PINS.items())
    print(f"Triton {SERVER_VERSION} ({RELEASE}) without a GPU; {packages}; tritonclient {version('tritonclient')}.")
    print(
        "The plans were not run: their ONNX ran in ONNX Runtime instead. One run; other programs shared the machine.\n"
    )
    print("The version of ONNX Runtime here is another than the server's, and may round an INT8 graph otherwise.\n")
    print(f"`make bench-serving`: {words.concurrency} threads over gRPC, requests of one row.\n")
    for build in words.builds:
        _bench(build, environment, words.concurrency)


def _bench(build: Path, environment: Any, concurrency: int) -> None:
    repository, golden = build / "model_repository", read(build / "golden")
    name = next(iter(sorted(p.name for p in repository.iterdir())))
    (onnx,) = build.glob(f"{name}.*.onnx")
    print(f"## {name} ({onnx.name})\n\n| Tried | Outcome | Seen |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cached = Path(shutil.copytree(repository, Path(folder) / "cached"))
        config = read_config(cached / name)
        config.response_cache.enable = True
        write_config(config, cached / name / "config.pbtxt")
        for found in serve_check(cached, golden, onnx=onnx, environment=environment).findings:
            print(f"| {found.name} | {found.outcome} | {found.said} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        models = copied(repository, Path(folder) / "models", onnx=onnx)
        shutil.copytree(models / name / "1", models / name / "2", copy_function=os.link)
        shutil.copytree(models / name / "1", models / name / "3")
        for place in (models / name / "3").glob("*.onnx"):
            _damage(place)
        pin(models / name, (1,))
        add_cpu_config(models / name)
        with serving(models, environment=environment) as server:
            _rollouts(server, models, name, golden, concurrency)


def _rollouts(server: Any, models: Path, name: str, golden: Any, concurrency: int) -> None:
    from trtbuild.errors import AccuracyError

    with Client(server.grpc) as client:
        client.load(name)
        served = [client.infer(name, request.feed) for request in golden]
    stem = next((models / name / "1").glob("*.onnx"))
    for python_path, what in ((str(set_up().folder), "outside of the server"), (None, "here")):
        runtime, answers = _answers(stem, golden, python_path)
        apart = max(float(np.abs(a[k] - b[k]).max()) for a, b in zip(served, answers, strict=True) for k in a)
        print(f"| largest difference to ONNX Runtime {runtime} {what} | | {apart:.3g} |", flush=True)
    first = next(iter(golden)).feed
    rows = [{k: a[i : i + 1] for k, a in first.items()} for i in range(next(iter(first.values())).shape[0])]
    for number, what in ((2, "another version, the same answers"), (3, "a version made wrong on purpose")):
        with Load(server.grpc, name, rows, concurrency) as load:
            _wait(load, REQUESTS // 10)
            started, before = time.monotonic(), len(load.latencies)
            try:
                took = roll_out(server.grpc, models, name, number, golden)
                said = f"version {took.version} serves, {took.retired[0]} is retired"
            except AccuracyError as error:
                said = error.message.rpartition("; ")[2]
            seconds, during = time.monotonic() - started, len(load.latencies) - before
            _wait(load, max((REQUESTS if number == 2 else REQUESTS // 4) - len(load.latencies), 0))
        counted = f"{len(load.latencies)} requests, {during} of them during it, {len(load.failures)} failed"
        took_ms = f"p50 {load.quantile(0.5) * 1e3:.1f} ms, p99 {load.quantile(0.99) * 1e3:.1f} ms"
        print(f"| rollout of {what} | {said} | {seconds:.1f} s; {counted}; {took_ms} |", flush=True)
    print()


_OUTSIDE = """
import sys, numpy, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names, feed = [o.name for o in session.get_outputs()], numpy.load(sys.argv[2])
numpy.savez(sys.argv[3], **dict(zip(names, session.run(names, {k: feed[k] for k in feed.files}))))
print(ort.__version__)
"""


def _answers(onnx: Path, golden: Any, python_path: str | None) -> tuple[str, list[Any]]:
    """The version of an ONNX Runtime, the server's or this process's, and its answers in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": python_path or os.environ.get("PYTHONPATH", "")}
    found, said = [], ""
    for number, request in enumerate(golden):
        feed, answer = (onnx.parents[3] / f"{what}{number}.npz" for what in ("feed", "answer"))
        np.savez(feed, **request.feed)
        words = [sys.executable, "-c", _OUTSIDE, str(onnx), str(feed), str(answer)]
        said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        found.append(dict(np.load(answer)))
    return said, found


def _wait(load: Load, more: int) -> None:
    count = len(load.latencies) + more
    while len(load.latencies) < count and not load.failures:
        time.sleep(0.02)


def _damage(onnx: Path) -> None:
    """Negates the model's outputs: it loads, and answers wrongly."""
    from onnx import helper

    from trtbuild import onnxfile

    model = onnxfile.load(onnx)
    for output in model.graph.output:
        for node in model.graph.node:
            node.output[:] = [f"{o}/right" if o == output.name else o for o in node.output]
            node.input[:] = [f"{i}/right" if i == output.name else i for i in node.input]
        model.graph.node.append(helper.make_node("Neg", [f"{output.name}/right"], [output.name]))
    onnxfile.save(model, onnx)


if __name__ == "__main__":
    sys.exit(main())
