import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node
from rewriting import holds

SCALED = ("last", "first", "gate", "inverse")


def written(
    form="clip", scaled="last", *, swapped=False, opset=17, shape=("n", 4), alpha=1 / 6, three=3.0, six=6.0, low=0.0
):
    """x clip(x + 3, 0, 6) / 6 with the division at several places, or x HardSigmoid(x)."""
    parameters = {"three": three, "low": low, "high": six, "six": 6.0, "sixth": 1 / 6}
    nodes = [node("Mul", ["x", "six"], ["h"])]
    if form == "sigmoid":
        nodes += [node("HardSigmoid", ["h"], ["g"], alpha=alpha, beta=0.5)]
        scaled = "none"
    else:
        nodes += [node("Add", ["three", "h"] if swapped else ["h", "three"], ["a"])]
        nodes += (
            [node("Clip", ["a", "low", "high"], ["g"])]
            if opset > 10
            else [node("Clip", ["a"], ["g"], min=low, max=six)]
        )
    left, gate = "h", "g"
    if scaled == "first":
        nodes.append(node("Div", ["h", "six"], ["h6"]))
        left = "h6"
    if scaled == "gate":
        nodes.append(node("Div", ["g", "six"], ["g6"]))
        gate = "g6"
    whole = scaled in ("last", "inverse")
    nodes.append(node("Mul", [gate, left] if swapped else [left, gate], ["m" if whole else "s"]))
    if whole:
        nodes.append(node("Div", ["m", "six"], ["s"]) if scaled == "last" else node("Mul", ["sixth", "m"], ["s"]))
    nodes.append(node("Neg", ["s"], ["y"]))
    used = {i for n in nodes for i in n.input}
    kept = {k: np.float32(v) for k, v in parameters.items() if k in used}
    return model(nodes, [("x", list(shape))], [("y", list(shape))], kept, opset=opset)


@settings(max_examples=20, deadline=None)
@given(
    form=st.sampled_from(["clip", "sigmoid"]),
    scaled=st.sampled_from(SCALED),
    swapped=st.booleans(),
    shape=st.sampled_from([("n", 4), ("n", "m", 3), (2, 5)]),
    opset=st.sampled_from([14, 17, 22]),
)
def test_property(form, scaled, swapped, shape, opset):
    done = holds(written(form, scaled, swapped=swapped, shape=shape, opset=opset), "hard_swish")
    assert done.ops == ["Mul", "HardSwish", "Neg"]


@pytest.mark.parametrize(
    "change",
    [{"three": 2.0}, {"six": 5.0}, {"low": 1.0}, {"form": "sigmoid", "alpha": 0.2}],
    ids=lambda c: next(iter(c)),
)
def test_another_constant_is_another_function(change):
    assert holds(written(**change), "hard_swish").done.applied == ()


GUARDS = {"HardSwish came with opset 14": lambda: written(opset=10)}
