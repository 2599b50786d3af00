import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from onnx_models import model, node, ops, tensor
from rewriting import apply, holds

ROOT = np.sqrt(2 / np.pi)


class Written:
    """Builds a graph from expressions, a node each."""

    def __init__(self, kind=np.float32, extent=()):
        self.nodes, self.parameters, self.kind, self.extent = [], {}, kind, extent

    def __call__(self, op, *reads):
        names = []
        for read in reads:
            name = read
            if not isinstance(read, str):
                name = f"c{len(self.parameters)}"
                self.parameters[name] = np.full(self.extent, read, self.kind)
            names.append(name)
        made = f"t{len(self.nodes)}"
        self.nodes.append(node(op, names, [made], f"node_{made}"))
        return made

    def model(self, last, shape=("n", 4), opset=20, outputs=(), **options):
        kind = TensorProto.FLOAT if self.kind is np.float32 else TensorProto.FLOAT16
        nodes = [*self.nodes, node("Neg", [last], ["y"])]
        results = [tensor(o, list(shape), kind) for o in ("y", *outputs)]
        return model(nodes, [tensor("x", list(shape), kind)], results, self.parameters, opset=opset, **options)


def erf_form(w, x, order):
    u = w("Mul", x, np.sqrt(0.5)) if order % 2 else w("Div", x, np.sqrt(2))
    g = w("Erf", u)
    if order % 7 == 6:  # x (0.5 + 0.5 erf)
        return w("Mul", x, w("Add", w("Mul", 0.5, g), 0.5))
    if order % 7 == 5:  # 0.5 x + 0.5 x erf
        half = w("Mul", x, 0.5)
        return w("Add", w("Mul", half, g), half)
    return _halved(w, x, w("Add", 1, g) if order % 2 else w("Add", g, 1), order)


def tanh_form(w, x, order):
    cube = w("Pow", x, 3) if order % 2 else w("Mul", w("Mul", x, x), x)
    if order % 3 == 0:
        u = w("Mul", w("Add", x, w("Mul", cube, 0.044715)), ROOT)
    elif order % 3 == 1:
        u = w("Add", w("Mul", 0.044715 * ROOT, cube), w("Mul", x, ROOT))
    else:
        square = w("Pow", x, 2) if order % 2 else w("Mul", x, x)
        u = w("Mul", w("Mul", ROOT, x), w("Add", w("Mul", square, 0.044715), 1))
    return _halved(w, x, w("Add", w("Tanh", u), 1), order)


def _halved(w, x, gate, order):
    if order % 5 == 0:
        return w("Mul", w("Mul", x, 0.5), gate)
    if order % 5 == 1:
        return w("Mul", w("Mul", x, gate), 0.5)
    if order % 5 == 2:
        return w("Div", w("Mul", gate, x), 2)
    if order % 5 == 3:
        return w("Mul", w("Mul", 0.5, gate), x)
    return w("Mul", x, w("Div", gate, 2))


def gelu(form=erf_form, order=0, *, before="Relu", kind=np.float32, extent=(), **options):
    w = Written(kind, extent)
    x = w("Mul", "x", "x") if before == "Mul" else w(before, "x") if before else "x"
    return w.model(form(w, x, order), **options)


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from([erf_form, tanh_form]),
    order=st.integers(0, 209),
    before=st.sampled_from(["Relu", "Mul", None]),
    extent=st.sampled_from([(), (1,), (1, 1)]),
    shape=st.sampled_from([("n", 4), ("n", "m", 3), (2, 5)]),
    outputs=st.sampled_from([(), ("t2",)]),
)
def test_property(form, order, before, extent, shape, outputs):
    proto = gelu(form, order, before=before, extent=extent, shape=shape, outputs=outputs)
    done = holds(proto, "gelu")
    assert "Gelu" in done.ops
    approximate = "none" if form is erf_form else "tanh"
    assert [e.change for e in done.done.applied] == [f"Gelu, approximate={approximate}"]


@pytest.mark.parametrize("form", [erf_form, tanh_form])
def test_in_half_precision(form):
    assert "Gelu" in holds(gelu(form, kind=np.float16), "gelu").ops


@pytest.mark.parametrize("change", [(0.5, 0.6), (1, 0.9), (2**0.5, 1.4), (0.044715, 0.04), (ROOT, 0.79), (3, 4)])
def test_another_constant_is_another_function(change):
    for form in (erf_form, tanh_form):
        w = Written()
        last = form(w, "x", 3 if form is tanh_form else 0)
        hit = [k for k, v in w.parameters.items() if np.isclose(v, change[0])]
        for name in hit:
            w.parameters[name] = np.float32(change[1])
        assert (holds(w.model(last), "gelu").done.applied == ()) == bool(hit)


def test_another_factor_is_another_function():
    w = Written()
    x, other = w("Relu", "x"), w("Neg", "x")
    u = w("Erf", w("Div", x, np.sqrt(2)))
    last = w("Mul", w("Mul", other, w("Add", u, 1)), 0.5)
    assert holds(w.model(last), "gelu").done.applied == ()


def test_a_constant_that_adds_an_axis_is_left_alone():
    proto = gelu(extent=(1, 1, 1), before=None)
    proto.graph.output[0].CopyFrom(tensor("y", [1, "n", 4]))
    assert holds(proto, "gelu").done.applied == ()


def test_what_it_covers_is_told():
    done = apply(gelu(), "gelu")
    (edit,) = done.done.applied
    assert set(edit.covers) == {n.name for n in gelu().graph.node} - {edit.node, "node_t0", "neg_y"}
    assert ops(done.model) == ["Relu", "Gelu", "Neg"]


GUARDS = {"Gelu came with opset 20": lambda: gelu(opset=17)}
