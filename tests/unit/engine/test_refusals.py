"""What TensorRT-RTX 1.7.1's parser said about small models, and what a user is told."""

import onnx
import onnx.parser
import pytest

from trtbuild import onnxfile
from trtbuild.artifacts import StoredFile, Target, TypedOnnx
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.refusals import first_hint, refusal
from trtbuild.errors import InvalidOnnxError

NO_GPU = (
    "\n[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient))"
)
SAID = {
    "uint8": (
        "Invalid Node - /l/T_0\nITensor::getDimensions: Error Code 4: API Usage Error (/l/T_0: first input has type UInt8 "
        "but must have type Float, Half, or Bool. In checkType at /_src/optimizer/common/nodeBase.cpp:456)" + NO_GPU,
        "first input has type UInt8 but must have type Float, Half, or Bool",
        "cast the tensor before this node",
    ),
    "types": (
        "Invalid Node - /l/T_0\nITensor::getDimensions: Error Code 4: API Usage Error (/l/T_0: ElementWiseOperation SUM must "
        "have same input types. But they are of types Float and Half. In validateTypes at /_src/a/b.cpp:40)" + NO_GPU,
        "ElementWiseOperation SUM must have same input types. But they are of types Float and Half",
        "put a Cast before the node",
    ),
    "zero point": (
        "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported. Please set kX.",
        "Non-zero zero point is not supported. Please set kX.",
        "INT8 with zero point 0",
    ),
    "dilations": (
        '(dilations[i] == 1) && "This version of TensorRT does not support dilations other than 1."',
        "This version of TensorRT does not support dilations other than 1.",
        "trtbuild rewrite -v",
    ),
    "no operator": ("false", "TensorRT has no operator T in this form", "trtbuild rewrite -v"),
    "initializer": (
        (
            "Failed to import initializer: In node -1 with name:  and operator:  (importInitializers): UNSUPPORTED_NODE: Asser"
            "tion failed: ctx->getWeightsContext().convertOnnxWeights(initializer, &w): Failed to import initializer: z"
        ),
        "Failed to import initializer: z",
        "no weights of that element type",
    ),
    "no plugin": (
        'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
        "Plugin not found, are the plugin name, version, and namespace correct?",
        "ONNX's standard operators",
    ),
    "another form": ("Something new.", "Something new.", "trtbuild rewrite -v"),
    "nothing": ("", "TensorRT has no operator T in this form", "trtbuild rewrite -v"),
    "only noise": ("Invalid Node - /l/T_0", "Invalid Node - /l/T_0", "trtbuild rewrite -v"),
}


@pytest.mark.parametrize("word", SAID)
def test_the_cause_is_what_is_not_about_tensorrts_own_code(word):
    said, cause, hint = SAID[word]
    found = refusal(said, node="/l/T_0", operator="T")
    assert str(found) == f"/l/T_0 (T): {cause}"
    assert hint in found.hint


def test_an_error_without_a_node_has_no_place():
    assert str(refusal("Unsupported reduction type")) == "Unsupported reduction type"
    assert str(refusal("")) == "it gives no reason"


def test_the_hint_is_the_first_of_its_own():
    found = [refusal("false", operator="Det"), refusal("Non-zero zero point is not supported.")]
    assert first_hint(found) == found[1].hint
    assert first_hint(found[:1]) == found[0].hint
    assert first_hint([]) == found[0].hint


BUILT = {
    "uint8[2,3,3] x) => (float[3,3,2] y": (
        "{ t = Transpose <perm = [1, 2, 0]> (x) y = Cast <to = 1> (t) }",
        ["/m/Transpose (Transpose): first input has type UInt8"],
        "cast the tensor before this node",
    ),
    "float[2,3,3] x, float[1,2,9,9] p) => (float[2] y, float[1,2,5,5] q": (
        "{ y = Det (x) q = MaxPool <kernel_shape: ints = [3,3], dilations: ints = [2,2]> (p) }",
        ["/m/Det (Det): TensorRT has no operator Det in this form", "/m/MaxPool (MaxPool): This version of TensorRT"],
        "trtbuild rewrite -v",
    ),
}


@pytest.mark.parametrize("interface", BUILT)
def test_a_build_tells_the_cause_of_every_node(interface, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    body, causes, hint = BUILT[interface]
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]> g ({interface}) {body}')
    for node in proto.graph.node:
        node.name = f"/m/{node.op_type}"
    file = tmp_path / "m.onnx"
    onnx.save(proto, file)
    typed = TypedOnnx(StoredFile.of(file), onnxfile.inputs(proto), onnxfile.outputs(proto), "fp32", {}, {}, {})
    with pytest.raises(InvalidOnnxError) as caught:
        compile_plan(typed, tmp_path, target=Target("rtx4090", "tensorrt_rtx", "8.9"), profiles=[])
    lines = [line.strip() for line in caught.value.message.splitlines()[1:]]
    assert len(lines) == len(causes)
    assert all(line.startswith(cause) for line, cause in zip(lines, causes, strict=True)), lines
    assert hint in caught.value.hint
