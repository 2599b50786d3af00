"""What stages hand on: frozen values that name the files they stand for by digest.

Every stage takes some of these and returns one. They are plain data: JSON in the store and in reports, no behaviour
beyond reading themselves. Files are named by a path relative to the entry they lie in, so that an entry can be moved.
"""

from __future__ import annotations

from trtbuild.artifacts.advice import Advice, AdvisedStep, Bottleneck, GraphProfile, StepVerdict, TimeShare
from trtbuild.artifacts.delivery import Build, StageRecord, TritonModel
from trtbuild.artifacts.diagnosis import Cause, Diagnosis, Suspect, TensorError
from trtbuild.artifacts.differences import INSIGNIFICANT, Change, Difference
from trtbuild.artifacts.engines import EnginePlan, PrecisionShare
from trtbuild.artifacts.estimates import Bound, Estimate, PartEstimate
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
    WrongEdit,
)
from trtbuild.artifacts.layers import EngineLayer, EngineLayers, EngineTensor, LayerTensor, Role, WorkShare
from trtbuild.artifacts.options import BuildOptions
from trtbuild.artifacts.proofs import (
    GateResult,
    OutputComparison,
    ScoreAgreement,
    ShapeCheck,
    TaskScore,
    Verification,
    WorstElement,
)
from trtbuild.artifacts.search import Front, FrontPoint, NodeSensitivity, SensitivityTable
from trtbuild.artifacts.speed import (
    PHASES,
    Benchmark,
    End,
    Kind,
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
    Gap,
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
    "INSIGNIFICANT",
    "PHASES",
    "QUANTIZED",
    "Advice",
    "AdvisedStep",
    "AppliedEdit",
    "AxisRange",
    "Benchmark",
    "Bottleneck",
    "Bound",
    "Build",
    "BuildOptions",
    "CalibrationTable",
    "Cause",
    "Change",
    "ChannelRange",
    "DeclinedMatch",
    "Diagnosis",
    "Difference",
    "End",
    "EngineLayer",
    "EngineLayers",
    "EnginePlan",
    "EngineTensor",
    "EntryPath",
    "EqualizedOnnx",
    "Estimate",
    "ExportedOnnx",
    "Front",
    "FrontPoint",
    "Gap",
    "GateResult",
    "GpuState",
    "GraphProfile",
    "Kind",
    "Latency",
    "LayerTensor",
    "NodePrecision",
    "NodeSensitivity",
    "OptimizationProfile",
    "OutputComparison",
    "PartEstimate",
    "Phase",
    "Precision",
    "PrecisionShare",
    "ProfileAdvice",
    "RewrittenOnnx",
    "Role",
    "ScoreAgreement",
    "SensitivityTable",
    "ShapeCheck",
    "ShapeParity",
    "SpeedGate",
    "SpeedResult",
    "StageRecord",
    "StepVerdict",
    "StoredFile",
    "Suspect",
    "Target",
    "TargetRates",
    "TaskScore",
    "TensorError",
    "TensorRange",
    "TensorSpec",
    "TimeShare",
    "Timing",
    "TriedTransform",
    "TritonModel",
    "TypedOnnx",
    "Verification",
    "WorkShare",
    "WorstElement",
    "WrongEdit",
    "from_json",
    "stored_files",
    "to_json",
]
