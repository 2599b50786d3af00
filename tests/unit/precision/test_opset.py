import onnx
import pytest
from onnx_models import cnn, mlp, model, node, run, weights
from onnx_text import parsed

from trtbuild.errors import PrecisionError
from trtbuild.onnxfile import opset
from trtbuild.precision.lowering.opset import raise_opset


def one(op, *, version=17, **attributes):
    return model([node(op, ["x"], ["y"], **attributes)], [("x", [2, 4])], [("y", None)], opset=version)


@pytest.mark.parametrize("wanted", [19, 21])
def test_a_graph_that_means_the_same_is_raised(wanted):
    proto = cnn()
    feed = {"x": weights((3, 2, 6, 6), 4)}
    before = run(proto, feed)["y"]
    raise_opset(proto, wanted, needed_for="int4")
    assert opset(proto) == wanted
    onnx.checker.check_model(proto, full_check=True)
    assert (run(proto, feed)["y"] == before).all()


def test_a_newer_graph_is_left_alone():
    proto = cnn(opset=22)
    raise_opset(proto, 19, needed_for="fp8")
    assert (opset(proto), proto.ir_version) == (22, 9)


@pytest.mark.parametrize("op", ["Cast", "Identity", "Transpose", "Flatten"])
def test_an_operator_that_only_got_more_types_does_not_stand_in_the_way(op):
    proto = one(op, **({"to": 10} if op == "Cast" else {}))
    raise_opset(proto, 21, needed_for="int4")
    assert opset(proto) == 21


@pytest.mark.parametrize(
    ("op", "version", "attributes"),
    [("ReduceMean", 17, {"axes": [1]}), ("GroupNormalization", 18, {"num_groups": 2}), ("NoSuchOperator", 17, {})],
)
def test_an_operator_that_means_something_else_is_named(op, version, attributes):
    proto = one(op, version=version, **attributes)
    before = proto.SerializeToString()
    with pytest.raises(
        PrecisionError, match=f"int4 needs ONNX opset 21, the model has {version}, and {op} may"
    ) as caught:
        raise_opset(proto, 21, needed_for="int4")
    assert caught.value.hint == "export with it: --set model.opset=21"
    assert proto.SerializeToString() == before


def test_an_operator_inside_a_branch_counts():
    proto = parsed(
        """g (bool which, float[2,4] x) => (float[2,1] y)
        { y = If (which) <then_branch = t () => (float[2,1] a) { a = ReduceMean <axes = [1]> (x) },
                          else_branch = e () => (float[2,1] b) { b = ReduceSum <keepdims = 1> (x) }> }""",
        opset=17,
    )
    with pytest.raises(PrecisionError, match="ReduceMean may mean something else"):
        raise_opset(proto, 19, needed_for="fp8")


def test_an_operator_of_another_domain_is_not_asked():
    proto = mlp()
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    raise_opset(proto, 19, needed_for="fp8")
    assert opset(proto) == 19
    assert [o.version for o in proto.opset_import if o.domain == "com.example"] == [1]
