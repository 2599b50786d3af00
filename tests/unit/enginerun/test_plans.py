import dataclasses

import numpy as np
import pytest
from plan_values import plan

from trtbuild import enginerun
from trtbuild.device import compute_capabilities
from trtbuild.enginerun import can_run, plans_in_turn, run_plan
from trtbuild.errors import IntegrityError, MissingDependencyError, WorkerCrashedError


@pytest.fixture(params=[False, True], ids=["one", "in turn"])
def start(request):
    """Both ways a plan gets into a worker."""

    def run(value):
        if request.param:
            with plans_in_turn([value]):
                pytest.fail("it was loaded")
        run_plan(value, [{"x": np.zeros((1, 3, 8), np.float32)}])

    return run


def test_a_plan_that_was_changed_is_refused_before_any_library_is_loaded(tmp_path, start):
    one = plan(tmp_path)
    one.plan.path.write_bytes(b"another plan")
    with pytest.raises(IntegrityError, match="not the one its manifest names"):
        start(one)


@pytest.mark.skipif(bool(compute_capabilities()), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path, start):
    with pytest.raises(MissingDependencyError, match="no NVIDIA GPU"):
        start(plan(tmp_path))


def test_a_plan_without_its_weights_is_not_run(tmp_path, start, monkeypatch):
    monkeypatch.setattr(enginerun, "compute_capabilities", lambda: ("8.9",))
    whole = plan(tmp_path)
    stripped = dataclasses.replace(whole, options={"refit": "any", "strip_weights": True})
    assert (can_run(whole), can_run(stripped)) == (True, False)
    with pytest.raises(IntegrityError, match="has to be refitted first"):
        start(stripped)


def test_the_digest_comes_first_for_every_plan_of_a_group(tmp_path):
    good = plan(tmp_path)
    (tmp_path / "other").mkdir()
    bad = plan(tmp_path / "other")
    bad.plan.path.write_bytes(b"another plan")
    with pytest.raises(IntegrityError), plans_in_turn([good, dataclasses.replace(bad, target=good.target)]):
        pass


def test_a_plan_runs_with_the_interpreter_whose_tensorrt_built_it(tmp_path, start):
    one = plan(tmp_path)
    there = tmp_path / "python"
    there.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nexit 3\n")
    there.chmod(0o755)
    with pytest.raises(WorkerCrashedError):
        start(dataclasses.replace(one, target=dataclasses.replace(one.target, python=str(there))))
    assert (tmp_path / "asked").exists()
