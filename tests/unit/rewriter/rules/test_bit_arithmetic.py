import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_text import parsed
from rewriting import apply

KINDS = {k: np.dtype(k) for k in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")}


def binary(op, kind, attributes="", opset=18):
    return parsed(f"g ({kind}[n] a, {kind}[n] b) => ({kind}[n] y) {{ y = {op} {attributes} (a, b) }}", opset=opset)


def numbers(kind, size=6):
    limits = np.iinfo(kind)
    return st.lists(st.integers(int(limits.min), int(limits.max)), min_size=size, max_size=size)


@given(st.data(), st.sampled_from(sorted(KINDS)), st.sampled_from(["And", "Or", "Xor"]))
@settings(max_examples=60, deadline=None)
def test_and_or_xor_are_exact(data, kind, op):
    proto = binary(f"Bitwise{op}", kind)
    done = apply(proto, "bit_arithmetic")
    onnx.checker.check_model(done.model, full_check=True)
    assert f"Bitwise{op}" not in done.ops
    feed = {name: np.array(data.draw(numbers(kind)), kind) for name in "ab"}
    assert (run(done.model, feed)["y"] == run(proto, feed)["y"]).all()
    assert apply(done.model, "bit_arithmetic").rules == []


def test_sums_beyond_what_a_double_holds():
    """Hypothesis found it: ONNX Runtime adds INT64 up as doubles."""
    proto = binary("BitwiseAnd", "int64")
    feed = {"a": np.array([-1, -1], "i8"), "b": np.array([2**53 + 1, -(2**62) - 1], "i8")}
    assert (run(apply(proto, "bit_arithmetic").model, feed)["y"] == feed["b"]).all()


@given(st.data(), st.sampled_from(sorted(KINDS)))
@settings(max_examples=30, deadline=None)
def test_not_is_exact(data, kind):
    proto = parsed(f"g ({kind}[n] a) => ({kind}[n] y) {{ y = BitwiseNot (a) }}")
    after = apply(proto, "bit_arithmetic").model
    feed = {"a": np.array(data.draw(numbers(kind)), kind)}
    assert (run(after, feed)["y"] == run(proto, feed)["y"]).all()


@given(st.data(), st.sampled_from(["uint8", "int32", "int64", "int8"]), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_and_with_the_low_bits_is_a_remainder(data, kind, bits):
    proto = parsed(
        f"g ({kind}[n] a) => ({kind}[n] y) <{kind} m = {{{(1 << bits) - 1}}}> {{ y = BitwiseAnd (a, m) }}",
    )
    done = apply(proto, "bit_arithmetic")
    assert [op for op in done.ops if op != "Cast"] == ["Mod"]
    feed = {"a": np.array(data.draw(numbers(kind)), kind)}
    assert (run(done.model, feed)["y"] == run(proto, feed)["y"]).all()


@given(st.data(), st.sampled_from(["uint8", "uint16", "uint32"]), st.sampled_from(["LEFT", "RIGHT"]))
@settings(max_examples=40, deadline=None)
def test_unsigned_shifts_are_exact(data, kind, direction):
    proto = binary("BitShift", kind, f'<direction: string = "{direction}">')
    after = apply(proto, "bit_arithmetic").model
    bits = np.dtype(kind).itemsize * 8
    shift = np.array(data.draw(st.lists(st.integers(0, bits - 1), min_size=6, max_size=6)), kind)
    value = np.array(data.draw(numbers(kind)), kind)
    wanted = np.left_shift(value, shift) if direction == "LEFT" else np.right_shift(value, shift)
    assert (run(after, {"a": value, "b": shift})["y"] == wanted).all()


@given(st.data(), st.sampled_from(["int8", "int16", "int32", "int64"]), st.sampled_from(["LEFT", "RIGHT"]))
@settings(max_examples=60, deadline=None)
def test_signed_shifts_are_exact_and_saturate(data, kind, direction):
    """ONNX Runtime has them for unsigned types only: the rewritten graph is held against Python's integers."""
    proto = binary("BitShift", kind, f'<direction: string = "{direction}">', opset=28)
    after = apply(proto, "bit_arithmetic").model
    after.opset_import[0].version = 18  # nothing in it is newer, and ONNX Runtime does not know 28
    bits = np.dtype(kind).itemsize * 8
    shifts = data.draw(st.lists(st.integers(-3, bits + 3), min_size=6, max_size=6))
    values = data.draw(numbers(kind))
    wanted = []
    for value, by in zip(values, shifts, strict=True):
        if not 0 <= by < bits:
            wanted.append(-1 if direction == "RIGHT" and value < 0 else 0)
        else:
            moved = value >> by if direction == "RIGHT" else value << by
            half = 1 << (bits - 1)
            wanted.append((moved + half) % (1 << bits) - half)
    got = run(after, {"a": np.array(values, kind), "b": np.array(shifts, kind)})["y"]
    assert got.tolist() == wanted


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseXor"])
def test_broadcasting_is_kept(op):
    proto = parsed(f"g (int32[n,3,1] a, int32[4] b) => (int32[n,3,4] y) {{ y = {op} (a, b) }}")
    after = apply(proto, "bit_arithmetic").model
    random = np.random.default_rng(0)
    feed = {"a": random.integers(-99, 99, (2, 3, 1)).astype("i4"), "b": random.integers(-99, 99, 4).astype("i4")}
    assert (run(after, feed)["y"] == run(proto, feed)["y"]).all()


GUARDS = {"no exact arithmetic for its type: ": lambda: binary("BitwiseAnd", "uint64")}
