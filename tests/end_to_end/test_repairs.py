"""What TensorRT-RTX refuses as it is and builds after rewriting, with dynamic axes where the operator allows them."""

import onnx
import pytest
from onnx_text import parsed

from trtbuild import worker
from trtbuild.artifacts import AxisRange, BuildOptions, OptimizationProfile, to_json
from trtbuild.errors import BuildError, InvalidOnnxError
from trtbuild.rewriter import rewrite
from trtbuild.rewriter.unbuildable import unbuildable

SIZES = {"n": (1, 2, 4), "h": (9, 16, 32), "s": (4, 8, 16)}
WEIGHT = ",".join(str(i) for i in range(32))
MODELS = {
    "uint8_image": parsed(
        "g (uint8[n,h,8,3] image) => (float[n,3,h,8] y) "
        "{ t = Transpose <perm: ints = [0,3,1,2]> (image) y = Cast <to: int = 1> (t) }"
    ),
    "rfft": parsed("g (float[n,64,1] x) => (float[n,33,2] y) { y = DFT <axis: int = 1, onesided: int = 1> (x) }"),
    "dilated_pool": parsed(
        "g (float[n,3,h,9] x) => (float[n,3,a,b] y) "
        "{ y = MaxPool <kernel_shape: ints = [3,3], dilations: ints = [2,2], pads: ints = [1,1,1,1]> (x) }"
    ),
    "col2im": parsed(
        "g (float[n,8,12] x) => (float[n,2,4,5] y) <int64[2] i = {4,5}, int64[2] b = {2,2}> { y = Col2Im (x, i, b) }"
    ),
    "antialias": parsed(
        "g (float[n,3,16,16] x) => (float[n,3,8,8] y) <float[4] s = {1,1,0.5,0.5}> "
        '{ y = Resize <mode: string = "linear", antialias: int = 1> (x, , s) }'
    ),
    "scatter_add": parsed(
        "g (float[4,8] x, int64[4,3] i, float[4,3] u) => (float[4,8] y) "
        '{ y = ScatterElements <axis: int = 1, reduction: string = "add"> (x, i, u) }'
    ),
    "attention_fp32": parsed(
        "g (float[n,2,s,8] q, float[n,2,s,8] k, float[n,2,s,8] v) => (float[n,2,s,8] y) { y = Attention (q, k, v) }",
        opset=23,
    ),
    "bits": parsed("g (int32[n,8] x, int32[n,8] b) => (int32[n,8] y) { y = BitwiseXor (x, b) }"),
    "dynamic_quantization": parsed(
        f"g (float[n,8] x) => (float[n,4] y) <uint8[8,4] w = {{{WEIGHT}}}, uint8 wz = {{16}}> "
        "{ q, s, z = DynamicQuantizeLinear (x) p = MatMulInteger (q, w, z, wz) "
        "f = Cast <to: int = 1> (p) y = Mul (f, s) }"
    ),
    "layer_norm_statistics": parsed(
        "g (float[n,8] x) => (float[n,8] y, float[n,1] m) <float[8] s = {1,2,3,4,5,6,7,8}> "
        "{ y, m = LayerNormalization (x, s) }"
    ),
}


def axes_of(proto):
    return {d.dim_param for i in proto.graph.input for d in i.type.tensor_type.shape.dim if d.dim_param}


def build(path, proto, folder):
    shape = {i.name: i.type.tensor_type.shape.dim for i in proto.graph.input}
    profile = {k: [[d.dim_value or SIZES[d.dim_param][j] for d in v] for j in range(3)] for k, v in shape.items()}
    target = {"name": "sm89", "backend": "tensorrt_rtx", "compute_capability": "8.9"}
    request = {
        "backend": "tensorrt_rtx", "onnx": str(path), "plan": str(folder / "plan"), "log": str(folder / "log"),
        "target": target, "profiles": [profile] if axes_of(proto) else [], "tf32": False,
        "options": to_json(BuildOptions()), "timings": str(folder),
    }  # fmt: skip
    worker.call("trtbuild.engine.building:build_plan", request, timeout_s=120)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_builds_after_rewriting_only(name, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    proto = MODELS[name]
    onnx.save(proto, tmp_path / "in.onnx")
    with pytest.raises((InvalidOnnxError, BuildError)):
        build(tmp_path / "in.onnx", proto, tmp_path)
    profiles = [OptimizationProfile({a: AxisRange(*SIZES[a]) for a in axes_of(proto)})] if axes_of(proto) else []
    done = rewrite(tmp_path / "in.onnx", tmp_path, backend="tensorrt_rtx", profiles=profiles, prove=True)
    assert done.notes == ()
    build(done.model.path, proto, tmp_path)
    assert unbuildable(onnx.load(done.model.path), "tensorrt_rtx") == ()
