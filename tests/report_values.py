"""A small finished build that tests of the report share: values, no TensorRT."""

import dataclasses

from onnx_models import matmul, save
from plan_values import X, Y, plan, proof

from trtbuild.artifacts import (
    AppliedEdit,
    Build,
    CalibrationTable,
    DeclinedMatch,
    EngineLayer,
    EngineLayers,
    ExportedOnnx,
    PrecisionShare,
    RewrittenOnnx,
    ShapeParity,
    StageRecord,
    StoredFile,
    TensorRange,
    TritonModel,
    TypedOnnx,
)


def build(folder, **changes):
    model = StoredFile.of(save(matmul(), folder / "m.onnx"))
    one = dataclasses.replace(
        plan(folder),
        work=PrecisionShare({"int8": 0.75, "fp32": 0.25}, {"a": "int8", "b": "fp32"}, {"b": ("int8", "fp32")}),
        layers=EngineLayers((EngineLayer("k", "gemm", "int8", ("a",)),)),
    )
    done = Build(
        name="net",
        source="model.py:load",
        inputs={"spec": "1" * 64, "model": "f" * 64, "calibration data": "d" * 64},
        precision="int8",
        calibration_reader="data.py:batches",
        exported=ExportedOnnx(
            model, (X,), (Y,), 20, "dynamo", (ShapeParity({"x": (1, 3, 8)}, 1e-6, 1e-7),), ("an export note",)
        ),
        rewritten=RewrittenOnnx(
            model,
            (X,),
            (Y,),
            (AppliedEdit("conv_batchnorm", "bn", "folded | into conv"), AppliedEdit("constant_nodes", "c", "kept")),
            (DeclinedMatch("conv_batchnorm", "bn2", "another node reads it"),),
            9,
            7,
        ),
        equalized=None,
        front=None,
        table=CalibrationTable("g", "entropy", "d", 512, ("s",), False, {"x": TensorRange(1.0, -1.0, 2.0, 0.01)}),
        typed=TypedOnnx(
            model, (X,), (Y,), "int8", {"a": "int8", "b": "fp32"}, {}, {"b": "a product of two activations"}
        ),
        plans=(one,),
        verifications=(proof(),),
        benchmark=None,
        packaged=(TritonModel("net", {"config.pbtxt": model}, {}, "triton"),),
        stages=(
            StageRecord("export", "k" * 64, {"model": "f" * 64}, False, 1.25, ("headline", "detail")),
            StageRecord("verify", "e" * 64, {}, True, 0, ()),
        ),
        versions={"onnx": "1.2.3", "trtbuild": "0"},
        warnings=("read this first",),
    )
    return dataclasses.replace(done, **changes)
