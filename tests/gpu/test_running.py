"""Profiles, CUDA graphs, and a context that is shared with torch."""

import os
from pathlib import Path

import numpy as np
import pytest
from gpu_models import SIZES, feeds, positives
from onnx_models import run

from trtbuild import worker
from trtbuild.backends import BACKENDS
from trtbuild.enginerun import plans_in_turn, trace_plan
from trtbuild.enginerun.arrays import save_arrays
from trtbuild.errors import FeedError

pytestmark = pytest.mark.gpu


@pytest.fixture
def plan(built):
    return built["fp16"][1]


def test_each_size_runs_in_the_profile_whose_opt_is_nearest(plan):
    # opt is 2 and 64; 9 and more fit the second profile only; 7 and 8 lie nearer to 2 than to 64
    assert trace_plan(plan, feeds()).profiles == tuple(0 if n < 9 else 1 for n in SIZES)


def test_going_back_and_forth_between_profiles_changes_nothing(plan):
    once = trace_plan(plan, feeds((8, 200)))
    often = trace_plan(plan, feeds((8, 200)) * 3)
    for number, outputs in enumerate(often.outputs):
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, once.outputs[number % 2][name])


@pytest.mark.parametrize("rows", [257, 1000])
def test_shapes_that_no_profile_takes_are_an_error_that_names_both(plan, rows):
    with pytest.raises(FeedError, match="profile 0: .*\n.*profile 1: "):
        trace_plan(plan, feeds([rows]))


def test_a_missing_input_is_an_error(plan):
    with pytest.raises(FeedError, match="the feed has no x"):
        trace_plan(plan, [{"z": np.zeros((1, 64), np.float32)}])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_cuda_graphs_give_the_numbers_of_none(built, precision):
    one = built[precision][1]
    fed = [*feeds(), *feeds(seed=2), *feeds((1, 64), seed=3)]  # sizes repeat, and come back after others
    plain = trace_plan(one, fed)
    graphed = trace_plan(one, fed, cuda_graphs=True)
    assert set(plain.graphs) == {"no"}
    assert set(graphed.graphs) == {"built in" if one.target.backend == "tensorrt_rtx" else "captured"}
    for without, with_graph in zip(plain.outputs, graphed.outputs, strict=True):
        for name, array in without.items():
            np.testing.assert_array_equal(array, with_graph[name])


def test_a_graph_that_cannot_be_says_why_and_the_engine_runs(finding):
    fed = feeds((3, 5), columns=16)
    ran = trace_plan(finding, fed, cuda_graphs=True)
    assert set(ran.graphs) == {"no: an output's size depends on data"}
    for feed, outputs in zip(fed, ran.outputs, strict=True):
        np.testing.assert_array_equal(outputs["where"], run(positives(), feed)["where"])


def test_two_plans_of_one_flavour_take_turns_in_one_worker(built):
    plans = [built["fp32"][1], built["int8"][1]]
    with plans_in_turn(plans) as running:
        assert [r.plan for r in running] == plans
        (feed,) = feeds([8])
        assert [r.prepare(feed, 0) for r in running] == [(0, "no")] * 2
        for _ in range(3):
            for one in running:
                for call in one.turn(2):
                    assert set(call) == {"total", "host_to_device", "compute", "device_to_host", "enqueue"}
                    assert 0 < call["compute"] <= call["total"]


def test_a_profile_that_is_asked_for_is_taken_although_another_is_nearer(plan):
    with plans_in_turn([plan]) as (one,):
        (feed,) = feeds([8])
        assert one.prepare(feed, 1)[0] == 1
        assert one.prepare(feed, None)[0] == 0
        with pytest.raises(FeedError):
            one.prepare(feeds([1])[0], 1)


def test_torch_and_the_engine_share_the_context(built, tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    one = built["fp32"][1]
    (feed,) = feeds([8])
    save_arrays(tmp_path / "feed.npz", feed)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    answer = worker.call(
        "gpu_worker:share_with_torch",
        {
            "backend": one.target.backend, "plan": str(one.plan.path), "sha256": one.plan.sha256,
            "compute_capability": one.target.compute_capability, "feed": str(tmp_path / "feed.npz"),
        },
        environment={**BACKENDS.load(one.target.backend).ENVIRONMENT, "PYTHONPATH": path},
    )  # fmt: skip
    assert answer["kept"]
    assert answer["fresh"] == 3 * 1024
    assert len(set(answer["products"])) == 1
    (alone,) = trace_plan(one, [feed]).outputs
    assert answer["outputs"] == {name: float(np.abs(array).sum()) for name, array in alone.items()}
