import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from onnx_text import parsed
from rewriting import apply

whole = st.integers(-999, 999)


@given(st.lists(whole, min_size=5, max_size=5), st.lists(whole.filter(bool), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_remainder_has_the_divisors_sign(x, y):
    """Eighths, so that NumPy's own remainder is exact. ONNX Runtime does not know opset 28."""
    proto = parsed("g (float[n] x, float[n] y) => (float[n] z) { z = Mod <fmod: int = 0> (x, y) }", opset=28, ir=11)
    done = apply(proto, "float_mod")
    assert done.rules == ["float_mod"]
    assert apply(done.model, "float_mod").rules == []
    left, right = (np.array(v, np.float32) / 8 for v in (x, y))
    got = ReferenceEvaluator(done.model).run(None, {"x": left, "y": right})[0]
    assert (got == np.mod(left, right)).all()


def test_fmod_and_integers_are_left():
    for kind, attribute in (("float", 1), ("int32", 0)):
        proto = parsed(f"g ({kind}[n] x, {kind}[n] y) => ({kind}[n] z) {{ z = Mod <fmod: int = {attribute}> (x, y) }}")
        assert apply(proto, "float_mod").rules == []


GUARDS = {}
