"""The bias of a node, wherever it stands, and what is added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Row = NDArray[np.float64]


class Biases:
    """The biases of a model, changed in place."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.nodes = {n.name: n for n in model.graph.node}
        self.stored = {t.name: t for t in model.graph.initializer}
        self.outputs = {o.name for o in model.graph.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in reads(node):
                self.readers.setdefault(name, []).append(node)

    def constant(self, name: str) -> NDArray[Any]:
        """The values of a constant."""
        from onnx import numpy_helper

        return numpy_helper.to_array(self.stored[name])

    def group(self, name: str) -> int:
        """Groups of a convolution; 1 for any other node."""
        return int(_attribute(self.nodes[name], "group", 1))

    def add(self, name: str, shift: Row) -> str | None:
        """Adds to a node's bias; returns why not, where it cannot."""
        node = self.nodes[name]
        if node.op_type == "MatMul":
            return self._behind(node.output[0], shift)
        if node.op_type == "Gemm":
            beta = _attribute(node, "beta", 1.0)
            if beta == 0:
                return "its bias does not count"
            shift = shift * _attribute(node, "alpha", 1.0) / beta
        if len(node.input) < 3:
            node.input.append("")
        if node.input[2] and node.input[2] not in self.stored:
            return "its bias is no constant"
        self._write(node, 2, shift)
        return None

    def _behind(self, tensor: str, shift: Row) -> str | None:
        """MatMul has no bias; what follows it may be one: an Add of a constant, or a Split and one for each part."""
        parts = self._parts(tensor, shift)
        if parts is None:
            return "no Add of a constant follows it"
        for add, slot, part in parts:
            self._write(add, slot, part)
        return None

    def _parts(self, tensor: str, shift: Row) -> list[tuple[NodeProto, int, Row]] | None:
        readers = self.readers.get(tensor, [])
        if len(readers) != 1 or tensor in self.outputs:
            return None
        reader = readers[0]
        if reader.op_type == "Add":
            slot = 1 - list(reader.input).index(tensor)
            constant = self.stored.get(reader.input[slot])
            last = constant is not None and (not constant.dims or constant.dims[-1] in (1, len(shift)))
            return [(reader, slot, shift)] if last else None
        if reader.op_type != "Split" or len(reader.input) < 2 or reader.input[1] not in self.stored:
            return None
        sizes = self.constant(reader.input[1]).tolist()
        if _attribute(reader, "axis", 0) != -1 or sum(sizes) != len(shift):
            return None
        found: list[tuple[NodeProto, int, Row]] = []
        start = 0
        for name, size in zip(reader.output, sizes, strict=True):
            inner = self._parts(name, shift[start : start + size])
            if inner is None:
                return None
            found += inner
            start += size
        return found

    def _write(self, node: NodeProto, slot: int, shift: Row) -> None:
        import numpy as np
        from onnx import numpy_helper

        before = self.constant(node.input[slot]).astype(float) if node.input[slot] else 0.0
        made = f"{node.name}/corrected_bias"
        after = numpy_helper.from_array((before + shift).astype(np.float32), made)
        if node.input[slot] == made:  # corrected before
            self.stored[made].CopyFrom(after)
            return
        node.input[slot] = made
        self.graph.initializer.append(after)
        self.stored[made] = self.graph.initializer[-1]


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
