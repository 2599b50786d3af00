import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, tensor
from rewriting import apply, holds

SHAPES = (["n", 4], [4], [1], [], ["n", 1])


def where(condition=("n", 4), a=("n", 4), b=("n", 4), outputs=("y",), twice=False):
    nodes = [node("Not", ["c"], ["not_c"], "not"), node("Where", ["not_c", "a", "b"], ["y"], "where")]
    if twice:
        nodes.append(node("Not", ["not_c"], ["z"], "again"))
    kinds = {"y": TensorProto.FLOAT, "not_c": TensorProto.BOOL, "z": TensorProto.BOOL}
    shapes = {"y": ["n", 4], "not_c": list(condition), "z": list(condition)}
    inputs = [tensor("c", list(condition), TensorProto.BOOL), tensor("a", list(a)), tensor("b", list(b))]
    return model(nodes, inputs, [tensor(o, shapes[o], kinds[o]) for o in outputs])


def test_the_negation_goes():
    after = holds(where(), "where_not")
    assert after.rules == ["where_not"]
    assert after.ops == ["Where"]


@given(
    a=st.sampled_from(SHAPES),
    b=st.sampled_from(SHAPES),
    outputs=st.sampled_from([("y",), ("y", "not_c"), ("y", "z")]),
)
def test_property(a, b, outputs):
    after = holds(where(a=a, b=b, outputs=outputs, twice="z" in outputs), "where_not", sizes=[{"n": 2}, {"n": 1}])
    assert after.rules == ["where_not"]
    assert ("Not" in after.ops) == (len(outputs) > 1)


@pytest.mark.parametrize("op", ["Identity"])
def test_another_condition_is_left_alone(op):
    proto = where()
    proto.graph.node[0].op_type = op
    assert apply(proto, "where_not").rules == []
