import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_models import model, node, tensor
from onnx_text import parsed

from trtbuild.provenance import module_path
from trtbuild.rewriter.unbuildable import LARGEST_TOP_K, RTX, unbuildable

INT64 = TensorProto.INT64


def test_all_of_them_at_once_in_the_graphs_order():
    proto = parsed(
        "g (float[n,n] x) => (int64[2,k] places, float d, float[n,n] y) "
        "{ places = NonZero (x) d = Det (x) noise = RandomNormalLike (x) y = Add (x, noise) }",
    )
    found = unbuildable(proto, RTX)
    assert [u.operator for u in found] == ["NonZero", "Det", "RandomNormalLike"]
    assert all(u.reason and u.remedy for u in found)
    assert str(found[1]).startswith("Det ")


def test_a_graph_that_builds_has_none():
    assert unbuildable(parsed("g (float[n] x) => (float[n] y) { y = Relu (x) }"), RTX) == ()


def test_what_tensorrt_has_is_told_for_rtx_only():
    proto = parsed("g (float[n,n] x) => (int64[2,k] y) { y = NonZero (x) }")
    assert [len(unbuildable(proto, b)) for b in (RTX, "tensorrt", None)] == [1, 0, 0]


def top(k):
    outputs = [("v", ["n", k]), tensor("i", ["n", k], INT64)]
    return model([node("TopK", ["x", "k"], ["v", "i"], "top")], [("x", ["n", 9000])], outputs, {"k": np.array([k])})


def test_the_limit_of_top_k():
    assert unbuildable(top(LARGEST_TOP_K), RTX) == ()
    (found,) = unbuildable(top(LARGEST_TOP_K + 1), RTX)
    assert str(LARGEST_TOP_K) in found.reason
    assert found.node == "top"


def test_inputs_and_outputs_of_types_an_engine_has_not():
    proto = parsed("g (int16[n] x, string[n] s) => (uint32[n] y) { y = Cast <to: int = 12> (x) }")
    assert [(u.node, u.operator) for u in unbuildable(proto)] == [("x", "input"), ("s", "input"), ("y", "output")]


def test_sequences():
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, ["n"]))
    graph = helper.make_graph(
        [helper.make_node("SequenceAt", ["s", "i"], ["y"])],
        "g",
        [helper.make_value_info("s", kind), tensor("i", [], INT64)],
        [tensor("y", ["n"])],
    )
    assert [u.operator for u in unbuildable(helper.make_model(graph))] == ["input", "SequenceAt"]


def test_inside_of_branches_too():
    proto = parsed(
        "g (bool c, float[n,n] x) => (float y) { y = If (c) <then_branch: graph = a () => (float p) { p = Det (x) }, "
        "else_branch: graph = b () => (float q) { q = ReduceSum <keepdims: int = 0> (x) }> }",
    )
    assert [u.operator for u in unbuildable(proto)] == ["Det"]


def test_reductions_of_scatters_and_second_outputs():
    scatter = parsed(
        "g (float[n,4] x, int64[n,2] i, float[n,2] u) => (float[n,4] y) "
        '{ y = ScatterElements <axis: int = 1, reduction: string = "add"> (x, i, u) }',
    )
    assert "add" in unbuildable(scatter)[0].reason
    pool = parsed(
        "g (float[n,2,8] x) => (float[n,2,7] y{i}) {{ y, i = MaxPool <kernel_shape: ints = [2]> (x) }}".format(i="")
    )
    assert unbuildable(pool) == ()
    pool.graph.output.append(tensor("i", ["n", 2, 7], INT64))
    assert [u.operator for u in unbuildable(pool)] == ["MaxPool"]


def test_the_module_is_named_as_each_exporter_keeps_it():
    of_dynamo = onnx.NodeProto(name="node_det", op_type="Det")
    of_dynamo.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'encoder', 'encoder.head', 'linalg_det']"
    )
    assert module_path(of_dynamo) == "encoder.head"
    assert module_path(onnx.NodeProto(name="/encoder/head/Det")) == "encoder.head"
    assert module_path(onnx.NodeProto(name="Det_3")) == ""


def test_operators_of_other_domains():
    proto = parsed("g (float[n] x) => (float[n] y) { y = com.microsoft.Gelu (x) }")
    assert "com.microsoft" in unbuildable(proto)[0].reason
