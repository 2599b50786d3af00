"""ONNX models written as text."""

import onnx


def parsed(graph, *, opset=18, ir=10):
    """A model from the text of its graph."""
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]> {graph}')
