"""What FP16 cannot hold stays in FP32, and says so: each model is run as a GPU would, and held against FP32."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import measured, model, node, run, tensor, weights

from trtbuild.emulation import emulate
from trtbuild.precision.lowering.lower import lower


def held(proto, feed, *, atol=0.02, ranges=True, **how):
    """Lowers to FP16, holds the result against FP32, and returns what was done."""
    done = lower(proto, "fp16", ranges=measured(proto, feed) if ranges else None, **how)
    onnx.checker.check_model(done.model, full_check=True)
    wanted, got = run(proto, feed), run(emulate(done.model, low_sums=True), feed)
    for name in wanted:
        assert np.allclose(wanted[name], got[name], rtol=0.01, atol=atol), name
    return done


def broken(proto, feed, **how):
    """Whether FP16 without what is tested gives something else."""
    got = run(emulate(lower(proto, "fp16", **how).model, low_sums=True), feed)["y"]
    wanted = run(proto, feed)["y"]
    return not np.allclose(wanted, got, rtol=0.01, atol=0.02)


def one(*nodes, width=4, **parameters):
    return model(list(nodes), [("x", ["n", width])], [("y", ["n", width])], parameters)


def test_a_result_beyond_fp16_and_its_readers_stay_in_fp32():
    proto = one(
        node("MatMul", ["x", "w"], ["a"], "matmul"),
        node("Div", ["a", "large"], ["b"], "scale"),
        node("Neg", ["b"], ["y"], "neg"),
        w=np.diag(np.array([10, -10, 1, 1], np.float32)),
        large=np.float32(6e4),
    )
    feed = {"x": np.array([[3e4, 3e4, -3e4, 3e4]], np.float32)}
    assert broken(proto, feed)
    done = held(proto, feed)
    assert set(done.kept) == {"matmul", "scale"}
    assert "a reaches" in done.kept["matmul"]
    assert "65504" in done.kept["scale"]


@pytest.mark.parametrize(("peak", "kept"), [(32000, False), (33000, True), (65000, True)])
def test_half_of_the_range_is_kept_free(peak, kept):
    proto = one(node("Relu", ["x"], ["y"], "relu"))
    done = lower(proto, "fp16", ranges={"y": (0.0, float(peak))})
    assert ("relu" in done.kept) is kept


def test_a_logit_of_1e5_keeps_its_softmax_right():
    proto = one(
        node("Mul", ["x", "g"], ["logits"], "scale"),
        node("Softmax", ["logits"], ["y"], "softmax", axis=-1),
        g=np.float32(1000),
    )
    feed = {"x": np.array([[100, 99.999, 1, -100]], np.float32)}
    assert broken(proto, feed)
    assert set(held(proto, feed).kept) == {"scale", "softmax"}


def test_an_exponential_beyond_fp16_stays_in_fp32_until_it_is_divided():
    proto = one(
        node("Exp", ["x"], ["e"], "exp"),
        node("ReduceSum", ["e", "axis"], ["s"], "sum"),
        node("Div", ["e", "s"], ["y"], "div"),
        axis=np.array([-1]),
    )
    feed = {"x": np.array([[20, 19, 1, -5]], np.float32)}
    assert broken(proto, feed)
    assert set(held(proto, feed).kept) == {"exp", "sum", "div"}


def std_100(width=64):
    x = np.random.default_rng(0).normal(size=(3, width)) * 100
    return {"x": x.astype(np.float32)}


@pytest.mark.parametrize("eps", [1e-5, 1e-12])
def test_layer_norm_primitives_of_std_100(eps):
    proto = model(
        [
            node("ReduceMean", ["x"], ["m"], "mean", axes=[-1]),
            node("Sub", ["x", "m"], ["c"], "centre"),
            node("Pow", ["c", "two"], ["s"], "square"),
            node("ReduceMean", ["s"], ["v"], "variance", axes=[-1]),
            node("Add", ["v", "eps"], ["e"], "add"),
            node("Sqrt", ["e"], ["r"], "root"),
            node("Div", ["c", "r"], ["y"], "norm"),
        ],
        [("x", ["n", 64])],
        [("y", ["n", 64])],
        {"two": np.float32(2), "eps": np.float32(eps)},
    )
    done = held(proto, std_100())
    assert set(done.kept) == {"square", "variance", "add", "root"}
    held(proto, std_100(), ranges=False)
    zeros = {"x": np.zeros((1, 64), np.float32)}
    assert (run(emulate(done.model), zeros)["y"] == 0).all()


def test_the_layer_norm_op_needs_only_an_input_that_fits():
    proto = model(
        [node("LayerNormalization", ["x", "g"], ["y"], "norm", axis=-1)],
        [("x", ["n", 64])],
        [("y", ["n", 64])],
        {"g": np.ones(64, np.float32)},
    )
    assert held(proto, std_100()).kept == {}
    assert set(held(proto, {"x": std_100()["x"] * 1000}).kept) == {"norm"}


def test_a_mean_whose_sum_overflows_stays_in_fp32():
    proto = model(
        [node("Relu", ["x"], ["a"], "relu"), node("ReduceMean", ["a"], ["y"], "mean", axes=[-1])],
        [("x", ["n", 4096])],
        [("y", ["n", 1])],
    )
    feed = {"x": np.full((2, 4096), 100, np.float32)}
    assert broken(proto, feed)
    assert held(proto, feed).kept == {
        "mean": "the sum over 4096 elements may reach 4.1e+05; FP16 ends at 65504 and half of that is kept free"
    }


def test_a_sum_over_4096_elements_of_100_stays_in_fp32():
    proto = model(
        [node("ReduceSum", ["x", "axis"], ["s"], "sum"), node("Mul", ["s", "g"], ["y"], "scale")],
        [("x", ["n", 4096])],
        [("y", ["n", 1])],
        {"axis": np.array([-1]), "g": np.float32(1e-3)},
    )
    feed = {"x": np.full((2, 4096), 100, np.float32)}
    assert broken(proto, feed)
    assert set(held(proto, feed).kept) == {"sum", "scale"}
    assert set(lower(proto, "fp16", ranges={"x": (0, 100)}).kept) == {"sum"}  # its result was not measured


GUARDED = {
    "clamp": [node("ReduceL2", ["x"], ["l"], "norm", axes=[-1]), node("Clip", ["l", "eps"], ["g"], "guard")],
    "max": [node("ReduceL2", ["x"], ["l"], "norm", axes=[-1]), node("Max", ["eps", "l"], ["g"], "guard")],
    "add": [node("ReduceL1", ["x"], ["l"], "norm", axes=[-1]), node("Add", ["l", "eps"], ["g"], "guard")],
}


@pytest.mark.parametrize("kind", sorted(GUARDED))
@pytest.mark.parametrize("moved", [False, True])
def test_a_guard_that_is_zero_in_fp16_stays_in_fp32_with_its_division(kind, moved):
    way = [node("Expand", ["g", "shape"], ["d"], "expand")] if moved else [node("Identity", ["g"], ["d"], "same")]
    proto = one(
        *GUARDED[kind], *way, node("Div", ["x", "d"], ["y"], "div"), eps=np.float32(1e-12), shape=np.array([1, 4])
    )
    zeros = {"x": np.zeros((1, 4), np.float32)}
    done = held(proto, zeros)
    assert {"guard", "div"} <= set(done.kept)
    assert "1e-12" in done.kept["div"]
    assert done.notes == ()  # the guard itself is FP32
    held(proto, zeros, ranges=False)


def test_a_reciprocal_of_a_guard_may_not_become_infinite():
    nodes = [
        node("Abs", ["x"], ["a"], "abs"),
        node("Add", ["a", "eps"], ["e"], "add"),
        node("Reciprocal", ["e"], ["r"], "reciprocal"),
        node("Mul", ["x", "r"], ["y"], "mul"),
    ]
    done = held(one(*nodes, eps=np.float32(1e-6)), {"x": np.zeros((1, 4), np.float32)}, ranges=False)
    assert {"reciprocal", "mul"} <= set(done.kept)


def test_a_guard_that_fits_costs_nothing():
    nodes = [
        node("Abs", ["x"], ["a"], "abs"),
        node("Add", ["a", "eps"], ["e"], "add"),
        node("Div", ["x", "e"], ["y"], "div"),
    ]
    assert lower(one(*nodes, eps=np.float32(1e-3)), "fp16").kept == {}


def test_a_small_summand_is_no_guard():
    proto = one(node("Add", ["x", "eps"], ["y"], "add"), eps=np.float32(1e-12))
    assert lower(proto, "fp16").kept == {}


def test_a_divisor_measured_near_zero_stays_in_fp32():
    proto = one(node("Abs", ["x"], ["d"], "abs"), node("Div", ["c", "d"], ["y"], "div"), c=np.full(4, 1e-6, np.float32))
    feed = {"x": np.array([[1e-7, 2e-7, 1, 2]], np.float32)}
    assert broken(proto, feed)
    assert {"abs", "div"} <= set(held(proto, feed).kept)


@pytest.mark.parametrize("op", ["Mul", "MatMul"])
def test_a_factor_below_fp16_stays_in_fp32(op):
    tiny = np.eye(4, dtype=np.float32) * np.float32(1e-9)
    proto = one(
        node("Mul", ["x", "up"], ["a"], "up"),
        node(op, ["a", "tiny"], ["b"], "down"),
        node("Identity", ["b"], ["y"], "end"),
        tiny=tiny if op == "MatMul" else tiny[0, 0],
        up=np.float32(1e9),
    )
    feed = {"x": np.array([[1, -2, 3, 4]], np.float32)}
    done = held(proto, feed)
    assert "1e-09" in lower(proto, "fp16").kept["down"]
    assert set(done.kept) == {"up", "down"}


def test_a_tensor_below_fp16_stays_in_fp32_and_one_near_it_is_named():
    proto = one(node("Mul", ["x", "x2"], ["a"], "mul"), node("Relu", ["a"], ["y"], "relu"), x2=np.float32(0.5))
    small = lower(proto, "fp16", ranges={"a": (0.0, 1e-7)})
    assert set(small.kept) == {"mul", "relu"}
    named = lower(proto, "fp16", ranges={"a": (0.0, 5e-5)})
    assert named.kept == {}
    assert named.notes == ("a ends at 5e-05, below FP16's normal numbers",)
    assert lower(proto, "fp16", ranges={"a": (0.0, 0.0)}).kept == {}


def test_weights_of_which_much_is_lost_are_named():
    w = weights((8, 8))
    w[:4] *= 1e-9
    proto = model([node("MatMul", ["x", "w"], ["y"])], [("x", ["n", 8])], [("y", ["n", 8])], {"w": w})
    assert lower(proto, "fp16").notes == ("50% of weight 'w' rounds to zero in FP16",)


def test_a_constant_beyond_fp16_is_not_clamped_where_that_changes_the_result():
    proto = one(node("Mul", ["x", "big"], ["y"], "mul"), big=np.float32(1e6))
    done = held(proto, {"x": np.array([[1e-3, 0, 2e-3, -1e-3]], np.float32)})
    assert "its constant big reaches 1e+06" in done.kept["mul"]
    assert done.clamped == ()


LOWEST = np.finfo(np.float32).min


def attention(*mask_nodes, **parameters):
    """Scores plus a mask, softmax, as exporters write it; ``m`` is 1 where a token counts."""
    nodes = [
        *mask_nodes,
        node("MatMul", ["x", "k"], ["scores"], "scores"),
        node("Add", ["scores", "mask"], ["logits"], "add"),
        node("Softmax", ["logits"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["y"], "values"),
    ]
    inputs = [("x", ["n", 4]), tensor("m", ["n", 4], TensorProto.INT64)]
    extra = {"k": weights((4, 4)), "v": weights((4, 4), 1)}
    return model(nodes, inputs, [("y", ["n", 4])], {**extra, **parameters})


MULTIPLIED = [
    node("Cast", ["m"], ["f"], "cast", to=TensorProto.FLOAT),
    node("Sub", ["one", "f"], ["off"], "off"),
    node("Mul", ["off", "lowest"], ["mask"], "mask"),
]
LESS_ONE = [
    node("Cast", ["m"], ["f"], "cast", to=TensorProto.FLOAT),
    node("Sub", ["f", "one"], ["off"], "off"),
    node("Mul", ["off", "largest"], ["mask"], "mask"),
]
CHOSEN = [
    node("Cast", ["m"], ["on"], "cast", to=TensorProto.BOOL),
    node("Where", ["on", "zero", "lowest"], ["mask"], "mask"),
]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("nodes", [MULTIPLIED, CHOSEN], ids=["multiplied", "chosen"])
def test_masks_are_cut_off_and_cost_nothing(nodes, ranges):
    proto = attention(*nodes, one=np.float32(1), zero=np.float32(0), lowest=np.float32(LOWEST))
    feed = {"x": weights((3, 4), 7, 20), "m": np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])}
    done = held(proto, feed, ranges=ranges)
    assert done.kept == {}
    assert done.clamped == ("lowest",)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_mask_that_is_less_one_times_a_large_number_is_made_in_fp32_and_cut_off(ranges):
    proto = attention(*LESS_ONE, one=np.float32(1), largest=np.float32(-LOWEST))
    feed = {"x": np.full((2, 4), -40, np.float32), "m": np.array([[1, 1, 1, 0], [0, 0, 0, 0]])}
    done = held(proto, {"x": feed["x"], "m": feed["m"] | 1}, ranges=ranges)
    assert set(done.kept) == {"mask"}
    assert np.isfinite(run(emulate(done.model), feed)["y"]).all()
    assert np.allclose(run(emulate(done.model), feed)["y"][0], run(proto, feed)["y"][0], atol=0.02)


def test_a_row_that_is_all_masked_is_no_nan():
    proto = attention(*CHOSEN, zero=np.float32(0), lowest=np.float32(LOWEST))
    feed = {"x": np.full((1, 4), -40, np.float32), "m": np.zeros((1, 4), np.int64)}
    assert np.isfinite(run(emulate(lower(proto, "fp16").model), feed)["y"]).all()
    bf16 = lower(proto, "bf16")
    assert bf16.clamped == ("lowest",)  # float32's lowest number rounds to BF16's -Inf
    assert np.isfinite(run(emulate(bf16.model), feed)["y"]).all()


def test_a_mask_that_comes_in_fp32_is_cut_off_before_its_cast():
    nodes = [
        node("Add", ["x", "mask"], ["logits"], "add"),
        node("Softmax", ["logits"], ["y"], "softmax", axis=-1),
    ]
    proto = model(nodes, [("x", ["n", 4]), ("mask", ["n", 4])], [("y", ["n", 4])])
    feed = {"x": np.full((1, 4), -40, np.float32), "mask": np.full((1, 4), LOWEST)}
    done = held(proto, feed)
    assert done.kept == {}
    assert any("mask 'mask' is cut off" in said for said in done.notes)


def test_a_large_negative_number_that_is_handed_out_is_no_mask():
    proto = one(node("Mul", ["x", "lowest"], ["y"], "mul"), lowest=np.float32(-1e9))
    assert "mul" in lower(proto, "fp16").kept


def test_infinities_in_a_range_are_no_overflow():
    proto = one(node("Relu", ["x"], ["y"], "relu"))
    assert lower(proto, "fp16", ranges={"x": (-np.inf, 3.0)}).kept == {}


def test_what_the_caller_keeps_is_kept_with_his_reason():
    proto = one(node("Relu", ["x"], ["a"], "relu"), node("Neg", ["a"], ["y"], "neg"))
    assert lower(proto, "fp16", keep={"neg": "because"}).kept == {"neg": "because"}


def test_a_cube_that_fits_is_lowered_and_one_that_is_not_measured_is_not():
    nodes = [
        node("Pow", ["x", "three"], ["c"], "cube"),
        node("Mul", ["c", "k"], ["d"], "scale"),
        node("Add", ["x", "d"], ["e"], "add"),
        node("Tanh", ["e"], ["y"], "tanh"),
    ]
    proto = one(*nodes, three=np.float32(3), k=np.float32(0.044715))
    feed = {"x": np.array([[1, -2, 3, 4]], np.float32)}
    assert held(proto, feed).kept == {}
    assert set(lower(proto, "fp16").kept) == {"cube", "scale", "add"}


@pytest.mark.parametrize("peak", [2000, 3000])
def test_whole_numbers_beyond_2048_stay_in_fp32(peak):
    nodes = [node("Cast", ["i"], ["f"], "cast", to=TensorProto.FLOAT), node("Div", ["f", "n"], ["y"], "div")]
    proto = model(nodes, [tensor("i", ["k"], TensorProto.INT64)], [("y", ["k"])], {"n": np.float32(7)})
    feed = {"i": np.array([1, peak - 1, peak])}
    assert set(held(proto, feed, atol=1e-3).kept) == ({"cast", "div"} if peak > 2048 else set())
