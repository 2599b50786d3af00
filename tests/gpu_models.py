"""Models of the GPU suite, and their typed forms. Nothing here needs a GPU: the other tests build them all."""

import numpy as np
from onnx import TensorProto
from onnx_models import model, node, random_feed, save, tensor, weights

from trtbuild.artifacts import AxisRange, OptimizationProfile
from trtbuild.calibration import calibrate
from trtbuild.engine import compile as compile_plan
from trtbuild.precision import assign_precision

SMALL = OptimizationProfile({"n": AxisRange(1, 2, 8)})
LARGE = OptimizationProfile({"n": AxisRange(4, 64, 256)})
TYPED = ("fp32", "fp16", "bf16", "int8")
SIZES = (1, 2, 7, 8, 9, 64, 200, 256)
"""Rows to run at: the ends of both profiles, where they meet, and between."""


def network():
    """Two MatMuls and two outputs: a float tensor and its softmax."""
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], "first"),
        node("Relu", ["a"], ["h"], "relu"),
        node("MatMul", ["h", "w2"], ["y"], "second"),
        node("Softmax", ["y"], ["p"], "softmax", axis=-1),
    ]
    parameters = {"w1": weights((64, 128), 1, 0.1), "w2": weights((128, 32), 2, 0.1)}
    return model(nodes, [("x", ["n", 64])], [("y", ["n", 32]), ("p", ["n", 32])], parameters, opset=18)


def positives():
    """Where a tensor is above zero: an output whose size depends on the data, beside one whose size does not."""
    nodes = [
        node("Relu", ["x"], ["y"], "relu"),
        node("Cast", ["y"], ["b"], "cast", to=TensorProto.BOOL),
        node("NonZero", ["b"], ["where"], "nonzero"),
    ]
    outputs = [("y", ["n", 16]), tensor("where", [2, "found"], TensorProto.INT64)]
    return model(nodes, [("x", ["n", 16])], outputs, opset=18)


def feeds(sizes=SIZES, columns=64, seed=1):
    """One feed a size."""
    random = np.random.default_rng(seed)
    return [{"x": random.uniform(-1, 1, (n, columns)).astype(np.float32)} for n in sizes]


def typed(precision, folder, **options):
    """``network`` in a precision."""
    proto = network()
    path = save(proto, folder / "network.onnx")
    table = calibrate(path, [random_feed(proto, seed, n=64) for seed in (10, 11)], method="minmax")
    return assign_precision(path, folder, precision=precision, table=table, profiles=[SMALL, LARGE], **options)


def compiled(low, folder, target, profiles=(SMALL, LARGE)):
    """A plan in a folder of its own."""
    folder.mkdir()
    return compile_plan(low, folder, target=target, profiles=profiles)
