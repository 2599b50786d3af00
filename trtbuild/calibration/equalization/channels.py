"""Which channels of a model can be scaled for nothing: x / s here, weights times s there, the same function.

Every channel of every tensor gets a number. A weighted node makes channels with numbers of their own (dividing its
weight and bias scales them) and takes up the factors of the channels it reads (in its weight). In between, the factor
travels: through ReLU, pooling, Reshape, Transpose, Split, Concat, and through a residual Add, which makes the numbers
of its summands one. Whatever else reads a channel pins its number: the factor must be 1.

Algebra: y = f(x W1 + b1) W2 with f(x / s) = f(x) / s for s > 0 equals f(x (W1 / s) + b1 / s) (s W2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild.calibration.equalization import passage
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

    from trtbuild.calibration.equalization.layouts import Layout, Numbers


@dataclass(frozen=True)
class Scaled:
    """A constant that takes up factors.

    Attributes:
        node: Index of the node that reads it.
        slot: Which of the node's inputs.
        numbers: Numbers of the channels, in a shape that broadcasts with the constant.
        power: 1 where it is multiplied by the factors, -1 where it is divided.
    """

    node: int
    slot: int
    numbers: Numbers
    power: int


class ChannelMap:
    """The channels of a model and what ties them together.

    Args:
        model: The FP32 model, weights in memory.
        shapes: Every tensor's shape on one sample.
    """

    def __init__(self, model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        from onnx import numpy_helper

        self.model, self.shapes = model, shapes
        self.tensors = {t.name: t for t in model.graph.initializer}
        self.constants = {n: tuple(t.dims) for n, t in self.tensors.items()}
        self.at: dict[str, Layout] = {}
        self.scaled: list[Scaled] = []
        self.preferred = passage.preferred_axes(model, shapes, self.constants)
        self._parent: list[int] = []
        self._pinned: dict[int, str] = {}
        self._to_array = numpy_helper.to_array
        self._uses: dict[str, int] = {}
        for node in model.graph.node:
            for name in reads(node):
                self._uses[name] = self._uses.get(name, 0) + 1
        for number, node in enumerate(model.graph.node):
            passage.visit(self, number, node)
        for value in model.graph.output:
            self.pin(value.name, "it is an output of the model")

    # What the operators' handlers ask and say

    def constant(self, name: str) -> NDArray[Any] | None:
        """The values of a constant."""
        return self._to_array(self.tensors[name]) if name in self.tensors else None

    def shared(self, name: str) -> bool:
        """Whether more than one node reads a constant."""
        return self._uses.get(name, 0) > 1

    def fresh(self, count: int) -> Numbers:
        """Numbers for channels that nothing ties to others yet."""
        import numpy as np

        start = len(self._parent)
        self._parent += range(start, start + count)
        return np.arange(start, start + count)

    def tie(self, left: Numbers, right: Numbers) -> None:
        """Makes two rows of channels one: their factors are equal."""
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self._root(a), self._root(b)))
            if low != high:
                self._parent[high] = low
                if high in self._pinned:
                    self._pinned.setdefault(low, self._pinned[high])

    def pin(self, name: str, reason: str) -> None:
        """Holds the factors of a tensor's channels at 1."""
        if name in self.at:
            self.hold(self.at[name].numbers, reason)

    def hold(self, numbers: Numbers, reason: str) -> None:
        """Holds the factors of some channels at 1."""
        for number in numbers.tolist():
            self._pinned.setdefault(self._root(number), reason)

    def is_pinned(self, name: str) -> bool:
        """Whether a tensor's channels are known to be pinned by now; a later reader may still pin them."""
        return any(r in self._pinned for r in self.roots(self.at[name].numbers).tolist())

    def scale(self, node: int, slot: int, numbers: Numbers, power: int) -> None:
        """Notes that a node's constant takes up factors."""
        self.scaled.append(Scaled(node, slot, numbers, power))

    # What transforms ask

    def roots(self, numbers: Numbers) -> Numbers:
        """One number for all that are tied together."""
        import numpy as np

        flat = [self._root(n) for n in numbers.ravel().tolist()]
        return np.asarray(flat, np.int64).reshape(numbers.shape)

    def free(self, name: str, axis: int) -> Numbers | None:
        """Roots of a tensor's channels along an axis, -1 for pinned ones; None where none is free."""
        import numpy as np

        layout = self.at.get(name)
        if layout is None or layout.axes != (axis % len(self.shapes[name]),):
            return None
        roots = self.roots(layout.numbers)
        found = np.asarray([-1 if r in self._pinned else r for r in roots.tolist()], np.int64)
        return found if (found >= 0).any() else None

    def why_not(self, name: str) -> str:
        """Why a tensor's channels cannot be scaled."""
        layout = self.at.get(name)
        if layout is None:
            return "nothing before it takes up a factor"
        reasons = [self._pinned[r] for r in self.roots(layout.numbers).tolist() if r in self._pinned]
        return reasons[0] if reasons else "its channels lie along another axis"

    def apply(self, factors: Mapping[int, float]) -> ModelProto:
        """Returns a copy of the model whose channels are divided by factors.

        Args:
            factors: Root to its factor; those left out are 1. Pinned ones must not be there.
        """
        import numpy as np
        import onnx
        from onnx import numpy_helper

        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        changed: dict[tuple[int, int], NDArray[np.float64]] = {}
        for each in self.scaled:
            values = self._factors(each.numbers, factors)
            if (values == 1).all():
                continue
            key = (each.node, each.slot)
            if key not in changed:
                changed[key] = self._to_array(self.tensors[copy.graph.node[each.node].input[each.slot]]).astype(float)
            changed[key] = changed[key] * values**each.power
        stored = {t.name: t for t in copy.graph.initializer}
        for (node, slot), values in changed.items():
            name = copy.graph.node[node].input[slot]
            as_stored = values.astype(np.float32)
            if self.shared(name):
                made = f"{name}/equalized_{node}_{slot}"
                copy.graph.node[node].input[slot] = made
                copy.graph.initializer.append(numpy_helper.from_array(as_stored, made))
            else:
                stored[name].CopyFrom(numpy_helper.from_array(as_stored, name))
        return copy

    def _factors(self, numbers: Numbers, factors: Mapping[int, float]) -> NDArray[np.float64]:
        import numpy as np

        return np.asarray([factors.get(r, 1.0) for r in self.roots(numbers).ravel().tolist()]).reshape(numbers.shape)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number


def shapes_on(model: ModelProto, feed: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape on one sample, found by running it: no inference follows a computed Reshape."""
    import onnx

    from trtbuild import onnxrun

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = [t for n in probe.graph.node for t in n.output if t]
    del probe.graph.output[:]
    for number, name in enumerate(names):
        result = f"trtbuild/shape_{number}"
        probe.graph.node.append(onnx.helper.make_node("Shape", [name], [result], result))
        probe.graph.output.append(onnx.helper.make_tensor_value_info(result, onnx.TensorProto.INT64, None))
    found = onnxrun.run(onnxrun.session(probe, lean=True), feed)
    shapes = {n: tuple(s.tolist()) for n, s in zip(names, found.values(), strict=True)}
    fed = {name: tuple(array.shape) for name, array in feed.items()}
    return {**shapes, **fed, **{t.name: tuple(t.dims) for t in model.graph.initializer}}
