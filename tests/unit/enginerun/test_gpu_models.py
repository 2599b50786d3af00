"""What the GPU suite compiles and compares with is sound where there is no GPU, too."""

import numpy as np
import pytest
from gpu_models import LARGE, SIZES, SMALL, compiled, feeds, network, positives, typed
from onnx_models import run, save

from trtbuild.artifacts import Target
from trtbuild.enginerun.profiles import choose_profile
from trtbuild.verification import Rule, verify


def test_the_profiles_of_the_suite_take_every_size_as_its_tests_say():
    profiles = [{"x": tuple((getattr(p.axes["n"], end), 64) for end in ("min", "opt", "max"))} for p in (SMALL, LARGE)]
    taken = [choose_profile(profiles, {"x": (n, 64)}, "plan") for n in SIZES]
    assert taken == [0 if n < 9 else 1 for n in SIZES]


@pytest.mark.parametrize("io", ["keep", "low"])
def test_its_network_builds_for_rtx_with_both_profiles(tmp_path, io):
    pytest.importorskip("tensorrt_rtx")
    precision = "int8" if io == "keep" else "bf16"
    low = typed(precision, tmp_path, **({} if io == "keep" else {"rest": "bf16", "io": "low"}))
    plan = compiled(low, tmp_path / "plan", Target("here", "tensorrt_rtx", "8.9"))
    assert plan.work.shares == {precision: 1}
    assert len(plan.profiles) == 2
    if io == "keep":
        reference = save(network(), tmp_path / "reference.onnx")
        rule = Rule("cosine", min=0.99)
        assert verify(reference, low, feeds(), rule=rule, profiles=(SMALL, LARGE)).passed
    else:
        assert {t.dtype for t in (*plan.inputs, *plan.outputs)} == {"bfloat16"}


def test_its_output_that_depends_on_data_can_be_empty():
    assert run(positives(), {"x": np.full((2, 16), -1, np.float32)})["where"].shape == (2, 0)
