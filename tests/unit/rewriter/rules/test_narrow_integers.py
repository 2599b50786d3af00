import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_text import parsed
from rewriting import apply

NARROW = ("uint8", "int16", "uint16", "uint32")
BETWEEN = "Cast", "Mod"


def same(proto, feed, *, ops=None):
    done = apply(proto, "narrow_integers")
    onnx.checker.check_model(done.model, full_check=True)
    wanted, got = run(proto, feed), run(done.model, feed)
    for name, value in wanted.items():
        assert value.dtype == got[name].dtype
        assert (value == got[name]).all(), (value, got[name])
    assert apply(done.model, "narrow_integers").rules == []
    if ops is not None:
        assert done.ops == ops
    return done


def inner_types(proto):
    """Element types of what nodes read and make, the model's own inputs and outputs left out."""
    own = {v.name for v in (*proto.graph.input, *proto.graph.output)}
    found = onnx.shape_inference.infer_shapes(proto).graph.value_info
    return {onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in found if v.name not in own}


def test_an_image_is_cast_before_it_is_transposed():
    proto = parsed(
        "g (uint8[n,4,5,3] image) => (float[n,3,4,5] y) "
        "{ t = Transpose <perm: ints = [0,3,1,2]> (image) y = Cast <to: int = 1> (t) }",
    )
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype("u1")
    done = same(proto, {"image": image}, ops=["Cast", "Transpose", "Cast"])
    assert "UINT8" not in inner_types(done.model)


@given(st.data(), st.sampled_from(NARROW), st.sampled_from(["Add", "Sub", "Mul", "Max", "Min", "Div", "Mod"]))
@settings(max_examples=60, deadline=None)
def test_arithmetic_wraps_as_it_did(data, kind, op):
    """Computed by NumPy: ONNX Runtime has few of these types, and its INT64 Max and Min see the last 32 bits only."""
    limits = np.iinfo(kind)
    numbers = st.lists(st.integers(int(limits.min), int(limits.max)), min_size=4, max_size=4)
    left, right = (np.array(data.draw(numbers), kind) for _ in "ab")
    if op in ("Div", "Mod"):
        right = np.where(right == 0, np.array(1, kind), right)
    proto = parsed(f"g ({kind}[4] a, {kind}[4] b) => (int64[4] y) {{ c = {op} (a, b) y = Cast <to: int = 7> (c) }}")
    done = apply(proto, "narrow_integers")
    with np.errstate(over="ignore"):
        wanted = {
            "Add": lambda: left + right, "Sub": lambda: left - right, "Mul": lambda: left * right,
            "Max": lambda: np.maximum(left, right), "Min": lambda: np.minimum(left, right),
            "Div": lambda: np.array([int(a / b) if kind == "int16" else a // b for a, b in zip(left.tolist(), right.tolist(), strict=True)]).astype(kind),
            "Mod": lambda: np.mod(left, right),
        }[op]()  # fmt: skip
    (got,) = onnx.reference.ReferenceEvaluator(done.model).run(None, {"a": left, "b": right})
    assert (got == wanted.astype("i8")).all()
    assert not inner_types(done.model) & {k.upper() for k in NARROW}


@pytest.mark.parametrize("op", ["Equal", "Greater", "LessOrEqual"])
def test_comparisons(op):
    proto = parsed(f"g (uint8[n] a, uint8[n] b) => (bool[n] y) {{ y = {op} (a, b) }}")
    feed = {"a": np.array([1, 2, 255], "u1"), "b": np.array([2, 2, 0], "u1")}
    same(proto, feed)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=4, max_size=4), st.sampled_from(NARROW))
@settings(max_examples=30, deadline=None)
def test_a_cast_there_and_back_is_a_remainder(values, kind):
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    proto = parsed(
        f"g (int32[4] x) => (int64[4] y) {{ c = Cast <to: int = {number}> (x) y = Cast <to: int = 7> (c) }}",
    )
    same(proto, {"x": np.array(values, "i4")})


def test_splits_and_concatenations():
    proto = parsed(
        "g (uint8[n,4] x) => (float[n,4] y) { a, b = Split <axis: int = 1, num_outputs: int = 2> (x) "
        "c = Concat <axis: int = 1> (b, a) y = Cast <to: int = 1> (c) }",
    )
    done = same(proto, {"x": np.arange(8, dtype="u1").reshape(2, 4) + 240})
    assert "Mod" not in done.ops, "the values are known to fit"


def test_int8_and_what_is_handed_out_stay():
    proto = parsed("g (int8[n] x, uint8[n] u) => (int8[n] y, uint8[n] v) { y = Identity (x) v = Identity (u) }")
    done = same(proto, {"x": np.array([-1, 5], "i1"), "u": np.array([200, 5], "u1")})
    assert len(done.rules) == 1


GUARDS = {}
