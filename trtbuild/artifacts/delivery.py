"""What a build hands to the user: Triton folders, and everything its report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trtbuild.artifacts.engines import EnginePlan
from trtbuild.artifacts.files import StoredFile
from trtbuild.artifacts.graphs import CalibrationTable, EqualizedOnnx, ExportedOnnx, RewrittenOnnx, TypedOnnx
from trtbuild.artifacts.proofs import Verification
from trtbuild.artifacts.search import Front
from trtbuild.artifacts.speed import Benchmark, SpeedGate
from trtbuild.artifacts.tensors import Precision


@dataclass(frozen=True)
class TritonModel:
    """A Triton model folder.

    Attributes:
        name: The folder's and the model's name.
        files: Path inside the folder to the file.
        plans: Plan digest to its path inside the folder.
        serving: ``triton`` when a release's TensorRT backend can load the plans, else the reason it cannot.
        notes: What a reader should know before serving it.
        beside: Files of the models that go with it, steps and their ensemble: path inside the repository to the file.
        calls: The model that a client calls: the ensemble where there is one.
        flags: The server's flags that it needs.
        docker_run: The line that starts the release's image on ``./model_repository``; empty where that is known not to
            load the plans.
    """

    name: str
    files: Mapping[str, StoredFile]
    plans: Mapping[str, str]
    serving: str
    notes: tuple[str, ...] = ()
    beside: Mapping[str, StoredFile] = field(default_factory=dict)
    calls: str = ""
    flags: tuple[str, ...] = ()
    docker_run: str = ""


@dataclass(frozen=True)
class StageRecord:
    """One stage of a build: what happened, whether it was known already, how long it took.

    Attributes:
        stage: The stage, with its target where there are several.
        key: Digest of its recipe in the store.
        inputs: Role of each of its inputs to its digest.
        hit: True when the store had its result.
        seconds: Time this run spent on it.
        said: What it did, line by line.
    """

    stage: str
    key: str
    inputs: Mapping[str, str]
    hit: bool
    seconds: float
    said: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """Everything a build came to: what its report is made from.

    Attributes:
        name: Model name.
        source: The model's source, as the spec names it.
        inputs: Role of everything the build read to its digest: spec, model, data.
        precision: What was asked for.
        calibration_reader: The reader, as the spec names it; None without calibration.
        exported: The FP32 reference.
        rewritten: After the rewrite rules.
        equalized: With channels balanced for INT8; None where nothing was tried.
        table: Activation ranges; None when the precision needs none.
        front: What the search for precision ``best`` found; None for other precisions.
        typed: What was compiled.
        plans: One a target.
        verifications: The proofs.
        benchmark: Measurements; None when no plan could be run.
        speed: The speed gate; None for a precision that makes no claim to speed.
        packaged: Triton folders; empty when a gate did not pass.
        stages: What happened, in order.
        versions: Package to version.
        warnings: What a person must know before serving this.
        asked: The spec: the keys that were set, as JSON values.
    """

    name: str
    source: str
    inputs: Mapping[str, str]
    precision: Precision
    calibration_reader: str | None
    exported: ExportedOnnx
    rewritten: RewrittenOnnx
    equalized: EqualizedOnnx | None
    table: CalibrationTable | None
    front: Front | None
    typed: TypedOnnx
    plans: tuple[EnginePlan, ...]
    verifications: tuple[Verification, ...]
    benchmark: Benchmark | None
    packaged: tuple[TritonModel, ...]
    stages: tuple[StageRecord, ...]
    versions: Mapping[str, str]
    warnings: tuple[str, ...]
    speed: SpeedGate | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every verification passed, and the speed gate."""
        proved = bool(self.verifications) and all(v.passed for v in self.verifications)
        return proved and (self.speed is None or self.speed.passed)
