"""Models and ranges that tests of number formats share."""

from onnx_models import model, node, weights

from trtbuild.artifacts import CalibrationTable, StoredFile, TensorRange
from trtbuild.quantization import place

FORMATS_OF = {"first": "fp8", "second": "int4", "third": "int8_weights", "fourth": "int8"}
"""What each MatMul of ``chain`` is stored in, in a graph of mixed formats."""


def chain(opset=21):
    """Four MatMuls with Relus between them."""
    nodes = []
    for number, name in enumerate(FORMATS_OF):
        nodes += [
            node("MatMul", [f"r{number}" if number else "x", f"w{number}"], [f"a{number}"], name),
            node("Relu", [f"a{number}"], [f"r{number + 1}" if number < 3 else "y"], f"relu{number}"),
        ]
    parameters = {f"w{n}": weights((64, 64), n, 0.15) for n in range(4)}
    return model(nodes, [("x", ["n", "rows", 64])], [("y", ["n", "rows", 64])], parameters, opset=opset, ir=10)


def table_of(proto, path, *, kept=4.0, seen=4.0, method="minmax"):
    """A table with the same range for every activation of a model."""
    ranges = {name: TensorRange(kept, -seen, seen, 0.0) for name in place(proto).tensors}
    return CalibrationTable(StoredFile.of(path).digest, method, "data", 1, (), True, ranges)
