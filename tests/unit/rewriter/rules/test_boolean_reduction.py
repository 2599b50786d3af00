import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from onnx_text import parsed
from rewriting import apply


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.sampled_from(["ReduceMax", "ReduceMin"]))
def test_any_and_all(values, op):
    proto = parsed(
        f"g (bool[2,3] x) => (bool[2,1] y) <int64[1] axes = {{1}}> {{ y = {op} (x, axes) }}",
        opset=20,
    )
    done = apply(proto, "boolean_reduction")
    assert done.ops == ["Cast", op, "Greater"]
    x = np.array(values).reshape(2, 3)
    got = ReferenceEvaluator(done.model).run(None, {"x": x})[0]
    assert (got == (x.any(1, keepdims=True) if op == "ReduceMax" else x.all(1, keepdims=True))).all()


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_numbers_are_left(op):
    assert apply(parsed(f"g (float[2,3] x) => (float[1,1] y) {{ y = {op} (x) }}"), "boolean_reduction").rules == []


GUARDS = {}
