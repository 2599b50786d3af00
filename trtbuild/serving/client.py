"""A client of a Triton server over HTTP or gRPC: one interface to both of tritonclient's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trtbuild.errors import ServerError, UsageError, missing_package

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

    Arrays = Mapping[str, NDArray[Any]]

_METRIC = re.compile(r"^(\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Client:
    """Talks to one server. With gRPC it may be used by several threads, with HTTP by one.

    Args:
        url: ``http://host:port`` or ``grpc://host:port``.
        timeout_s: Seconds after which a request counts as lost; loading a model may take this long.

    Raises:
        UsageError: The URL is of neither protocol.
        MissingDependencyError: tritonclient is not installed.
    """

    def __init__(self, url: str, *, timeout_s: float = 300) -> None:
        scheme, _, address = url.rstrip("/").partition("://")
        if scheme not in ("http", "grpc") or not address:
            raise UsageError(
                "this is no address of a Triton server",
                place=url,
                hint="write http://HOST:8000 or grpc://HOST:8001",
            )
        self.url = url
        self._timeout = timeout_s
        try:
            if scheme == "http":
                from tritonclient import http as api
            else:
                from tritonclient import grpc as api
        except (ImportError, RuntimeError) as error:
            raise missing_package(
                f"tritonclient[{scheme}]", "triton", needed_for="talking to a Triton server"
            ) from error
        self._api = api
        self._grpc = scheme == "grpc"
        limits = {} if self._grpc else {"connection_timeout": timeout_s, "network_timeout": timeout_s}
        self._client = api.InferenceServerClient(address, **limits)
        self._configs: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def lives(self) -> bool:
        """Whether a server answers at all."""
        try:
            with self._asking("asking whether it lives"):
                return bool(self._client.is_server_live(**self._limit(10)))
        except ServerError:
            return False

    def is_ready(self, model: str, version: int | None = None) -> bool:
        """Whether a version of a model, or any of it, answers requests."""
        with self._asking(f"asking for {model}"):
            return bool(self._client.is_model_ready(model, str(version or ""), **self._limit()))

    def load(self, model: str) -> None:
        """Loads a model as its folder says; where it is loaded already, the change is made without a pause.

        Raises:
            ServerError: It cannot be loaded; what was served before still is.
        """
        self._configs.pop(model, None)
        with self._asking(f"loading {model}"):
            self._client.load_model(model, **self._limit())

    def unload(self, model: str) -> None:
        """Unloads a model; one that is not loaded is no error."""
        self._configs.pop(model, None)
        with self._asking(f"unloading {model}"):
            self._client.unload_model(model, **self._limit())

    def versions(self, model: str) -> dict[int, str]:
        """Version of a model to its state, as the server's index has it: READY, UNAVAILABLE and so on."""
        with self._asking("reading its index"):
            found: Any = self._client.get_model_repository_index(**self._limit())
        rows = [(m.name, m.version, m.state) for m in found.models] if self._grpc else [
            (m["name"], m.get("version", ""), m.get("state", "")) for m in found
        ]  # fmt: skip
        return {int(version): state for name, version, state in rows if name == model and version}

    def ready_versions(self, model: str) -> tuple[int, ...]:
        """The versions of a model that answer requests, ascending."""
        return tuple(sorted(v for v, state in self.versions(model).items() if state == "READY"))

    def config(self, model: str) -> dict[str, Any]:
        """The config that a loaded model is served with, as JSON values."""
        with self._asking(f"reading the config of {model}"):
            if self._grpc:
                return dict(self._client.get_model_config(model, as_json=True, **self._limit())["config"])
            return dict(self._client.get_model_config(model))

    def infer(self, model: str, feed: Arrays, version: int | None = None) -> dict[str, NDArray[Any]]:
        """Sends one request.

        Args:
            model: The model's name.
            feed: Input name to array, the batch axis first where the model has one.
            version: The version to ask; None for the server's choice.

        Returns:
            Output name to array.

        Raises:
            ServerError: The server refused it, or did not answer.
        """
        from tritonclient.utils import np_to_triton_dtype

        config = self._configs.get(model) or self._configs.setdefault(model, self.config(model))
        reshaped = {t["name"]: [int(d) for d in t["dims"]] for t in config.get("input", []) if "reshape" in t}
        inputs = []
        for name, array in feed.items():
            sent = array.reshape(*array.shape[:1], *reshaped[name]) if name in reshaped else array
            kind = np_to_triton_dtype(sent.dtype)
            if kind is None:
                raise UsageError(
                    f"the client cannot send {sent.dtype}", place=f"input {name}", hint="cast it in the model"
                )
            inputs.append(self._api.InferInput(name, list(sent.shape), kind))
            inputs[-1].set_data_from_numpy(sent)
        with self._asking(f"asking {model}"):
            answer = self._client.infer(model, inputs, model_version=str(version or ""), **self._limit())
        found = {}
        for output in config.get("output", []):
            array = answer.as_numpy(output["name"])
            if "reshape" in output:  # one value a row: Triton has no empty dims
                inner = [int(d) for d in (output["reshape"] or {}).get("shape", [])]
                array = array.reshape(*array.shape[:1], *inner)
            found[output["name"]] = array
        return found

    def _limit(self, seconds: float | None = None) -> dict[str, float]:
        return {"client_timeout": seconds or self._timeout} if self._grpc else {}

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """The errors of both clients, and of their transports, as one."""
        from tritonclient.utils import InferenceServerException

        try:
            yield
        except (InferenceServerException, OSError, ValueError, RuntimeError) as error:
            said = str(error.message()) if isinstance(error, InferenceServerException) else f"{error}"
            first = said.strip().split("\n", 1)[0]  # a python backend's traceback follows
            raise ServerError(
                f"{what}: {first or type(error).__name__}", place=self.url, hint="look into the server's log"
            ) from error


def metrics(url: str, model: str) -> dict[str, float]:
    """A server's counters of one model, summed over its versions: metric name to value.

    Raises:
        ServerError: It does not answer.
    """
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as answer:  # noqa: S310 - the address of a server that we started
            text = answer.read().decode()
    except (URLError, OSError) as error:
        raise ServerError(f"reading its metrics: {error}", place=url, hint="look into the server's log") from error
    found: dict[str, float] = {}
    for name, labels, value in _METRIC.findall(text):
        if dict(_LABEL.findall(labels)).get("model") == model:
            found[name] = found.get(name, 0.0) + float(value)
    return found
