"""Tries a model folder on a real Triton server: loads it, sends golden requests, looks at what the server counted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trtbuild.errors import ServerError, UsageError
from trtbuild.golden import GoldenRequests
from trtbuild.serving.client import Client, metrics
from trtbuild.serving.copies import CONFIG, copied, is_tensorrt, models
from trtbuild.serving.environment import RELEASE, SERVER_VERSION, ServerEnvironment
from trtbuild.serving.load import Load
from trtbuild.serving.server import RunningServer, serving
from trtbuild.triton.gating import newer_fields
from trtbuild.verification import CallableModel, verify_against

NOT_RUN = (
    "the plan itself was not run: a stand-in for Triton's TensorRT backend ran the ONNX that it was compiled from, "
    "in ONNX Runtime on the CPU"
)
CONCURRENCY, REQUESTS = 16, 128
"""Threads and single-row requests by which dynamic batching is looked for."""

_COUNTING_S = 5.0  # how long the server may take to count what it has answered

Outcome = Literal["passed", "not passed", "not asked for"]


@dataclass(frozen=True)
class ServeFinding:
    """One thing that was tried.

    Attributes:
        name: What it is.
        outcome: How it went; ``not asked for`` where the config has no such thing.
        said: What was seen, in a few words.
    """

    name: str
    outcome: Outcome
    said: str


@dataclass(frozen=True)
class ServeCheck:
    """What became of a model folder on a real server.

    Attributes:
        model: The model's name.
        version: The version that was asked.
        server: Which server it was.
        findings: What was tried, in order.
        notes: What a reader must know of how it ran.
    """

    model: str
    version: int
    server: str
    findings: tuple[ServeFinding, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that was tried went wrong."""
        return all(f.outcome != "not passed" for f in self.findings)


def serve_check(
    repository: Path,
    golden: GoldenRequests,
    *,
    model: str | None = None,
    onnx: Path | None = None,
    environment: ServerEnvironment | None = None,
) -> ServeCheck:
    """Starts a server on the loopback and tries a model of a repository on it.

    Args:
        repository: The model repository; it is copied, and not written to.
        golden: Requests with the answers they must get, and the rule these are held to.
        model: Which model; may be left out where only one is served by TensorRT.
        onnx: The ONNX that its newest plan was compiled from, where it does not lie where a build puts it.
        environment: The installed server; by default the one in the user's cache.

    Raises:
        UsageError: The model or the ONNX is not found, or the config is for a later server.
        MissingDependencyError: The server has not been set up.
        ServerError: It does not start, or does not load the model.
    """
    name, config = _model(repository, model)
    for path, since in newer_fields(config, RELEASE):
        raise UsageError(
            f"Triton {since} is the first that has this field, and the server of the wheel is {RELEASE}",
            place=f"{repository / name / CONFIG}: {path}",
            hint=f"try it on the image: trtbuild serve-check --image {since} {repository}",
        )
    with tempfile.TemporaryDirectory(prefix="trtbuild-check-") as folder:
        copy = copied(repository, Path(folder) / "models", onnx=onnx)
        with serving(copy, environment=environment, flags=["--log-verbose=1"]) as server:
            return _checked(server, name, config, golden)


def _model(repository: Path, asked: str | None) -> tuple[str, Any]:
    from trtbuild.registry import nearest_hint

    found = models(repository)
    if asked is not None:
        if asked not in found:
            raise UsageError(
                f"there is no model {asked!r} in it", place=str(repository), hint=nearest_hint(asked, found)
            )
        return asked, found[asked]
    plans = [name for name, config in found.items() if is_tensorrt(config)]
    if len(plans) != 1:
        raise UsageError(
            f"it has {len(plans)} models for TensorRT", place=str(repository), hint="name one with --model"
        )
    return plans[0], found[plans[0]]


def _checked(server: RunningServer, name: str, config: Any, golden: GoldenRequests) -> ServeCheck:
    with Client(server.http) as http, Client(server.grpc) as grpc:
        findings = [_loaded(server, grpc, name), _warmed(server, config)]
        version = grpc.ready_versions(name)[-1]
        for protocol, client in (("HTTP", http), ("gRPC", grpc)):
            findings.append(answered(client, name, version, golden, f"answers over {protocol}"))
        findings.append(_batched(server, name, config, golden))
        findings.append(_cached(server, grpc, name, config, golden))
    said = f"Triton {SERVER_VERSION} ({RELEASE}) on the CPU"
    return ServeCheck(name, version, said, tuple(findings), _notes(config))


def _notes(config: Any) -> tuple[str, ...]:
    backend = config.parameters["trtbuild.backend"].string_value if "trtbuild.backend" in config.parameters else ""
    if not backend.startswith("tensorrt_rtx"):
        return (NOT_RUN,)
    return NOT_RUN, f"the plan is of {backend}: the TensorRT backend of Triton's images does not load it"


def _loaded(server: RunningServer, client: Client, name: str) -> ServeFinding:
    started = time.monotonic()
    try:
        client.load(name)
    except ServerError as error:
        reasons = [cause for cause in server.causes() if name in cause] or [error.message]
        raise ServerError(
            f"the server does not load it: {reasons[-1]}",
            place=name,
            hint="the server's own words; `trtbuild package` writes configs that load",
        ) from error
    seconds = time.monotonic() - started
    return ServeFinding("loaded and ready", _outcome(client.is_ready(name)), f"{seconds:.2f} s")


def _warmed(server: RunningServer, config: Any) -> ServeFinding:
    """The server's log names each warm-up sample that it ran."""
    samples = [w.name for w in config.model_warmup]
    if not samples:
        return ServeFinding("warm-up", "not asked for", "the config has none")
    log = server.log.read_text(encoding="utf-8", errors="replace")
    ran = [s for s in samples if f"running warmup sample '{s}'" in log]
    return ServeFinding("warm-up", _outcome(ran == samples), f"{len(ran)} of {len(samples)} samples ran")


def answered(client: Client, model: str, version: int | None, golden: GoldenRequests, name: str) -> ServeFinding:
    """Sends the golden requests and holds the answers against the recorded rule.

    Args:
        client: The server.
        model: The model to ask.
        version: Its version; None for the server's choice.
        golden: The requests.
        name: What to call the finding.

    Raises:
        IntegrityError: A recorded request is damaged.
    """
    asked = CallableModel(f"{model} on {client.url}", model, lambda feed: client.infer(model, feed, version))
    try:
        proof = verify_against(golden, asked)
    except ServerError as error:
        return ServeFinding(name, "not passed", error.message)
    said = "; ".join(f"{g.rule}: {g.value:.6g}" for g in proof.gates[1:] or proof.gates)
    wrong = [g.rule for g in proof.gates if not g.passed]
    requests = f"{len(golden.files)} requests, {proof.samples} rows"
    return ServeFinding(name, _outcome(proof.passed), f"{requests}; {said}" + (f"; not: {wrong[0]}" if wrong else ""))


def _batched(server: RunningServer, name: str, config: Any, golden: GoldenRequests) -> ServeFinding:
    """Single rows from several threads take fewer executions than requests where the server puts them together."""
    if not config.HasField("dynamic_batching"):
        return ServeFinding("dynamic batching", "not asked for", "the config has none")
    before = metrics(server.metrics, name)
    with Load(server.grpc, name, _single_rows(golden), CONCURRENCY, requests=REQUESTS) as load:
        pass
    if load.failures:
        return ServeFinding("dynamic batching", "not passed", load.failures[0])
    after = _counted(server, name, before, REQUESTS)
    rows, runs = (_grown(before, after, f"nv_inference_{n}") for n in ("count", "exec_count"))
    return ServeFinding(
        "dynamic batching", _outcome(runs < rows), f"{REQUESTS} requests: {rows} rows in {runs} executions"
    )


def _counted(server: RunningServer, name: str, before: dict[str, float], rows: int) -> dict[str, float]:
    """The model's metrics once they count as many rows as were answered: the server counts after it answers."""
    patience = time.monotonic() + _COUNTING_S
    while True:
        after = metrics(server.metrics, name)
        if _grown(before, after, "nv_inference_count") >= rows or time.monotonic() > patience:
            return after
        time.sleep(0.02)


def _single_rows(golden: GoldenRequests) -> Sequence[dict[str, Any]]:
    """Requests of one row, no two of floats alike: a response cache would answer the second."""
    rows = [
        {name: array[r : r + 1] for name, array in request.feed.items()}
        for request in golden
        for r in range(next(iter(request.feed.values())).shape[0])
    ]
    return [{k: _scaled(a, 1 + (n + 1) / 4096) for k, a in rows[n % len(rows)].items()} for n in range(REQUESTS)]


def _scaled(array: Any, factor: float) -> Any:
    return (array * array.dtype.type(factor)) if array.dtype.kind == "f" else array


def _cached(server: RunningServer, client: Client, name: str, config: Any, golden: GoldenRequests) -> ServeFinding:
    if not config.response_cache.enable:
        return ServeFinding("response cache", "not asked for", "the config has none")
    request = next(iter(golden))
    counter = "nv_cache_num_hits_per_model"
    client.infer(name, request.feed)
    before = metrics(server.metrics, name)
    client.infer(name, request.feed)
    hits = _grown(before, metrics(server.metrics, name), counter)
    return ServeFinding("response cache", _outcome(hits == 1), f"a repeated request: {hits} hit")


def _grown(before: dict[str, float], after: dict[str, float], counter: str) -> int:
    return int(after.get(counter, 0.0) - before.get(counter, 0.0))


def _outcome(passed: bool) -> Outcome:
    return "passed" if passed else "not passed"
