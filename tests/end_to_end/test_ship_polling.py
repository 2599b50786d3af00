"""A real Triton that polls a repository, under load, while versions are shipped into it and taken back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import onnx
import pytest
from harness import eventually
from onnx import TensorProto, helper, numpy_helper
from shipped_builds import make_build, play, sha256
from triton_server import environment

from trtbuild.serving.client import Client
from trtbuild.serving.server import RunningServer, serving
from trtbuild.shipping import open_storage, promote, read_shipment, rollback, ship, stage
from trtbuild.shipping.shipment import Shipment

POLLS = ("--model-control-mode=poll", "--repository-poll-secs=1")


class Load:
    """A client that asks again and again, and remembers every answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[float] = []
        self.failures: list[str] = []
        self._client = Client(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Load:  # noqa: PYI034 - typing.Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def hears(self, number: int) -> bool:
        """Waits until the last answer is a version's."""
        return eventually(lambda: bool(self.answers) and self.answers[-1] == number, 60)

    def _ask(self) -> None:
        feed = {"x": np.zeros((1, 4), np.float32)}
        while not self._over.is_set():
            try:
                self.answers.append(float(self._client.infer("net", feed)["y"][0, 0]))
            except Exception as error:  # noqa: BLE001 - whatever it is, it counts
                self.failures.append(str(error))


def model(number: int) -> bytes:
    """ONNX that answers with a version's number."""
    weights = [numpy_helper.from_array(np.zeros((4, 2), np.float32), "w"),
               numpy_helper.from_array(np.full(2, number, np.float32), "b")]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def labelled(server: RunningServer) -> str:
    """The label of the first class, as the server gives it."""
    from tritonclient import grpc

    with grpc.InferenceServerClient(server.grpc.removeprefix("grpc://")) as client:
        tensor = grpc.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 4), np.float32))
        asked = [grpc.InferRequestedOutput("y", class_count=2)]
        found = client.infer("net", [tensor], outputs=asked).as_numpy("y")
    rows = [row.decode().split(":") for row in found.ravel()]  # value:class:label
    return next(row[2] for row in rows if row[1] == "0")


@pytest.fixture
def builds(tmp_path: Path) -> list[Shipment]:
    """Builds 1 to 4, and in ``onnx`` what the stand-in answers with for their plans."""
    (tmp_path / "onnx").mkdir()
    made = []
    for number in range(1, 5):
        build = make_build(
            tmp_path / f"b{number}", number, labels=f"labels {number}\nother",
            config_too="instance_group { count: 1 kind: KIND_CPU }\n",
        )  # fmt: skip
        plan = (build / "model_repository/net/1/model.plan").read_bytes()
        onnx.checker.check_model(model(number))
        (tmp_path / "onnx" / f"{sha256(plan)}.onnx").write_bytes(model(number))
        made.append(read_shipment(build))
    return made


@pytest.fixture
def server(tmp_path: Path, builds: list[Shipment]) -> Iterator[RunningServer]:
    """A server that polls a repository with the first build."""
    installed = environment()
    ship(open_storage(tmp_path / "models"), builds[0])
    with serving(tmp_path / "models", environment=installed, flags=POLLS, onnx=tmp_path / "onnx") as running:
        yield running


def test_a_polling_server_drops_no_request(tmp_path: Path, builds: list[Shipment], server: RunningServer) -> None:
    storage = open_storage(tmp_path / "models")
    with Load(server.grpc) as load:
        assert load.hears(1)
        for number in (2, 3):
            ship(storage, builds[number - 1], keep=2)
            assert load.hears(number)
        rollback(storage, "net")
        assert load.hears(2)
        staged = stage(storage, builds[3])
        asked = len(load.answers)
        time.sleep(2.5)  # two polls: what is staged must not be served
        assert eventually(lambda: len(load.answers) > asked)
        assert set(load.answers[asked:]) == {2}
        promote(storage, "net", staged.version)
        assert load.hears(4)
        assert labelled(server) == "labels 4", "the server finds a version's labels where its config says"
    assert load.failures == []
    assert [answer for answer, _ in groupby(load.answers)] == [1, 2, 3, 2, 4], "each in its turn, and no other"
    assert server.causes() == []


@pytest.mark.usefixtures("builds")
def test_ships_that_are_killed_beside_a_polling_server_fail_no_request(tmp_path: Path, server: RunningServer) -> None:
    with Load(server.grpc) as load:
        assert load.hears(1)
        found = play("kill_beside_a_server", tmp_path)
        assert load.hears(4)
    assert found["killed"] == 12
    assert load.failures == []
    assert set(load.answers) <= {1, 2, 3, 4}
