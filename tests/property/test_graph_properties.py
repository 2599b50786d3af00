import tempfile
from pathlib import Path

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx_models import measured, model, node, random_feed, run, save

from trtbuild.calibration import calibrate
from trtbuild.emulation import emulate
from trtbuild.matrixops import matrix_nodes
from trtbuild.precision import assign_precision
from trtbuild.precision.lowering.lower import lower
from trtbuild.rewriter import rewrite

WIDTH = 4
FLAT = [
    "MatMul",
    "Gemm",
    "GemmT",
    "Add",
    "AddConst",
    "Relu",
    "Mul",
    "Transpose",
    "Dropout",
    "Neg",
    "FoldedWeight",
    "Square",
]
PLANES = ["Conv", "ConvBN", "Add", "Relu", "Mul", "Dropout", "AveragePool1", "AddConst"]


def weight(random, *shape):
    return (random.normal(size=shape) * 0.5).astype(np.float32)


def chain(kinds, seed, planes):  # noqa: C901
    """Operators from x to y that keep the shape, with weights from ``seed``; some read an earlier tensor."""
    random = np.random.default_rng(seed)
    nodes, parameters, made = [], {}, ["x"]

    def put(op, inputs, **attributes):
        made.append(f"t{len(nodes)}")
        nodes.append(node(op, inputs, [made[-1]], f"{op.lower()}_{len(nodes)}", **attributes))

    def parameter(*shape):
        name = f"w{len(parameters)}"
        parameters[name] = weight(random, *shape)
        return name

    for number, kind in enumerate(kinds):
        last, other = made[-1], made[(seed + number) % len(made)]
        if kind == "MatMul":
            put("MatMul", [last, parameter(WIDTH, WIDTH)])
        elif kind in ("Gemm", "GemmT"):
            put("Gemm", [last, parameter(WIDTH, WIDTH), parameter(WIDTH)], transB=int(kind == "GemmT"))
        elif kind == "AddConst":
            value = numpy_helper.from_array(weight(random, WIDTH, *([1, 1] if planes else [])))
            nodes.append(node("Constant", [], [f"c{number}"], f"constant_{number}", value=value))
            put("Add", [last, f"c{number}"])
        elif kind == "FoldedWeight":
            nodes.append(node("Transpose", [parameter(WIDTH, WIDTH)], [f"c{number}"], f"fold_{number}", perm=[1, 0]))
            put("MatMul", [last, f"c{number}"])
        elif kind in ("Add", "Mul"):
            put(kind, [last, other])
        elif kind == "Square":
            put("Mul", [last, last])
        elif kind == "Transpose":
            put("Unsqueeze", [last, "axis"])
            parameters["axis"] = np.array([1])
            put("Transpose", [made[-1]], perm=[0, 2, 1])
            put("Squeeze", [made[-1], "axis2"])
            parameters["axis2"] = np.array([2])
            del made[-3:-1]
        elif kind in ("Conv", "ConvBN"):
            put("Conv", [last, parameter(WIDTH, WIDTH, 3, 3), parameter(WIDTH)], pads=[1, 1, 1, 1])
            if kind == "ConvBN":
                variance = parameter(WIDTH)
                parameters[variance] = np.abs(parameters[variance]) + 0.5
                put("BatchNormalization", [made[-1], parameter(WIDTH), parameter(WIDTH), parameter(WIDTH), variance])
        elif kind == "AveragePool1":
            put("AveragePool", [last], kernel_shape=[1, 1])
        else:
            put(kind, [last])
    put("Identity", [made[-1]])
    nodes[-1].output[0] = "y"
    shape = ["n", WIDTH, 3, 3] if planes else ["n", WIDTH]
    return model(nodes, [("x", shape)], [("y", shape)], parameters)


flat = st.builds(chain, st.lists(st.sampled_from(FLAT), min_size=1, max_size=7), st.integers(0, 999), st.just(False))
planes = st.builds(chain, st.lists(st.sampled_from(PLANES), min_size=1, max_size=6), st.integers(0, 999), st.just(True))
graphs = flat | planes
few = settings(max_examples=50, suppress_health_check=list(HealthCheck))


def scale(array):
    return max(float(np.abs(array).max()), 1e-3)


@few
@given(graphs)
def test_rewriting_keeps_the_outputs_and_comes_to_rest(proto):
    onnx.checker.check_model(proto, full_check=True)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        first = rewrite(save(proto, folder / "in.onnx"), folder, prove=False)
        after = onnx.load(str(first.model.path))
        feed = random_feed(proto)
        wanted, got = run(proto, feed)["y"], run(after, feed)["y"]
        assert np.allclose(wanted, got, rtol=0, atol=1e-4 * scale(wanted))
        assert not {"Constant", "Dropout"} & {n.op_type for n in after.graph.node}
        left = {n.name for n in after.graph.node if n.op_type == "BatchNormalization"}
        assert left == {d.node for d in first.declined if d.rule == "conv_batchnorm"}
        (folder / "again").mkdir()
        second = rewrite(first.model, folder / "again", prove=False)
        assert second.applied == ()
        assert second.model.sha256 == first.model.sha256


@few
@given(graphs)
def test_int8_is_a_valid_model_with_every_weighted_product_quantised(proto):
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        path = save(proto, folder / "in.onnx")
        rewritten = rewrite(path, folder, prove=False)
        feed = random_feed(proto, n=8)
        table = calibrate(rewritten.model, [feed], method="minmax")
        typed = assign_precision(rewritten, folder, precision="int8", table=table)
        after = onnx.load(str(typed.model.path))
        onnx.checker.check_model(after, full_check=True)
        assert set(typed.assignment) == {n.name for n in matrix_nodes(onnx.load(str(rewritten.model.path)))}
        assert set(typed.assignment.values()) <= {"int8"}
        assert np.isfinite(run(after, feed)["y"]).all()


@few
@given(graphs, st.sampled_from(["fp16", "bf16"]))
def test_lowering_is_a_valid_model_with_the_same_interface(proto, precision):
    done = lower(proto, precision)
    onnx.checker.check_model(done.model, full_check=True)
    assert done.model.graph.input == proto.graph.input
    assert done.model.graph.output == proto.graph.output
    feed = random_feed(proto)
    wanted, got = run(proto, feed)["y"], run(emulate(done.model), feed)["y"]
    assert wanted.shape == got.shape
    if scale(wanted) < 100:
        assert np.abs(wanted - got).max() <= {"fp16": 0.05, "bf16": 0.4}[precision] * max(scale(wanted), 1)


@few
@given(graphs, st.sampled_from([1e-6, 1, 100, 10000]))
def test_what_was_measured_does_not_overflow(proto, size):
    feed = {name: array * np.float32(size) for name, array in random_feed(proto).items()}
    ranges = measured(proto, feed)
    if all(np.isfinite(ends).all() for ends in ranges.values()):
        done = lower(proto, "fp16", ranges=ranges)
        onnx.checker.check_model(done.model, full_check=True)
        assert np.isfinite(run(emulate(done.model, low_sums=True), feed)["y"]).all()


@few
@given(graphs, st.sampled_from(["fp16", "bf16"]))
def test_inputs_and_outputs_of_the_lower_type_are_a_valid_model(proto, precision):
    done = lower(proto, precision, io="low").model
    onnx.checker.check_model(done, full_check=True)
    assert {v.type.tensor_type.elem_type for v in (*done.graph.input, *done.graph.output)} <= {10, 16}


@few
@given(flat, st.booleans())
def test_int8_and_fp32_agree_on_one_product(proto, transposed):
    kind = "GemmT" if transposed else "MatMul"
    proto = chain([kind], len(proto.graph.node), planes=False)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        path = save(proto, folder / "in.onnx")
        feed = random_feed(proto, n=16)
        typed = assign_precision(path, folder, precision="int8", table=calibrate(path, [feed], method="minmax"))
        wanted, got = run(proto, feed)["y"], run(onnx.load(str(typed.model.path)), feed)["y"]
        assert np.abs(wanted - got).max() < 0.05 * scale(wanted)
