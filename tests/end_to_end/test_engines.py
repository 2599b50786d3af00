"""The short form of `make bench-engines`: the light models that are quick, on a few targets."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"
NAMES = ("engines", "engines_report", "light_models")
QUICK = ("light_squeezenet", "light_shufflenet")

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("engines")
    sys.path.remove(str(BENCH))
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def compile_plan(bench, tmp_path_factory):
    """Name to what compiles it."""
    folder = tmp_path_factory.mktemp("light")
    files = bench.light_models()
    assert len(files) == 9
    return {name: bench.light(files[name], folder) for name in QUICK}


@pytest.mark.parametrize(
    ("name", "precision", "capability"),
    [
        ("light_squeezenet", "fp16", "7.5"),
        ("light_squeezenet", "int8", "8.9"),
        ("light_shufflenet", "fp16", "8.6"),
        ("light_shufflenet", "int8", "12.0"),
    ],
)
def test_a_light_model_builds_in_the_precision_asked_for(bench, compile_plan, name, precision, capability):
    row = bench.row_of(name, precision, capability, compile_plan[name])
    assert row.refused == ""
    shares = dict(row.shares)
    assert shares[precision] > (0.99 if precision == "fp16" else 0.85), shares
    assert row.kernels > 20
    assert row.megabytes > 1


def test_what_turing_lacks_is_a_row_with_its_reason(bench, compile_plan):
    shuffle, squeeze = (bench.row_of(n, "fp32", "7.5", compile_plan[n]) for n in QUICK[::-1])
    assert shuffle.refused.startswith("trtbuild: TensorRT-RTX has no FP32 matrix multiplication")
    assert squeeze.refused == ""  # it has convolutions only
    assert dict(squeeze.shares) == {"fp32": 1}
    int8 = bench.row_of("light_squeezenet", "int8", "7.5", compile_plan["light_squeezenet"])
    assert "runs INT8 convolutions in FP16 on compute capability 7.5: " in int8.refused
    text = bench.render([shuffle, squeeze, int8])
    assert "| fp32 | 1 of 2 |" in text
    assert "| light_squeezenet | fp32 | 7.5 |" in text
    assert int8.refused in text


def test_noise_is_seeded_finite_and_all_that_the_weights_are(bench, tmp_path):
    import onnx
    from onnx import numpy_helper

    from trtbuild.onnxrun import session

    source = bench.light_models()["light_shufflenet"]
    first, second = (bench.with_noise(source, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.read_bytes() == second.read_bytes()
    model = onnx.load(first)
    assert not [n for n in model.graph.node if n.op_type == "ConstantOfShape"]
    big = [numpy_helper.to_array(t) for t in model.graph.initializer if len(t.dims) > 1]
    assert len(big) > 40
    assert all(w.std() > 0 for w in big)
    (image,) = model.graph.input
    out = session(model).run(None, {image.name: np.ones((1, 3, 224, 224), np.float32)})[0]
    assert np.isfinite(out).all()
    assert out.std() > 0
