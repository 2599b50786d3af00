import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import branching, cnn, initializer, mlp, model, node, ops, random_feed, run, save, tensor, weights

from trtbuild.emulation import emulate
from trtbuild.errors import PrecisionError
from trtbuild.matrixops import node_precisions
from trtbuild.precision import assign_precision
from trtbuild.precision.lowering.lower import lower

LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
both = pytest.mark.parametrize("precision", ["fp16", "bf16"])


def lowered(proto, precision="fp16"):
    done = lower(proto, precision)
    onnx.checker.check_model(done.model, full_check=True)
    return done


def types(proto):
    """Element type of every tensor."""
    inferred = onnx.shape_inference.infer_shapes(proto)
    graph = inferred.graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def named(proto, name):
    return next(n for n in proto.graph.node if n.name == name)


def relu_of(*nodes, width=4, **parameters):
    """A model from x to y, both [n, width]."""
    return model(list(nodes), [("x", ["n", width])], [("y", ["n", width])], parameters)


@both
@pytest.mark.parametrize("make", [mlp, cnn, branching])
def test_inputs_and_outputs_keep_their_types(make, precision):
    after = lowered(make(), precision).model
    assert after.graph.input == make().graph.input
    assert after.graph.output == make().graph.output


def test_an_operator_that_this_opset_has_not_in_bf16_stays_in_fp32_with_its_reason():
    done = lowered(cnn(opset=17), "bf16")
    assert done.kept["conv1"] == "Conv has no bf16 form at opset 17"
    assert tuple(node_precisions(done.model)[n] for n in ("conv1", "head")) == ("fp32", "bf16")


@both
@pytest.mark.parametrize("proto", [mlp(), cnn(opset=22)], ids=["mlp", "cnn"])
def test_all_the_work_between_is_lowered(proto, precision):
    done = lowered(proto, precision)
    found = types(done.model)
    for n in done.model.graph.node:
        if n.op_type != "Cast":
            assert {found[t] for t in (*n.input, *n.output)} == {LOW[precision]}, n.name
    assert ops(done.model).count("Cast") == 2
    assert set(node_precisions(done.model).values()) == {precision}
    assert not done.kept
    assert {t.data_type for t in done.model.graph.initializer} == {LOW[precision]}


@both
def test_the_model_is_left_unchanged(precision):
    proto = branching()
    lower(proto, precision)
    assert proto == branching()


@both
def test_a_subgraph_reads_fp32_forms(precision):
    proto = branching()
    done = lowered(proto, precision)
    assert types(done.model)["h"] == TensorProto.FLOAT
    assert node_precisions(done.model) == {"matmul": precision}
    feed = random_feed(proto)
    for which in (True, False):
        feed["which"] = np.array(which)
        assert np.allclose(run(proto, feed)["y"], run(emulate(done.model), feed)["y"], atol=0.05)


def test_a_weight_that_only_a_subgraph_reads_stays():
    proto = branching()
    proto.graph.node.remove(proto.graph.node[0])
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full(4, 2, np.float32), "c"))
    after = lowered(proto).model
    assert initializer(after, "c").dtype == np.float32


def test_values_beyond_fp16_are_clamped_and_told():
    w = np.array([1e6, -1e6, 1, np.inf], np.float32)
    proto = relu_of(node("Min", ["x", "w"], ["y"]), w=w)
    done = lowered(proto)
    assert done.clamped == ("w",)
    assert initializer(done.model, "w/fp16").tolist() == [65504, -65504, 1, np.inf]
    assert lowered(proto, "bf16").clamped == ()


def test_clamped_weights_are_in_the_notes(tmp_path):
    proto = relu_of(node("Min", ["x", "w"], ["y"]), w=np.full(4, 1e9, np.float32))
    assert assign_precision(save(proto, tmp_path / "m.onnx"), tmp_path, precision="fp16").notes == (
        "weight 'w' was clamped to the FP16 range",
    )


SQUARES = {
    "Pow": (node("Pow", ["c", "two"], ["s"], "square"), {"two": np.float32(2)}),
    "Mul": (node("Mul", ["c", "c"], ["s"], "square"), {}),
}


@both
@pytest.mark.parametrize("kind", sorted(SQUARES))
def test_squares_are_kept_in_fp32_up_to_the_root(kind, precision):
    square, parameters = SQUARES[kind]
    nodes = [
        node("Mul", ["x", "g"], ["c"], "scale"),
        square,
        node("ReduceMean", ["s"], ["m"], "mean", axes=[-1]),
        node("Add", ["m", "eps"], ["e"], "add"),
        node("Sqrt", ["e"], ["r"], "root"),
        node("Div", ["c", "r"], ["y"], "norm"),
    ]
    proto = relu_of(*nodes, g=np.float32(400), eps=np.float32(1e-6), **parameters)
    done = lowered(proto, precision)
    assert set(done.kept) == {"square", "mean", "add", "root"}
    assert all(done.kept.values())
    found = types(done.model)
    assert found["s"] == found["m"] == found["e"] == TensorProto.FLOAT
    assert found[named(done.model, "norm").input[0]] == LOW[precision]
    feed = random_feed(proto)
    assert np.allclose(run(proto, feed)["y"], run(emulate(done.model), feed)["y"], atol=0.03)


def test_a_product_of_two_tensors_is_no_square():
    proto = relu_of(node("Neg", ["x"], ["a"], "neg"), node("Mul", ["x", "a"], ["y"], "mul"))
    assert lowered(proto).kept == {}


def test_a_root_of_three_halves_is_no_square():
    assert lowered(relu_of(node("Pow", ["x", "e"], ["y"], "pow"), e=np.float32(1.5))).kept == {}


@both
def test_one_tensor_with_several_readers_is_cast_once(precision):
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Relu", ["x"], ["b"]),
        node("Abs", ["x"], ["c"]),
        node("Sum", ["a", "b", "c"], ["y"], "sum"),
    ]
    after = lowered(relu_of(*nodes), precision).model
    assert ops(after).count("Cast") == 2


def test_a_lowered_tensor_that_is_read_in_fp32_too_gets_one_cast_back():
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "matmul"),
        node("CumSum", ["a", "axis"], ["b"], "sum"),
        node("CumSum", ["a", "axis"], ["c"], "other"),
        node("Add", ["b", "c"], ["d"], "add"),
        node("Add", ["a", "d"], ["y"], "end"),
    ]
    after = lowered(relu_of(*nodes, w=weights((4, 4)), axis=np.array(1))).model
    back = [n for n in after.graph.node if n.op_type == "Cast" and list(n.output) == ["a"]]
    assert len(back) == 1
    assert named(after, "sum").input[0] == named(after, "other").input[0] == "a"
    assert named(after, "end").input[0] == "a/fp16"


def test_an_output_that_is_read_again_keeps_its_type_and_its_reader_the_lower_form():
    nodes = [node("Relu", ["x"], ["a"], "one"), node("Neg", ["a"], ["y"], "two")]
    proto = model(nodes, [("x", ["n", 4])], [("a", ["n", 4]), ("y", ["n", 4])])
    after = lowered(proto).model
    assert types(after)["a"] == TensorProto.FLOAT
    assert named(after, "two").input[0] == "a/fp16"
    feed = random_feed(proto)
    assert (run(emulate(after), feed)["a"] >= 0).all()


@both
def test_a_weight_of_two_nodes_is_stored_once(precision):
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    after = lowered(relu_of(*nodes, w=weights((4, 4))), precision).model
    assert [t.name for t in after.graph.initializer] == [f"w/{precision}"]


def test_a_weight_read_in_both_types_is_stored_in_both():
    nodes = [
        node("Add", ["x", "w"], ["a"], "add"),
        node("CumSum", ["w", "axis"], ["b"], "sum"),
        node("Add", ["a", "b"], ["y"]),
    ]
    after = lowered(relu_of(*nodes, w=weights(4), axis=np.array(0))).model
    assert {t.name: t.data_type for t in after.graph.initializer if t.name != "axis"} == {
        "w": TensorProto.FLOAT,
        "w/fp16": TensorProto.FLOAT16,
    }


def test_a_weight_handed_out_keeps_its_type():
    proto = model([node("Add", ["x", "w"], ["y"])], [("x", ["n", 4])], [("y", ["n", 4]), ("w", [4])], {"w": weights(4)})
    assert types(lowered(proto).model)["w"] == TensorProto.FLOAT


def test_integers_are_none_of_its_business():
    nodes = [
        node("Gather", ["table", "ids"], ["e"], "embed"),
        node("Shape", ["e"], ["s"], "shape"),
        node("Cast", ["s"], ["f"], "cast", to=TensorProto.FLOAT),
        node("ReduceSum", ["f"], ["z"], "count", keepdims=0),
        node("Add", ["e", "z"], ["y"], "add"),
    ]
    proto = model(nodes, [tensor("ids", ["n"], TensorProto.INT64)], [("y", ["n", 4])], {"table": weights((9, 4))})
    done = lowered(proto)
    found = types(done.model)
    assert found["s"] == TensorProto.INT64
    assert found[named(done.model, "embed").output[0]] == TensorProto.FLOAT16
    assert found[named(done.model, "cast").output[0]] == TensorProto.FLOAT16
    assert found["ids"] == TensorProto.INT64


def test_a_cast_from_fp32_to_integers_reads_what_is_there():
    nodes = [
        node("Relu", ["x"], ["a"], "relu"),
        node("Cast", ["a"], ["i"], "to_int", to=TensorProto.INT64),
        node("Cast", ["i"], ["y"], "back", to=TensorProto.FLOAT),
    ]
    proto = relu_of(*nodes)
    done = lowered(proto)
    feed = {"x": np.array([[0.5, 3.2, -1, 100]], np.float32)}
    assert run(emulate(done.model), feed)["y"].tolist() == [[0, 3, 0, 100]]


def test_an_operator_of_another_domain_stays_in_fp32_with_its_reason():
    proto = relu_of(node("Relu", ["x"], ["a"], "relu"), node("Mine", ["a"], ["y"], "mine"))
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    done = lower(proto, "fp16")
    assert "com.example:Mine" in done.kept["mine"]
    assert list(named(done.model, "mine").input) == ["a"]


def test_quantised_layers_stay_quantised():
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], ["d"], "dq"),
        node("Relu", ["d"], ["y"], "relu"),
    ]
    after = lowered(relu_of(*nodes, s=np.float32(0.1), z=np.int8(0))).model
    assert {initializer(after, n).dtype for n in ("s",)} == {np.dtype("float32")}
    assert types(after)["d"] == TensorProto.FLOAT


def test_optional_inputs_and_outputs_may_be_missing():
    nodes = [node("Clip", ["x", "", "high"], ["a"], "clip"), node("Dropout", ["a"], ["y"], "drop")]
    proto = relu_of(*nodes, high=np.float32(0.5))
    assert run(emulate(lowered(proto).model), {"x": np.array([[-1, 0.25, 1, 9]], np.float32)})["y"].tolist() == [
        [-1, 0.25, 0.5, 0.5]
    ]


def test_a_model_that_is_half_precision_already_is_what_it_is(tmp_path):
    halves = lowered(mlp(), "fp16").model
    path = save(halves, tmp_path / "halves.onnx")
    assert set(assign_precision(path, tmp_path, precision="fp16").assignment.values()) == {"fp16"}
    with pytest.raises(PrecisionError, match="the model itself computes it in fp16"):
        assign_precision(path, tmp_path, precision="fp32")
    allowed = assign_precision(path, tmp_path, precision="fp32", allow_fallback=True)
    assert set(allowed.assignment.values()) == {"fp16"}
