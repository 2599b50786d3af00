"""What TensorRT-RTX 1.7.1's parser said about small models, and what a user is told."""

import pytest

from trtbuild.engine.refusals import first_hint, listed, refusal

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
        "Non-zero zero point is not supported. Please set kX",
        "INT8 with zero point 0",
    ),
    "dilations": (
        '(dilations[i] == 1) && "This version of TensorRT does not support dilations other than 1."',
        "This version of TensorRT does not support dilations other than 1",
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
    "another form": ("Something new.", "Something new", "trtbuild rewrite -v"),
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


def test_nodes_with_one_cause_stand_below_it():
    said = [
        refusal("false", node="/a/Det", operator="Det", module="a"),
        refusal("Failed to import initializer: z"),
        refusal("false", node="/b/Det", operator="Det"),
    ]
    lines = listed(said).splitlines()
    assert lines[0].startswith("    Det: TensorRT has no operator Det in this form; `trtbuild rewrite")
    assert lines[1:3] == ["        /a/Det in a", "        /b/Det"]
    assert lines[3].startswith("    Failed to import initializer: z; TensorRT has no weights")
