"""The GPU suite: `pytest -m gpu` on a machine with an NVIDIA GPU. Everywhere else it is one line that says why not."""

import importlib.util

import pytest
from gpu_models import SMALL, TYPED, compiled, positives, typed
from onnx_models import save

from trtbuild.artifacts import Target
from trtbuild.backends import BACKENDS
from trtbuild.device import gpus

FLAVOURS = ("tensorrt", "tensorrt_rtx")


def missing():
    """What this machine lacks for the suite; None when nothing."""
    if not gpus():
        return "no NVIDIA GPU here (nvidia-smi shows none): the GPU suite was not run"
    lacking = [p for p in ("pycuda", "cuda") if importlib.util.find_spec(p) is None]
    if lacking:
        return f"{' and '.join(lacking)} not installed (pip install 'trtbuild[gpu]'): the GPU suite was not run"
    if not any(importlib.util.find_spec(BACKENDS.load(flavour).PACKAGE) for flavour in FLAVOURS):
        return "neither tensorrt nor tensorrt_rtx is installed: the GPU suite was not run"
    return None


def pytest_runtest_setup(item):
    why = missing() if item.get_closest_marker("gpu") else None
    if why:
        pytest.skip(why)


@pytest.fixture(scope="session", params=FLAVOURS)
def here(request):
    """This machine's GPU as a target, for each flavour that is installed and serves it."""
    if importlib.util.find_spec(request.param) is None:  # not imported: a process holds one flavour
        pytest.skip(f"{request.param} is not installed")
    capability = gpus()[0].compute_capability
    served = BACKENDS.load(request.param).CAPABILITIES
    if served is not None and capability not in served:
        pytest.skip(f"{request.param} does not build for compute capability {capability}")
    return Target("here", request.param, capability)


@pytest.fixture(scope="session")
def finding(here, tmp_path_factory):
    """A plan with an output whose size depends on the data."""
    if here.backend == "tensorrt_rtx":
        pytest.skip("TensorRT-RTX builds no such output: NonZero is a plugin to it, and it has none (seen with 1.7.1)")
    folder = tmp_path_factory.mktemp("positives")
    return compiled(save(positives(), folder / "positives.onnx"), folder / "plan", here, (SMALL,))


@pytest.fixture(scope="session")
def built(here, tmp_path_factory):
    """The network in each precision that this GPU can do, compiled with two profiles: name to (typed, plan)."""
    found = {}
    for precision in (p for p in TYPED if not (here.sm < 80 and p == "bf16")):
        folder = tmp_path_factory.mktemp(precision)
        low = typed(precision, folder)
        found[precision] = (low, compiled(low, folder / "plan", here))
    return found
