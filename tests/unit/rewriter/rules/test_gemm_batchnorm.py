import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import initializer, model, node, tensor, weights
from rewriting import holds

STATISTICS = {"s": weights(4, 2), "o": weights(4, 3), "m": weights(4, 4), "v": np.abs(weights(4, 5)) + 0.5}


def gemm_bn(*, bias=(4,), outputs=("y",), rows="n", training=False, given=(), epsilon=1e-5, **attributes):
    """Gemm of [n, 3] with M of 4, and BatchNormalization."""
    parameters = {"w": weights((4, 3) if attributes.get("transB") else (3, 4), 1), **STATISTICS}
    parameters |= {} if bias is None else {"b": weights(bias, 6)}
    norm = {"training_mode": 1} if training else {}
    made = ["y", "rm", "rv"] if training else ["y"]
    nodes = [
        node("Gemm", ["x", "w"] if bias is None else ["x", "w", "b"], ["g"], "gemm", **attributes),
        node("BatchNormalization", ["g", "s", "o", "m", "v"], made, "bn", epsilon=epsilon, **norm),
    ]
    inputs = [("x", [3, rows] if attributes.get("transA") else [rows, 3])]
    inputs += [tensor(g, list(parameters[g].shape)) for g in given]
    kept = {k: v for k, v in parameters.items() if k not in given}
    return model(nodes, inputs, [(o, [rows, 4]) for o in outputs], kept)


@settings(max_examples=25, deadline=None)
@given(
    bias=st.sampled_from([None, (4,), (1, 4), (1,), (), (1, 1)]),
    alpha=st.sampled_from([1.0, 0.5]),
    beta=st.sampled_from([1.0, 2.0]),
    trans_a=st.integers(0, 1),
    trans_b=st.integers(0, 1),
    epsilon=st.sampled_from([1e-5, 0.1]),
    handed_out=st.booleans(),
)
def test_property(bias, alpha, beta, trans_a, trans_b, epsilon, handed_out):
    outputs = ("y", "g") if handed_out else ("y",)
    options = {"alpha": alpha, "beta": beta, "transA": trans_a, "transB": trans_b}
    done = holds(gemm_bn(bias=bias, epsilon=epsilon, outputs=outputs, **options), "gemm_batchnorm")
    assert done.ops == (["Gemm", "BatchNormalization"] if handed_out else ["Gemm"])


def test_weights_shared_with_another_gemm_stay_for_that_one():
    proto = gemm_bn()
    proto.graph.node.append(node("Gemm", ["x", "w", "b"], ["z"], "other"))
    proto.graph.output.append(tensor("z", ["n", 4]))
    done = holds(proto, "gemm_batchnorm")
    assert done.ops == ["Gemm", "Gemm"]
    assert (initializer(done.model, "w") == initializer(proto, "w")).all()


GUARDS = {
    "another node reads the Gemm's result": lambda: gemm_bn(outputs=("y", "g")),
    "it is in training mode": lambda: gemm_bn(training=True),
    "a weight is computed at run time": lambda: gemm_bn(given=("v",)),
    "the Gemm adds another bias to each row": lambda: gemm_bn(bias=(3, 4), rows=3),
}
