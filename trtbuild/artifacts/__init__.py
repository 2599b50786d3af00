"""What stages hand on: frozen values that name the files they stand for by digest.

Every stage takes some of these and returns one. They are plain data: JSON in the store and in reports, no behaviour
beyond reading themselves. Files are named by a path relative to the entry they lie in, so that an entry can be moved.
"""

from __future__ import annotations

from trtbuild.artifacts.delivery import Build, StageRecord, TritonModel
from trtbuild.artifacts.engines import EngineLayer, EnginePlan, PrecisionShare
from trtbuild.artifacts.files import EntryPath, StoredFile, from_json, stored_files, to_json
from trtbuild.artifacts.graphs import (
    AppliedEdit,
    CalibrationTable,
    ChannelRange,
    DeclinedMatch,
    EqualizedOnnx,
    ExportedOnnx,
    RewrittenOnnx,
    ShapeParity,
    TensorRange,
    TriedTransform,
    TypedOnnx,
)
from trtbuild.artifacts.proofs import GateResult, OutputComparison, TaskScore, Verification, WorstElement
from trtbuild.artifacts.search import Front, FrontPoint, NodeSensitivity, SensitivityTable
from trtbuild.artifacts.speed import (
    PHASES,
    Benchmark,
    End,
    Latency,
    Phase,
    ProfileAdvice,
    SpeedGate,
    SpeedResult,
    Timing,
)
from trtbuild.artifacts.tensors import (
    CALIBRATED,
    QUANTIZED,
    AxisRange,
    NodePrecision,
    OptimizationProfile,
    Precision,
    Target,
    TargetRates,
    TensorSpec,
)
from trtbuild.device import GpuState

__all__ = [
    "CALIBRATED",
    "PHASES",
    "QUANTIZED",
    "AppliedEdit",
    "AxisRange",
    "Benchmark",
    "Build",
    "CalibrationTable",
    "ChannelRange",
    "DeclinedMatch",
    "End",
    "EngineLayer",
    "EnginePlan",
    "EntryPath",
    "EqualizedOnnx",
    "ExportedOnnx",
    "Front",
    "FrontPoint",
    "GateResult",
    "GpuState",
    "Latency",
    "NodePrecision",
    "NodeSensitivity",
    "OptimizationProfile",
    "OutputComparison",
    "Phase",
    "Precision",
    "PrecisionShare",
    "ProfileAdvice",
    "RewrittenOnnx",
    "SensitivityTable",
    "ShapeParity",
    "SpeedGate",
    "SpeedResult",
    "StageRecord",
    "StoredFile",
    "Target",
    "TargetRates",
    "TaskScore",
    "TensorRange",
    "TensorSpec",
    "Timing",
    "TriedTransform",
    "TritonModel",
    "TypedOnnx",
    "Verification",
    "WorstElement",
    "from_json",
    "stored_files",
    "to_json",
]
