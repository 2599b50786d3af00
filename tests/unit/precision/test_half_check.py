import numpy as np
import pytest
from onnx_models import mlp, model, node, random_feed, run, weights

from trtbuild.emulation import emulate
from trtbuild.precision.lowering.half_check import check_half, lower_checked
from trtbuild.precision.lowering.lower import lower


def overflowing():
    """A product that leaves FP16 and is divided again; nothing but samples can tell."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "matmul"),
        node("Mul", ["a", "b"], ["c"], "mul"),
        node("Div", ["c", "k"], ["d"], "div"),
        node("Tanh", ["d"], ["y"], "tanh"),
    ]
    constants = {"w": weights((4, 4)) * 100, "b": np.float32(100), "k": np.float32(60000)}
    return model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], constants)


def cancelling():
    nodes = [
        node("Add", ["x", "k"], ["a"], "up"),
        node("Sub", ["a", "k"], ["b"], "down"),
        node("Relu", ["b"], ["y"], "relu"),
    ]
    return model(nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"k": np.float32(1000)})


def feeds(scale=10.0):
    return [{"x": weights((3, 4), seed, scale)} for seed in (5, 6)]


def test_the_first_node_that_turns_infinite_is_named():
    proto = overflowing()
    (fault,) = check_half(lower(proto, "fp16").model, proto, feeds(), precision="fp16")
    assert (fault.node, fault.tensor) == ("mul", "c")
    assert "NaN or Inf" in fault.reason
    wanted = [run_tensor(proto, "c", f) for f in feeds()]
    assert fault.range == (min(w.min() for w in wanted), max(w.max() for w in wanted))


def run_tensor(proto, name, feed):
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return run(copy, feed)[name]


def test_what_loses_its_digits_is_named_with_what_made_its_inputs():
    proto = cancelling()
    (fault,) = check_half(lower(proto, "fp16").model, proto, feeds(0.1), precision="fp16")
    assert (fault.node, fault.also) == ("down", ("up",))
    assert "% of its result" in fault.reason


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_graph_that_holds_has_no_faults(precision):
    proto = mlp()
    assert check_half(lower(proto, precision).model, proto, [random_feed(proto)], precision=precision) == ()


@pytest.mark.parametrize(("make", "scale"), [(overflowing, 10.0), (cancelling, 0.1)])
@pytest.mark.parametrize("io", ["keep", "low"])
def test_the_loop_keeps_what_goes_wrong_until_nothing_does(make, scale, io):
    proto, given = make(), feeds(scale)
    done = lower_checked(proto, "fp16", given, io=io)
    assert done.faults == ()
    assert done.rounds == 2
    assert all("on samples" in said or "65504" in said for said in done.lowered.kept.values())
    typed = emulate(done.lowered.model)
    for feed in given:
        handed = {k: v.astype(np.float16) for k, v in feed.items()} if io == "low" else feed
        exact = {k: v.astype(np.float32) for k, v in handed.items()}
        assert np.allclose(run(proto, exact)["y"], run(typed, handed)["y"], rtol=0.01, atol=0.01)


def test_what_cannot_be_mended_in_so_many_rounds_is_told():
    done = lower_checked(overflowing(), "fp16", feeds(), rounds=1)
    assert [f.node for f in done.faults] == ["mul"]
    assert done.rounds == 1


def test_a_mean_is_checked_by_its_sum():
    proto = model([node("ReduceMean", ["x"], ["y"], "mean", axes=[-1])], [("x", ["n", 4096])], [("y", ["n", 1])])
    typed = lower(proto, "fp16").model
    (fault,) = check_half(typed, proto, [{"x": np.full((1, 4096), 100, np.float32)}], precision="fp16")
    assert fault.node == "mean"
    assert check_half(typed, proto, [{"x": np.full((1, 4096), 7, np.float32)}], precision="fp16") == ()


def test_masks_are_no_fault():
    nodes = [
        node("Where", ["on", "x", "lowest"], ["a"], "mask"),
        node("Softmax", ["a"], ["y"], "softmax", axis=-1),
    ]
    from onnx import TensorProto
    from onnx_models import tensor

    inputs = [("x", ["n", 4]), tensor("on", ["n", 4], TensorProto.BOOL)]
    proto = model(nodes, inputs, [("y", ["n", 4])], {"lowest": np.float32(-3.4e38)})
    feed = {"x": weights((2, 4)), "on": np.array([[True, False, True, True], [True, False, False, False]])}
    assert check_half(lower(proto, "fp16").model, proto, [feed], precision="fp16") == ()
