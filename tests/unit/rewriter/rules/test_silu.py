import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node, tensor
from rewriting import apply, holds


def written(
    numerator="x",
    *,
    negate="neg",
    form="div",
    swapped=False,
    shape=("n", 4),
    one=1.0,
    outputs=(),
    extent=(),
    before=True,
):
    """numerator / (1 + exp(-x)); the numerator is ``x``, ``one``, ``other`` or ``column``."""
    minus = {"neg": ("Neg", ["x0"]), "mul": ("Mul", ["minus", "x0"]), "sub": ("Sub", ["zero", "x0"])}[negate]
    nodes = [node("Abs", ["x"], ["x0"])] if before else []
    minus = (minus[0], [i if before else i.replace("x0", "x") for i in minus[1]])
    nodes += [
        node(*minus, ["m"]),
        node("Exp", ["m"], ["e"]),
        node("Add", ["one", "e"] if swapped else ["e", "one"], ["d"]),
    ]
    top = {"x": "x0" if before else "x"}.get(numerator, numerator)
    if form == "div":
        nodes.append(node("Div", [top, "d"], ["s"], "divide"))
    else:
        nodes += [node("Reciprocal", ["d"], ["r"], "invert"), node("Mul", ["r", top], ["s"])]
    nodes.append(node("Neg", ["s"], ["y"]))
    parameters = {"one": np.full(extent, one, np.float32), "minus": np.float32(-1), "zero": np.float32(0)}
    inputs = [("x", list(shape)), ("other", list(shape)), ("column", [*shape[:-1], 1])]
    used = {i for n in nodes for i in n.input}
    return model(
        nodes,
        [i for i in inputs if i[0] in used],
        [("y", list(shape)), *(tensor(o, list(shape)) for o in outputs)],
        {k: v for k, v in parameters.items() if k in used},
    )


@settings(max_examples=30, deadline=None)
@given(
    numerator=st.sampled_from(["x", "one", "other", "column"]),
    negate=st.sampled_from(["neg", "mul", "sub"]),
    form=st.sampled_from(["div", "reciprocal"]),
    swapped=st.booleans(),
    shape=st.sampled_from([("n", 4), ("n", "m", 3), (2, 5)]),
    outputs=st.sampled_from([(), ("e",), ("d",)]),
    extent=st.sampled_from([(), (1,), (1, 1)]),
    before=st.booleans(),
)
def test_property(numerator, negate, form, swapped, shape, outputs, extent, before):
    proto = written(
        numerator, negate=negate, form=form, swapped=swapped, shape=shape, outputs=outputs, extent=extent, before=before
    )
    done = holds(proto, "silu")
    assert done.rules == ["silu"]
    assert "Sigmoid" in done.ops
    assert not {"Div", "Reciprocal"} & set(done.ops)
    assert outputs or "Exp" not in done.ops


def test_silu_has_its_canonical_form():
    done = apply(written(), "silu")
    assert done.ops == ["Abs", "Sigmoid", "Mul", "Neg"]
    (edit,) = done.done.applied
    assert set(edit.covers) == {"neg_m", "exp_e", "add_d"}


@pytest.mark.parametrize("change", ["two", "plus", "base"])
def test_something_else_is_left_alone(change):
    proto = written(one=2.0 if change == "two" else 1.0, negate="mul" if change == "plus" else "neg")
    if change == "plus":
        next(t for t in proto.graph.initializer if t.name == "minus").CopyFrom(
            model([], [], [], {"minus": np.float32(-2)}).graph.initializer[0]
        )
    if change == "base":
        next(n for n in proto.graph.node if n.op_type == "Exp").op_type = "Cosh"
    assert holds(proto, "silu").done.applied == ()


GUARDS = {}
