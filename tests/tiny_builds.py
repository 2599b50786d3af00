"""Builds several typed graphs in one worker process: a process a build would cost more than the builds."""

import os
import sys
from pathlib import Path

from trtbuild import worker
from trtbuild.artifacts import BuildOptions, Target, to_json
from trtbuild.engine.layers import from_log, precision_share
from trtbuild.errors import TrtbuildError


def built(typed, capability, profile, folder):
    """Precision to (shares of the matrix work, nothing), or (nothing, TensorRT's error); nothing is checked before."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    requests = {
        name: {
            "backend": "tensorrt_rtx", "onnx": str(value.model.path), "plan": str(folder / f"{name}.plan"),
            "log": str(folder / f"{name}.log"), "target": to_json(Target("t", "tensorrt_rtx", capability)),
            "profiles": [{t.name: [profile.shape(t, w) for w in ("min", "opt", "max")] for t in value.inputs}],
            "tf32": value.precision == "tf32", "options": to_json(BuildOptions()), "timings": str(folder),
        }
        for name, value in typed.items()
    }  # fmt: skip
    answers = worker.call("tiny_builds:build_each", requests, timeout_s=300, environment={"PYTHONPATH": path})
    return {
        name: (None, answer)
        if isinstance(answer, str)
        else (dict(precision_share(from_log(answer["layers"]), typed[name].assignment, {}).shares), None)
        for name, answer in answers.items()
    }


def build_each(requests, emit):
    """In the worker: each request's answer, or what TensorRT says against it."""
    from trtbuild.engine.building import build_plan

    answers = {}
    for name, request in requests.items():
        try:
            answers[name] = build_plan(request, lambda _event: None)
        except TrtbuildError as error:
            answers[name] = error.message
    return answers
