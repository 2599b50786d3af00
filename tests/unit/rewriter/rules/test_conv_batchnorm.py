import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx_models import initializer, model, node, ops, same_outputs, save, tensor, weights
from rewriting import holds

from trtbuild.rewriter import rewrite

STATISTICS = {"s": weights(4, 2), "o": weights(4, 3), "m": weights(4, 4), "v": np.abs(weights(4, 5)) + 0.5}


def apply(proto, tmp_path, rules=("conv_batchnorm",)):
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, only=rules)
    (tmp_path / "again").mkdir()
    again = rewrite(done.model, tmp_path / "again", only=rules)
    assert again.model.sha256 == done.model.sha256, "a second run changes nothing"
    return done, onnx.load(str(done.model.path))


def conv_bn(op="Conv", kernel=(4, 2, 3, 3), channels=2, bias=True, extra=(), outputs=("y",), bn=None, **attributes):
    reads = ["x", "k", "b"] if bias else ["x", "k"]
    nodes = [
        node(op, reads, ["c"], "conv", **attributes),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "bn", **(bn or {})),
        *extra,
    ]
    parameters = {"k": weights(kernel, 1), **({"b": weights(4, 6)} if bias else {}), **STATISTICS}
    shape = ["n", 4, 4, 4] if op == "Conv" else ["n", 4, 8, 8]
    return model(nodes, [("x", ["n", channels, 6, 6])], [(o, shape) for o in outputs], parameters)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": (4, 1, 3, 3), "channels": 2, "group": 2},
        {"kernel": (4, 1, 3, 3), "channels": 4, "group": 4},
        {"op": "ConvTranspose", "kernel": (2, 4, 3, 3)},
        {"bn": {"epsilon": 0.1}},
    ],
    ids=["conv", "grouped", "depthwise", "transposed", "epsilon"],
)
def test_folds_into_the_convolution(options, bias, tmp_path):
    proto = conv_bn(bias=bias, **options)
    done, after = apply(proto, tmp_path)
    assert [(e.rule, e.node, e.change) for e in done.applied] == [("conv_batchnorm", "bn", "folded into conv")]
    assert ops(after) == [options.get("op", "Conv")]
    assert same_outputs(proto, after, atol=1e-4)


def test_one_dimension_folds_too(tmp_path):
    nodes = [
        node("Conv", ["x", "k"], ["c"], "conv"),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "bn"),
    ]
    parameters = {"k": weights((4, 2, 3), 1), **STATISTICS}
    proto = model(nodes, [("x", ["n", 2, 6])], [("y", ["n", 4, 4])], parameters)
    assert same_outputs(proto, apply(proto, tmp_path)[1], atol=1e-4)


def test_a_batch_normalization_in_the_middle_leaves_its_readers_right(tmp_path):
    proto = conv_bn(extra=[node("Relu", ["y"], ["z"], "relu")], outputs=("z",))
    _done, after = apply(proto, tmp_path)
    assert ops(after) == ["Conv", "Relu"]
    assert same_outputs(proto, after, atol=1e-4)


def test_a_kernel_shared_with_another_convolution_stays_for_that_one(tmp_path):
    proto = conv_bn(extra=[node("Conv", ["x", "k", "b"], ["z"], "other")], outputs=("y", "z"))
    _done, after = apply(proto, tmp_path)
    assert ops(after) == ["Conv", "Conv"]
    assert (initializer(after, "k") == weights((4, 2, 3, 3), 1)).all()
    assert same_outputs(proto, after, atol=1e-4)


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (
            conv_bn(extra=[node("Relu", ["c"], ["z"])], outputs=("y", "z")),
            "another node reads the convolution's result",
        ),
        (conv_bn(outputs=("y", "c")), "another node reads the convolution's result"),
        (conv_bn("ConvTranspose", (2, 2, 3, 3), group=2), "a grouped ConvTranspose"),
    ],
    ids=["read", "handed out", "grouped transposed"],
)
def test_declines(proto, reason, tmp_path):
    done, after = apply(proto, tmp_path)
    assert [(d.rule, d.node, d.reason) for d in done.declined] == [("conv_batchnorm", "bn", reason)]
    assert "BatchNormalization" in ops(after)
    assert same_outputs(proto, after, atol=0)


def test_declines_statistics_that_are_computed(tmp_path):
    done, _after = apply(computed_variance(), tmp_path)
    assert [d.reason for d in done.declined] == ["a weight is computed at run time"]


def test_declines_training_mode_which_another_rule_settles_first(tmp_path):
    proto = in_training_mode()
    done, _after = apply(proto, tmp_path)
    assert [d.reason for d in done.declined] == ["it is in training mode"]
    (tmp_path / "both").mkdir()
    assert ops(apply(proto, tmp_path / "both", ("inference_mode", "conv_batchnorm"))[1]) == ["Conv"]


def test_a_batch_normalization_after_something_else_is_none_of_its_business(tmp_path):
    nodes = [node("Relu", ["x"], ["c"]), node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "bn")]
    done, _after = apply(model(nodes, [("x", ["n", 4, 2])], [("y", ["n", 4, 2])], STATISTICS), tmp_path)
    assert done.applied == done.declined == ()


def test_half_precision_weights_stay_half(tmp_path):
    proto = conv_bn()
    halves = [
        numpy_helper.from_array(numpy_helper.to_array(t).astype(np.float16), t.name) for t in proto.graph.initializer
    ]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(halves)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    done = rewrite(save(proto, tmp_path / "in.onnx"), tmp_path, only=["conv_batchnorm"], prove=False)
    after = onnx.load(str(done.model.path))
    assert {t.data_type for t in after.graph.initializer} == {TensorProto.FLOAT16}
    assert same_outputs(proto, after, atol=0.1)


def computed_variance():
    proto = conv_bn()
    del proto.graph.initializer[-1]
    proto.graph.input.append(tensor("v", [4]))
    return proto


def in_training_mode():
    proto = conv_bn(bn={"training_mode": 1})
    proto.graph.node[1].output.extend(["rm", "rv"])
    return proto


GUARDS = {
    "another node reads the convolution's result": lambda: conv_bn(
        extra=[node("Relu", ["c"], ["z"])], outputs=("y", "z")
    ),
    "it is in training mode": in_training_mode,
    "a weight is computed at run time": computed_variance,
    "a grouped ConvTranspose": lambda: conv_bn("ConvTranspose", (2, 2, 3, 3), group=2),
}


@settings(max_examples=20, deadline=None)
@given(
    options=st.sampled_from(
        [
            {},
            {"kernel": (4, 1, 3, 3), "group": 2},
            {"kernel": (4, 1, 3, 3), "channels": 4, "group": 4},
            {"op": "ConvTranspose", "kernel": (2, 4, 3, 3)},
        ]
    ),
    bias=st.booleans(),
    epsilon=st.sampled_from([1e-5, 0.1]),
    outputs=st.sampled_from([("y",), ("y", "c")]),
)
def test_property(options, bias, epsilon, outputs):
    done = holds(conv_bn(bias=bias, bn={"epsilon": epsilon}, outputs=outputs, **options), "conv_batchnorm")
    assert ("BatchNormalization" in done.ops) == ("c" in outputs)
