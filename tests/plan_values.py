"""Plans and proofs that tests share: values, no TensorRT."""

from trtbuild.artifacts import (
    AxisRange,
    EngineLayers,
    EnginePlan,
    GateResult,
    OptimizationProfile,
    PrecisionShare,
    StoredFile,
    Target,
    TensorSpec,
    Verification,
)

X = TensorSpec("x", "float32", ("batch", 3, "height"))
Y = TensorSpec("y", "float16", ("batch", 10))


def profile(**axes):
    return OptimizationProfile({k: AxisRange(*v) for k, v in axes.items()})


USUAL = profile(batch=(1, 8, 32), height=(8, 16, 64))


def plan(
    folder,
    capability="8.9",
    *,
    inputs=(X,),
    outputs=(Y,),
    profiles=(USUAL,),
    backend="tensorrt_rtx",
    version="1.7.1.116",
):
    file = folder / f"{backend}-{capability}.plan"
    file.write_bytes(f"plan {capability}".encode())
    log = folder / "build.log"
    log.write_text("log")
    return EnginePlan(
        plan=StoredFile.of(file),
        onnx="typed",
        target=Target(f"gpu-{capability}", backend, capability),
        backend_version=version,
        precision="fp16",
        inputs=inputs,
        outputs=outputs,
        profiles=profiles,
        layers=EngineLayers(),
        work=PrecisionShare({}, {}, {}),
        log=StoredFile.of(log),
    )


def proof(*, passed=True, subject="typed", of_plan=None):
    gate = GateResult("cosine >= 0.9", 0.95 if passed else 0.5, 0.9, passed, "spec")
    return Verification(
        subject="engine" if of_plan else "typed onnx",
        subject_digest=of_plan or subject,
        plan=of_plan,
        reference_digest="reference",
        outputs=(),
        task=None,
        gates=(gate,),
        samples=1,
        synthetic=False,
        data="data",
    )
