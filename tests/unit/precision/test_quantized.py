import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_models import cnn, initializer, matmul, model, node, ops, random_feed, run, save, weights
from quantized_models import FORMATS_OF, chain, table_of

from trtbuild.artifacts import TensorRange
from trtbuild.emulation import emulate
from trtbuild.errors import PrecisionError, UsageError
from trtbuild.feeds import Sample
from trtbuild.matrixops import node_precisions
from trtbuild.onnxfile import opset
from trtbuild.precision import assign_precision
from trtbuild.precision.quantized import quantize
from trtbuild.quantization import Fidelity, place


def assigned(proto, folder, precision, *, table=None, **options):
    path = save(proto, folder / "m.onnx")
    return assign_precision(path, folder, precision=precision, table=table or table_of(proto, path), **options)


def sqnr_db(wanted, got):
    return 10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum())


def behind(proto, name, index):
    """The DequantizeLinear that a node's input comes from, a Cast to FP16 between them or not."""
    makers = {n.output[0]: n for n in proto.graph.node}
    found = makers[next(n for n in proto.graph.node if n.name == name).input[index]]
    return makers[found.input[0]] if found.op_type == "Cast" else found


@pytest.mark.parametrize(
    ("precision", "version", "least_db"),
    [("fp8", 19, 20), ("int4", 21, 12), ("int8_weights", 17, 30), ("int8", 17, 15)],
)
def test_a_graph_in_each_format_runs_near_fp32(tmp_path, precision, version, least_db):
    proto = chain(opset=17)
    done = assigned(proto, tmp_path, precision)
    assert set(done.assignment.values()) == {precision}
    typed = onnx.load(str(done.model.path))
    assert opset(typed) == version
    feed = {"x": weights((2, 5, 64), 9)}
    wanted = run(chain(), feed)["y"]
    assert least_db < sqnr_db(wanted, run(typed, feed)["y"]) < 60
    assert least_db < sqnr_db(wanted, run(emulate(typed), feed)["y"]) < 60


def test_fidelity_of_a_typed_graph_follows_its_format(tmp_path):
    proto = chain(opset=17)
    judge = Fidelity(proto, [Sample({"x": weights((2, 5, 64), seed)}, None, "") for seed in (7, 8)])
    found = {
        p: judge.sqnr_db(onnx.load(str(assigned(proto, tmp_path, p).model.path)))
        for p in ("int4", "fp8", "int8_weights")
    }
    assert 10 < found["int4"] < found["fp8"] < found["int8_weights"] < 60


def test_fp8_pairs_are_scaled_to_448(tmp_path):
    typed = onnx.load(str(assigned(matmul(8), tmp_path, "fp8").model.path))
    assert ops(typed).count("QuantizeLinear") == 1
    activation, weight = behind(typed, "matmul", 0), behind(typed, "matmul", 1)
    assert initializer(typed, activation.input[1]) == np.float32(4 / 448)
    numbers = initializer(typed, weight.input[0])
    assert numbers.dtype == ml_dtypes.float8_e4m3fn
    assert np.abs(numbers.astype(np.float32)).max(axis=0).tolist() == [448] * 4


def test_onnx_runtime_rounds_fp8_as_we_do(tmp_path):
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], "it")], [("x", [64, 2])], [("y", [64, 2])], {"w": np.eye(2, dtype="f")}
    )
    typed = onnx.load(str(assigned(proto, tmp_path, "fp8").model.path))
    x = np.concatenate([np.linspace(-6, 6, 127), [1e-5]]).astype("f").reshape(64, 2)
    scale = np.float32(4 / 448)
    wanted = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn).astype("f") * scale
    assert np.abs(run(typed, {"x": x})["y"] - wanted).max() < 4 * 2**-10  # the product is in FP16


def test_fp8_keeps_the_largest_values_seen(tmp_path):
    proto = matmul()
    table = table_of(proto, save(proto, tmp_path / "m.onnx"), kept=2.0, seen=8.0, method="mse")
    done = assigned(proto, tmp_path, "fp8", table=table)
    typed = onnx.load(str(done.model.path))
    assert initializer(typed, behind(typed, "matmul", 0).input[1]) == np.float32(8 / 448)
    assert done.notes == ("fp8 keeps the largest values seen: mse clips 1 tensors, which gains nothing in fp8",)
    as_int8 = assigned(proto, tmp_path, "int8", table=table)
    typed = onnx.load(str(as_int8.model.path))
    assert initializer(typed, behind(typed, "matmul", 0).input[1]) == np.float32(2 / 127)
    assert as_int8.notes == ()


def test_a_tensor_that_int8_reads_too_keeps_int8s_threshold(tmp_path):
    nodes = [
        node("MatMul", ["x", "w"], ["a"], "one"),
        node("MatMul", ["x", "v"], ["b"], "two"),
        node("Add", ["a", "b"], ["y"]),
    ]
    proto = model(
        nodes, [("x", ["n", 4])], [("y", ["n", 4])], {"w": weights((4, 4)), "v": weights((4, 4), 1)}, opset=21
    )
    table = table_of(proto, save(proto, tmp_path / "m.onnx"), kept=2.0, seen=8.0)
    assert table.ranges == {"x": TensorRange(2.0, -8.0, 8.0, 0.0)}
    done = quantize(proto, place(proto), {"one": "fp8", "two": "int8"}, table).model
    scales = [initializer(done, behind(done, name, 0).input[1]) for name in ("one", "two")]
    assert scales == [np.float32(2 / 448), np.float32(2 / 127)]


def test_weights_alone_need_no_table_and_get_fp16_scales(tmp_path):
    path = save(chain(opset=17), tmp_path / "m.onnx")
    done = assign_precision(path, tmp_path, precision="int4")
    typed = onnx.load(str(done.model.path))
    assert "QuantizeLinear" not in ops(typed)
    for name in done.assignment:
        dequantize = behind(typed, name, 1)
        numbers, scale = (next(t for t in typed.graph.initializer if t.name == i) for i in dequantize.input[:2])
        assert (numbers.data_type, scale.data_type) == (TensorProto.INT4, TensorProto.FLOAT16)
        assert (list(numbers.dims), list(scale.dims)) == ([64, 64], [2, 64])
    assert ops(typed).count("Cast") == 2  # the graph's input and output stay FP32
    assert done.notes[0].startswith("int4 blocks of other lengths than 128 and 64 in 4 nodes, first first with 32")


def test_int8_and_fp8_need_a_table(tmp_path):
    path = save(matmul(), tmp_path / "m.onnx")
    for precision in ("int8", "fp8"):
        with pytest.raises(UsageError, match=f"{precision} needs a calibration table"):
            assign_precision(path, tmp_path, precision=precision)


def test_formats_mix_in_one_graph(tmp_path):
    proto = chain()
    done = quantize(proto, place(proto), FORMATS_OF, table_of(proto, save(proto, tmp_path / "m.onnx")))
    onnx.checker.check_model(done.model, full_check=True)
    assert node_precisions(done.model) == FORMATS_OF
    scales = {name: behind(done.model, name, 1).input[1] for name in FORMATS_OF}
    kinds = {name: initializer(done.model, scale).dtype.name for name, scale in scales.items()}
    # a product's two scales must be of one type, so only weights beside a float activation get FP16 ones
    assert kinds == {"first": "float32", "second": "float16", "third": "float16", "fourth": "float32"}
    feed = {"x": weights((2, 3, 64), 9)}
    assert sqnr_db(run(proto, feed)["y"], run(done.model, feed)["y"]) > 10


def test_what_a_format_does_nothing_for_stays_in_fp16(tmp_path):
    done = assigned(cnn(), tmp_path, "int8_weights", allow_fallback=True)
    assert done.assignment == {"conv1": "fp16", "conv2": "fp16", "head": "fp16"}
    assert "a convolution does not read int8_weights" in done.kept["conv1"]
    assert "an odd size" in done.kept["head"]


def test_a_graph_without_a_place_is_refused_unless_allowed(tmp_path):
    with pytest.raises(PrecisionError, match="no node can be int4: conv1: a convolution does not read int4"):
        assigned(cnn(), tmp_path, "int4")
    assert set(assigned(cnn(), tmp_path, "int4", allow_fallback=True).assignment.values()) == {"fp16"}


def test_an_opset_that_cannot_be_raised_is_said_with_the_operator(tmp_path):
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[1]), node("MatMul", ["m", "w"], ["y"], "it")]
    proto = model(nodes, [("x", ["n", 3, 64])], [("y", ["n", 1, 8])], {"w": weights((64, 8))})
    with pytest.raises(PrecisionError, match="fp8 needs ONNX opset 19, the model has 17, and ReduceMean"):
        assigned(proto, tmp_path, "fp8")


def test_what_calibration_has_seen_beyond_fp16_stays_in_fp32(tmp_path):
    proto = chain()
    path = save(proto, tmp_path / "m.onnx")
    for seen, count in ((4.0, 0), (1e6, 3)):
        done = quantize(chain(), place(proto), "fp8", table_of(proto, path, kept=seen, seen=seen))
        relus = [n for n in done.model.graph.node if n.op_type == "Relu" and n.name in done.kept]
        assert len(relus) == count


def test_the_result_is_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (assigned(chain(), tmp_path / name, "int4").model.sha256 for name in ("a", "b"))
    assert first == second


def test_random_feeds_stay_finite_with_weights_next_to_zero(tmp_path):
    proto = matmul(64, 8, scale=1e-7)
    for precision in ("fp8", "int4", "int8_weights"):
        typed = onnx.load(str(assigned(proto, tmp_path, precision).model.path))
        assert np.isfinite(run(typed, random_feed(proto))["y"]).all()
