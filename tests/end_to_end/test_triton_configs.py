"""The table of right configs before Triton's own parser, and an ensemble that a real server runs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import triton_cases as cases
from plan_values import plan, profile, proof
from triton_server import environment

from trtbuild.artifacts import TensorSpec, TritonModel
from trtbuild.errors import SpecError, TrtbuildError
from trtbuild.serving import Client, copied, serving
from trtbuild.serving.server import RunningServer
from trtbuild.triton import package
from trtbuild.triton.gating import FIELDS_SINCE
from trtbuild.triton.messages import read_text, write_text
from trtbuild.triton.override import merge
from trtbuild.triton.preflight import live_release

SOUND = "unable to find backend library for backend 'tensorrt'"  # where a sound config ends without that backend
UNREAD = "failed to poll from model repository"  # where the config's text cannot be read
PRE = """
import numpy as np
import triton_python_backend_utils as triton

class TritonPythonModel:
    def execute(self, requests):
        rows = [triton.get_input_tensor_by_name(r, "text").as_numpy() for r in requests]
        parsed = [np.array([[float(v) for v in row[0].decode().split(",")] for row in some], np.float32) for some in rows]
        return [triton.InferenceResponse([triton.Tensor("x", x)]) for x in parsed]
"""
POST = """
import numpy as np
import triton_python_backend_utils as triton

class TritonPythonModel:
    def execute(self, requests):
        values = [triton.get_input_tensor_by_name(r, "y").as_numpy() for r in requests]
        words = [np.array([[f"class {i}".encode()] for i in y.argmax(1)], dtype=object) for y in values]
        return [triton.InferenceResponse([triton.Tensor("label", w)]) for w in words]
"""


def put(done: TritonModel, repository: Path) -> Path:
    """Lays a packaged model, and what goes with it, into a repository."""
    shutil.rmtree(repository / done.name, ignore_errors=True)
    for inside, file in {**{f"{done.name}/{n}": f for n, f in done.files.items()}, **done.beside}.items():
        (repository / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.path, repository / inside)
    return repository


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that has no TensorRT backend: it reads a config to its end, and gets no further."""
    folder = tmp_path_factory.mktemp("parser")
    for name in ("models", "backends"):
        (folder / name).mkdir()
    flags = (f"--backend-directory={folder / 'backends'}",)
    with serving(folder / "models", environment=environment(), flags=flags) as server:
        yield server


def loading(server: RunningServer, done: TritonModel) -> str:
    """Why the server did not load a model."""
    put(done, server.repository)
    with Client(server.grpc) as client, pytest.raises(TrtbuildError) as caught:
        client.load(done.name)
    return str(caught.value)


def kinds(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Every right case: settings for the usual plan, and other plans with two settings each."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {n: (s, {}) for n, s in cases.ACCEPTED.items()}
    for name, changes in cases.odd_plans(folder).items():
        found[name] = ({}, changes)
        found[f"{name}, graphs"] = ({"cuda_graphs": True, "response_cache": True}, changes)
    return found


def test_what_we_accept_the_servers_own_parser_accepts(parser: RunningServer, tmp_path: Path) -> None:
    for name, (settings, changes) in kinds(tmp_path).items():
        one = cases.usual(tmp_path, **changes)
        done = package([one], [proof()], tmp_path / "out", name="net", folder=tmp_path, release="24.10", **settings)
        assert SOUND in loading(parser, done), name


def test_the_parser_would_show_a_wrong_one(parser: RunningServer, tmp_path: Path) -> None:
    done = package([cases.usual(tmp_path)], [proof()], tmp_path / "out", name="net", release="24.10")
    place = done.files["config.pbtxt"].path
    text = place.read_text()
    assert SOUND in loading(parser, done)
    place.write_text(text.replace("max_batch_size: 32", "max_batch_size: 4"))
    assert SOUND not in loading(parser, done), "preferred size 8 is more than 4"


@pytest.mark.parametrize(
    ("field", "added"),
    [
        ("runtime", 'runtime: "libtriton_tensorrt.so"'),
        ("model_metrics", 'model_metrics { metric_control { metric_identifier { family: "a" } histogram_options { buckets: 1 } } }'),
        (
            "is_non_linear_format_io",
            'output { name: "z" data_type: TYPE_FP32 dims: [3, 2, 2] is_non_linear_format_io: true }',
        ),
    ],
)  # fmt: skip
def test_the_server_knows_a_field_from_the_release_on_that_we_say(
    parser: RunningServer, tmp_path: Path, field: str, added: str
) -> None:
    done = package([cases.usual(tmp_path)], [proof()], tmp_path / "out", name="net", release="24.10")
    place = done.files["config.pbtxt"].path
    place.write_text(f"{place.read_text()}{added}\n")
    (since,) = {release for (_, name), release in FIELDS_SINCE.items() if name == field}
    assert (UNREAD in loading(parser, done)) == (since > "24.10")


def unchecked(folder: Path) -> dict[str, Any]:
    """The wrong configs of the table that protobuf takes, as they would be without our checks."""
    done = package([cases.usual(folder)], [proof()], folder / "right", name="net", release="24.10")
    text = done.files["config.pbtxt"].path.read_text()
    found = {}
    for name, (edit, _) in cases.EDITS.items():
        found[name] = read_text(text, name)
        edit(found[name])
    for name, (settings, _) in cases.REFUSED.items():
        if set(settings) == {"override"}:
            config = read_text(text, name)
            with contextlib.suppress(SpecError):
                merge(config, settings["override"])
                found[name] = config
    return found


def test_what_the_server_does_not_notice_is_what_the_table_says(parser: RunningServer, tmp_path: Path) -> None:
    done = package([cases.usual(tmp_path)], [proof()], tmp_path / "out", name="net", release="24.10")
    silent = set()
    for name, config in unchecked(tmp_path).items():
        done.files["config.pbtxt"].path.write_text(write_text(config))
        if SOUND in loading(parser, done):
            silent.add(name)
    assert silent == set(cases.UNNOTICED)


def test_a_running_server_tells_its_release(parser: RunningServer) -> None:
    assert live_release(parser.http).name == "24.10"


def test_a_step_before_and_a_step_after_the_plan_run_as_one_model(tmp_path: Path) -> None:
    """The plan is stood in for by its ONNX in ONNX Runtime; everything around it is Triton's own."""
    (tmp_path / "pre.py").write_text(PRE)
    (tmp_path / "post.py").write_text(POST)
    x, y = (TensorSpec(name, "float32", ("batch", 4)) for name in "xy")
    one = plan(tmp_path, inputs=(x,), outputs=(y,), profiles=(profile(batch=(1, 4, 8)),))
    text = {"dtype": "string", "shape": ["batch", 1]}
    done = package(
        [one], [proof()], tmp_path / "out", name="net", folder=tmp_path, release="24.10", response_cache=True,
        preprocess={"file": "pre.py", "inputs": {"text": text}, "outputs": {"x": None}},
        postprocess={"file": "post.py", "inputs": {"y": None}, "outputs": {"label": text}},
    )  # fmt: skip
    repository = put(done, tmp_path / "models")
    graph = '<ir_version: 8, opset_import: ["": 17]> g (float[batch, 4] x) => (float[batch, 4] y) { y = Neg(x) }'
    onnx.save(onnx.parser.parse_model(graph), repository / "net" / "1" / "model.onnx")
    with (
        serving(copied(repository, tmp_path / "copy"), environment=environment()) as server,
        Client(server.grpc) as client,
    ):
        for model in ("net", "net_preprocess", "net_postprocess", done.calls):
            client.load(model)
        asked = np.array([[b"1,2,-3,4"], [b"5,-6,7,8"]], dtype=object)
        answered = client.infer(done.calls, {"text": asked})
    assert answered["label"].tolist() == [[b"class 2"], [b"class 1"]]
