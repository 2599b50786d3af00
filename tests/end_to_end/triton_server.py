"""A real Triton server for tests: set up once a machine, in the user's cache, and models for it to serve."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest
from harness import cnn

from trtbuild import golden
from trtbuild.artifacts import TensorSpec
from trtbuild.errors import MissingDependencyError
from trtbuild.serving import ServerEnvironment, copied, set_up
from trtbuild.serving.environment import default_folder

SERVERS = default_folder()  # before a test sets TRTBUILD_CACHE to a folder of its own
SHAPE = (1, 8, 8)
CONFIG = """\
name: "tiny"
platform: "tensorrt_plan"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [1, 8, 8] }
output { name: "y" data_type: TYPE_FP32 dims: [10] }
instance_group { count: 1 kind: KIND_GPU }
default_model_filename: "model.plan"
dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 2000 }
response_cache { enable: true }
version_policy { specific { versions: 1 } }
model_warmup { name: "smallest" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [1, 8, 8] random_data: true } } }
model_warmup { name: "largest" batch_size: 8 inputs { key: "x" value { data_type: TYPE_FP32 dims: [1, 8, 8] zero_data: true } } }
"""


@cache
def environment() -> ServerEnvironment:
    """The installed server; installs it, some ten seconds, on a machine's first call, and skips where that fails."""
    try:
        return set_up(SERVERS)
    except MissingDependencyError as error:
        pytest.skip(f"the Triton server cannot be installed here: {error.message}")


def put_version(repository: Path, version: int, seed: int) -> Path:
    """Puts a version of the small CNN into a repository: a plan that nothing reads, and the ONNX the stand-in runs."""
    folder = repository / "tiny" / str(version)
    folder.mkdir(parents=True)
    cnn(folder / "model.onnx", seed=seed)
    (folder / "model.plan").write_bytes(b"a plan of seed %d, which no test loads" % seed)
    return folder


def repository_of(folder: Path, **seeds: int) -> Path:
    """A repository as ``trtbuild package`` writes it, for the small CNN: ``v1=0, v2=1`` are versions and seeds."""
    repository = folder / "models"
    for name, seed in seeds.items():
        put_version(repository, int(name[1:]), seed)
    (repository / "tiny" / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
    return repository


def served(repository: Path) -> Path:
    """The repository in the form that a server without a GPU serves, in its own place."""
    copy = copied(repository, repository.with_name("copy"))
    shutil.rmtree(repository)
    return copy.rename(repository)


def golden_of(folder: Path, seed: int = 0) -> golden.GoldenRequests:
    """Golden requests for the small CNN of a seed, answered by ONNX Runtime here."""
    import numpy as np

    from trtbuild.onnxrun import run, session

    folder.mkdir(parents=True, exist_ok=True)
    model = session(cnn(folder / "reference.onnx", seed=seed))
    random = np.random.default_rng(7)
    feeds = [{"x": random.normal(size=(rows, *SHAPE)).astype(np.float32)} for rows in (1, 3, 8)]
    requests = [golden.GoldenRequest(feed, run(model, feed)) for feed in feeds]
    rule = {"metric": "max_abs", "min": None, "max": 1e-5, "source": "test", "outputs": {}}
    inputs = [TensorSpec("x", "float32", ("batch", *SHAPE))]
    return golden.record(folder / "golden", inputs, requests, reference="sha256:test", rule=rule)
