"""What a user asks for, as pydantic models. Their JSON Schema is what ``trtbuild schema`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from trtbuild.artifacts import CALIBRATED, AxisRange, NodePrecision, OptimizationProfile, Precision, TensorSpec
from trtbuild.registry import nearest_hint
from trtbuild.spec.build import BuildSpec
from trtbuild.spec.cost import CostSpec
from trtbuild.spec.profiles import Profile
from trtbuild.spec.speed import SpeedSpec
from trtbuild.spec.targets import TargetSpec
from trtbuild.spec.triton import TritonSpec

DTypeName = Literal[
    "float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"
]  # what a graph input may be; bfloat16 inputs have no NumPy type to feed them with


def _not_dynamic(value: Any) -> Any:
    if isinstance(value, str) and "dynamic" in value.lower():
        raise ValueError(
            "no backend finds INT8 or FP8 scales of activations at run time: tensorrt from 10.16 on and tensorrt_rtx "
            "do that for blocks in NVFP4 and MXFP8 only, which trtbuild does not write; take int8 or fp8 with a "
            "calibration block, or int8_weights, which needs no ranges"
        )
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class InputSpec(_Strict):
    """One input of the model."""

    dtype: DTypeName = Field(description="Element type.")
    shape: list[int | str] = Field(description="A size, or the name of a dynamic axis, for each axis.")
    range: tuple[float, float] | None = Field(
        None, description="Smallest and largest value of random inputs; [-1, 1] for floats, [0, 1] for integers."
    )

    @field_validator("shape")
    @classmethod
    def _sizes(cls, shape: list[int | str]) -> list[int | str]:
        for size in shape:
            if isinstance(size, int) and size < 1:
                raise ValueError(f"size {size} is not possible; give a dynamic axis a name, such as 'batch'")
            if isinstance(size, str) and not size.isidentifier():
                raise ValueError(f"axis name {size!r} is not a plain name (letters, digits, underscore)")
        return shape


class ModelSpec(_Strict):
    """The model and how it is exported."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the model and of its Triton folder.")
    source: str = Field(
        description="package.module:callable or file.py:callable returning an nn.Module, an .onnx file, or a "
        "Hugging Face folder. Files are relative to the spec."
    )
    weights: str | None = Field(
        None, description="A state_dict file loaded into the module with weights_only=True; relative to the spec."
    )
    inputs: dict[str, InputSpec] = Field(
        default_factory=dict, description="Inputs by name, in the order of forward(). May be left out for .onnx."
    )
    outputs: list[str] | None = Field(None, description="Names for the outputs, in order.")
    exporter: Literal["auto", "dynamo", "torchscript"] = Field(
        "auto", description="auto tries dynamo and falls back to torchscript, and says so."
    )
    opset: int = Field(20, ge=17, description="ONNX opset to export; dynamo has 18 and later, torchscript up to 20.")
    depends_on: list[str] = Field(
        default_factory=list,
        description="Files and folders that fully determine the module. When given, their digests stand for it, and a "
        "repeated build does not load it; when left out, the module is loaded and its weights are compared.",
    )


TRANSFORMS = (
    "smoothing", "cross_layer", "branch_smoothing",
    "weight_clipping", "weight_rounding", "bias_correction", "empirical_bias_correction",
)  # fmt: skip
"""What calibration and precision assignment can try for better INT8."""


class CalibrationSpec(_Strict):
    """Data and method that settle INT8 ranges."""

    reader: str = Field(
        description="file.py:function or package.module:function yielding feeds, an object that holds them (a list, a "
        "DataLoader), or 'random'. calibration/images.py:batches, arrays.py and text.py ship: docs/readers.md."
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments for the reader. Those that ship choose by seed (0; null keeps the order) and "
        "leave out the first skip rows of that order.",
    )
    samples: int = Field(512, ge=1, description="Rows (images, sentences) to run at most.")
    method: str = Field(
        "auto", description="Calibration method; `trtbuild methods` lists them. auto measures on rows kept apart."
    )
    transforms: list[str] = Field(
        default_factory=lambda: list(TRANSFORMS),
        description="What is tried for more faithful INT8, in this order; each is kept only where rows kept apart say "
        "that it helps. [] for nothing.",
    )
    budget_mb: float = Field(48, gt=0, description="What the measured tensors may take in memory at a time, MB.")

    @field_validator("transforms")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in TRANSFORMS:
                raise ValueError(f"there is no transform {name!r}; {nearest_hint(name, TRANSFORMS)}")
        return names


FidelityMetric = Literal[
    "cosine", "sqnr", "psnr", "top1_agreement", "top5_agreement", "max_abs", "p99_abs", "max_rel", "p99_rel", "kl"
]
"""Metrics of an output against the FP32 reference's; the last five are errors and take ``max``."""


class OutputRuleSpec(_Strict):
    """What one output must pass, instead of the rule for all."""

    metric: FidelityMetric = Field(description="Taken against the FP32 reference.")
    min: float | None = Field(None, description="Smallest value that passes.")
    max: float | None = Field(None, description="Largest value that passes, for errors.")


class AccuracySpec(_Strict):
    """Held-out data and the rule the result must pass."""

    data: str = Field(
        description="file.py:function yielding feeds or (feed, labels) pairs, an object that holds them, or 'random'; "
        "as calibration.reader."
    )
    args: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the reader.")
    samples: int = Field(512, ge=1, description="Rows to run at most.")
    metric: str = Field(
        "cosine",
        description="Against the FP32 reference: cosine, sqnr, psnr, top1_agreement, top5_agreement (min) or max_abs, "
        "p99_abs, max_rel, p99_rel, kl (max). Against labels, on both sides: top1, or file.py:function taking "
        "(outputs, labels) and returning one score a row (min, max_drop).",
    )
    min: float | None = Field(None, description="Smallest value of the metric that passes.")
    max: float | None = Field(None, description="Largest value that passes, for metrics that are errors.")
    max_drop: float | None = Field(
        None,
        ge=0,
        description="Largest drop of a task metric against FP32 that passes, in the metric's unit. With 95 % "
        "confidence: too few rows to tell do not pass.",
    )
    outputs: dict[str, OutputRuleSpec] = Field(
        default_factory=dict,
        description="Output name to the rule for it, for example {boxes: {metric: max_abs, max: 0.01}}.",
    )
    golden: int = Field(
        8, ge=0, description="Held-out samples that are kept with the reference's answers in golden/, for serving."
    )

    @model_validator(mode="after")
    def _bounds(self) -> AccuracySpec:
        if self.max_drop is not None and self.metric in ("cosine", "sqnr"):
            raise ValueError(f"max_drop is for task metrics such as top1; {self.metric} takes min")
        if self.min is None and self.max_drop is None and self.max is None:
            raise ValueError("say what passes: min (for cosine, sqnr or a score) or max_drop (for a task metric)")
        return self


class SearchSpec(_Strict):
    """How precision 'best' searches."""

    exact: bool = Field(
        False,
        description="Run the model once a node to find what quantising it does, instead of estimating all at once.",
    )
    time_budget_s: float | None = Field(
        None, gt=0, description="Seconds of measuring after which the best graph so far is taken; default: no limit."
    )


class RewriteSpec(_Strict):
    """What the rewrite rules may do."""

    skip: list[str] = Field(default_factory=list, description="Rules to leave out; `trtbuild rules` lists them.")
    rules: list[str] = Field(
        default_factory=list, description="Python files with rules of your own, relative to the spec."
    )
    prove: bool = Field(
        False, description="Compare what every edit makes, not only the outputs, at more sizes, and undo what differs."
    )


class Spec(_Strict):
    """trtbuild.yaml: a model, what to make of it, and for what."""

    model: ModelSpec
    profiles: list[Profile | str] = Field(
        default_factory=list,
        description="Optimisation profiles: [min, opt, max] of each named axis; or the name of one that ships.",
    )
    precision: Annotated[Precision, BeforeValidator(_not_dynamic)] = Field(
        "fp16",
        description="What the matrix work shall run in; int8_weights and int4 store weights in it and run in FP16.",
    )
    rest: Literal["fp16", "bf16", "fp32"] = Field(
        "fp16", description="What all that a quantised precision leaves in float runs in."
    )
    io: Literal["keep", "low"] = Field(
        "keep", description="Whether float inputs and outputs keep their types, or take the lower one: fp16 or bf16."
    )
    precision_overrides: dict[str, NodePrecision] = Field(
        default_factory=dict,
        description='Node name pattern to what these nodes shall be in, for example {"*/attention/*": fp16}; as file '
        "names are matched, the last pattern that matches a node counts, and one that matches none is an error.",
    )
    search: SearchSpec = Field(default_factory=SearchSpec)
    rewrite: RewriteSpec = Field(default_factory=RewriteSpec)
    calibration: CalibrationSpec | None = None
    accuracy: AccuracySpec | None = None
    targets: list[TargetSpec] = Field(min_length=1, description="Names from `trtbuild targets`, or written out.")
    build: BuildSpec = Field(default_factory=BuildSpec)
    speed: SpeedSpec = Field(default_factory=SpeedSpec)
    triton: TritonSpec = Field(default_factory=TritonSpec)
    cost: CostSpec | None = None
    output: str = Field("build", description="Folder for the results, relative to the spec.")
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _weights_have_a_module(self) -> Spec:
        if self.model.weights and self.model.source.endswith(".onnx"):
            raise ValueError("model.weights are loaded into a PyTorch module; an .onnx file brings its own")
        return self

    @model_validator(mode="after")
    def _ranges_have_data(self) -> Spec:
        if self.precision in CALIBRATED and self.calibration is None:
            raise ValueError(
                f"precision {self.precision} needs a calibration block; add   "
                "calibration: {reader: file.py:function, samples: 512}"
            )
        return self

    @model_validator(mode="after")
    def _best_has_a_floor(self) -> Spec:
        if self.precision != "best":
            return self
        if self.calibration is None:
            raise ValueError(
                "precision best needs a calibration block; add   calibration: {reader: file.py:function, samples: 512}"
            )
        if self.accuracy is None or self.accuracy.metric not in ("cosine", "sqnr") or self.accuracy.min is None:
            raise ValueError(
                "precision best holds an accuracy floor; add   accuracy: {data: file.py:function, metric: cosine, "
                "min: 0.999}   (or metric sqnr, in dB)"
            )
        return self

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the spec start from."""
        return self._folder

    def at(self, folder: Path) -> Spec:
        """The same spec with relative paths starting from ``folder``."""
        copy = self.model_copy()
        copy._folder = folder  # noqa: SLF001
        return copy

    def input_tensors(self) -> tuple[TensorSpec, ...]:
        """The inputs as written; empty when the spec leaves them to the ONNX file."""
        return tuple(TensorSpec(name, i.dtype, tuple(i.shape)) for name, i in self.model.inputs.items())

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Value ranges of random inputs, for the inputs that name one."""
        return {name: i.range for name, i in self.model.inputs.items() if i.range is not None}

    def optimization_profiles(self) -> tuple[OptimizationProfile, ...]:
        """The profiles with the names of shipped ones looked up."""
        from trtbuild.spec.profiles import shipped_profile

        axes = [p if isinstance(p, dict) else shipped_profile(p) for p in self.profiles]
        return tuple(OptimizationProfile({k: AxisRange(*v) for k, v in p.items()}) for p in axes)
