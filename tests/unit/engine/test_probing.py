"""A model that TensorRT cannot parse: everything it refuses comes at once, with the module, why, and what to do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from trtbuild.artifacts import StoredFile, Target, TypedOnnx
from trtbuild.engine import compile as compile_plan
from trtbuild.engine.probing import probe
from trtbuild.errors import InvalidOnnxError, WorkerCrashedError

pytest.importorskip("tensorrt_rtx")

X = ("x", T.FLOAT, [2, 8])
IMAGE = ("image", T.FLOAT, [2, 4, 4])
TRAINING = {"ratio": np.float32(0.5), "training": np.array(True)}


def node(operator, inputs, outputs, name, module="", **attributes):
    made = helper.make_node(operator, inputs, outputs, name=name, **attributes)
    if module:
        scopes = ["", *(module.split(".")[0],), module, name]
        made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    return made


def saved(folder, nodes, inputs, outputs, constants=None, *, tensors=()):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs], [helper.make_tensor_value_info(*o) for o in outputs],
        [*(numpy_helper.from_array(v, k) for k, v in (constants or {}).items()), *tensors],
    )  # fmt: skip
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=10), folder / "m.onnx")
    return folder / "m.onnx"


def refused(file):
    typed = TypedOnnx(StoredFile.of(file), (), (), "fp32", {}, {}, {})
    place = file.parent / "out"
    place.mkdir()
    with pytest.raises(InvalidOnnxError) as caught:
        compile_plan(typed, place, target=Target("rtx4090", "tensorrt_rtx", "8.9"))
    assert not list(place.iterdir()), "no copy is left behind"
    assert caught.value.place == str(file)
    return caught.value


def dropout(number, source, target):
    name = f"node_dropout_{number}"
    return node("Dropout", [source, "ratio", "training"], [target], name, f"encoder.layer.{number}")


def test_what_the_parser_would_have_met_later_comes_too(tmp_path):
    """The parser itself stops at the first Dropout; a determinant, a plugin and the other Dropouts are behind it."""
    file = saved(
        tmp_path,
        [
            dropout(0, "x", "a"),
            node("Relu", ["a"], ["b"], "relu"),
            dropout(1, "b", "c"),
            node("NonZero", ["c"], ["places"], "nonzero", "head"),
            node("Det", ["image"], ["d"], "det", "head.volume"),
            node("FusedMatMul", ["x", "w"], ["f"], "fused", "attention", domain="com.microsoft"),
        ],
        [X, IMAGE],
        [("c", T.FLOAT, [2, 8]), ("places", T.INT64, [2, None]), ("d", T.FLOAT, [2]), ("f", T.FLOAT, [2, 8])],
        {**TRAINING, "w": np.ones((8, 8), np.float32)},
    )
    error = refused(file)
    assert {(r["operator"], r["node"], r["module"]) for r in error.result["refused"]} == {
        ("Dropout", "node_dropout_0", "encoder.layer.0"),
        ("Dropout", "node_dropout_1", "encoder.layer.1"),
        ("NonZero", "nonzero", "head"),
        ("Det", "det", "head.volume"),
        ("FusedMatMul", "fused", "attention"),
    }
    assert error.result["not_judged"] == 0
    assert "node_dropout_1 in encoder.layer.1" in error.message
    assert "export in eval() mode" in error.message, "what to do stands beside why"
    assert "standard operators" in error.message


def test_inputs_and_weights_of_other_types_do_not_hide_what_is_behind_them(tmp_path):
    four_bits = helper.make_tensor("w4", T.UINT4, [8, 2], [1] * 16)
    file = saved(
        tmp_path,
        [
            node("StringNormalizer", ["text"], ["words"], "normalise"),
            node("DequantizeLinear", ["w4", "scale"], ["w"], "dequantise"),
            node("MatMul", ["x", "w"], ["y"], "matmul"),
            dropout(3, "x", "z"),
        ],
        [X, ("text", T.STRING, [2])],
        [("words", T.STRING, [None]), ("y", T.FLOAT, [2, 2]), ("z", T.FLOAT, [2, 8])],
        {**TRAINING, "scale": np.float32(0.1)},
        tensors=[four_bits],
    )
    error = refused(file)
    assert "text is STRING" in error.message
    assert "w4 is UINT4" in error.message
    assert {r["node"] for r in error.result["refused"] if r["node"]} == {"normalise", "node_dropout_3"}
    assert error.result["not_judged"] == 2, "the dequantisation and what reads it"


def test_nodes_inside_of_branches_and_without_names_are_found(tmp_path):
    def branch(name, operator):
        made = [node(operator, ["image"], [f"{name}_d"], ""), node("Relu", [f"{name}_d"], [name], "")]
        return helper.make_graph(made, name, [], [helper.make_tensor_value_info(name, T.FLOAT, [2])])

    choice = node("If", ["which"], ["y"], "", then_branch=branch("then", "Det"), else_branch=branch("else", "Det"))
    file = saved(
        tmp_path,
        [choice, node("Det", ["image"], ["d"], "")],
        [IMAGE, ("which", T.BOOL, [])],
        [("y", T.FLOAT, [2]), ("d", T.FLOAT, [2])],
    )
    names = {r["node"] for r in refused(file).result["refused"]}
    assert "Det of d" in names
    assert names & {"Det of then_d", "Det of else_d"}


def test_what_hangs_on_an_integer_is_not_judged_and_that_is_said(tmp_path):
    file = saved(
        tmp_path,
        [
            node("NonZero", ["x"], ["places"], "nonzero"),
            node("Transpose", ["places"], ["t"], "transpose"),
            node("GatherND", ["x", "t"], ["y"], "gather"),
        ],
        [X],
        [("y", T.FLOAT, [None])],
    )
    error = refused(file)
    assert [r["node"] for r in error.result["refused"]] == ["nonzero"]
    assert "not judged, for they hang on these: 2 more" in error.message


def test_a_parser_that_dies_of_a_copy_leaves_what_was_found(tmp_path):
    file = saved(tmp_path, [dropout(0, "x", "y")], [X], [("y", T.FLOAT, [2, 8])], TRAINING)
    answers = [[{"node": "node_dropout_0", "operator": "Dropout", "text": "false"}]]

    def ask(_copy):
        if not answers:
            raise WorkerCrashedError("died")
        return answers.pop()

    assert [r.node for r in probe(file, tmp_path, ask).refusals] == ["node_dropout_0"]
    assert not (tmp_path / "probe.onnx").exists()
