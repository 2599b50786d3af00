"""The engine gives what its ONNX gives: by our runner and metrics, and by Polygraphy's alone."""

import os
from pathlib import Path

import numpy as np
import pytest
from gpu_models import LARGE, SIZES, SMALL, TYPED, compiled, feeds, network, positives, typed
from onnx_models import run

from trtbuild import worker
from trtbuild.backends import BACKENDS
from trtbuild.enginerun import trace_plan
from trtbuild.enginerun.arrays import save_arrays
from trtbuild.verification import Rule, verify

pytestmark = pytest.mark.gpu

LEAST = {"fp32": 0.99999, "fp16": 0.9999, "bf16": 0.999, "int8": 0.999}
"""Cosine against the very graph that was compiled, in ONNX Runtime."""
ATOL = {"fp32": 1e-3, "fp16": 2e-2}
"""Largest difference for Polygraphy, against outputs of a magnitude of some 1; TF32 is off."""


@pytest.fixture(params=TYPED)
def pair(request, built):
    if request.param not in built:
        pytest.skip(f"this GPU does no {request.param}")
    return request.param, *built[request.param]


def test_every_output_is_that_of_the_compiled_onnx_at_every_size(pair):
    precision, low, plan = pair
    proof = verify(low.model, plan, feeds(), rule=Rule("cosine", min=LEAST[precision]), profiles=(SMALL, LARGE))
    assert proof.subject == "engine"
    assert proof.plan == plan.plan.digest
    assert {o.output for o in proof.outputs} == {"y", "p"}
    assert proof.samples == sum(SIZES)
    assert proof.passed, proof.gates


def test_the_plan_runs_in_the_precision_that_was_asked_for(pair):
    precision, low, plan = pair
    assert plan.work.not_honoured == {}
    assert set(low.assignment.values()) == {precision}


@pytest.mark.parametrize("profile", [0, 1])
def test_polygraphys_comparator_agrees(pair, profile, tmp_path):
    precision, low, plan = pair
    if precision not in ATOL:
        pytest.skip("ONNX Runtime on the CPU computes no BF16, and rounds INT8 elsewhere")
    sizes = (1, 2, 8) if profile == 0 else (4, 64, 256)
    files = [tmp_path / f"{n}.npz" for n in sizes]
    for file, feed in zip(files, feeds(sizes), strict=True):
        save_arrays(file, feed)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    answer = worker.call(
        "gpu_worker:compare_with_polygraphy",
        {
            "plan": str(plan.plan.path), "sha256": plan.plan.sha256, "onnx": str(low.model.path), "profile": profile,
            "feeds": [str(f) for f in files], "atol": ATOL[precision],
        },
        environment={**BACKENDS.load(plan.target.backend).ENVIRONMENT, "PYTHONPATH": path},
    )  # fmt: skip
    assert answer == {"passed": True, "iterations": 3, "outputs": ["p", "y"]}


def test_two_runs_give_the_same_numbers(pair):
    _precision, _low, plan = pair
    first, second = (trace_plan(plan, feeds()) for _ in range(2))
    for one, other in zip(first.outputs, second.outputs, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


def test_inputs_and_outputs_in_a_type_that_numpy_lacks(here, tmp_path):
    if here.sm < 80:
        pytest.skip("this GPU does no bf16")
    low = typed("bf16", tmp_path, rest="bf16", io="low")
    plan = compiled(low, tmp_path / "plan", here)
    (feed,) = feeds([8])
    (outputs,) = trace_plan(plan, [feed]).outputs
    assert outputs["y"].dtype.name == "bfloat16"
    np.testing.assert_allclose(outputs["y"].astype(np.float32), run(network(), feed)["y"], atol=0.05)


def test_an_output_whose_size_depends_on_data_has_the_size_of_the_data(finding):
    fed = [*feeds((1, 8, 3), columns=16), {"x": np.full((2, 16), -1, np.float32)}, *feeds((8,), columns=16)]
    for feed, outputs in zip(fed, trace_plan(finding, fed).outputs, strict=True):
        wanted = run(positives(), feed)
        assert outputs["where"].shape == wanted["where"].shape
        np.testing.assert_array_equal(outputs["where"], wanted["where"])
        np.testing.assert_array_equal(outputs["y"], wanted["y"])
