"""What a rule sees of a graph: a view over onnx-graphsurgeon that answers what rules ask and makes their edits.

GraphSurgeon's tensors compare equal by name, so everything here compares by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trtbuild.rewriter.tensors import infer_types, read_from_disk

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trtbuild.artifacts import AxisRange

Dim = int | str | None
"""Size of an axis: a number, the name of a dynamic one, or None where nobody knows."""


class Declined(Exception):  # noqa: N818  not an error: a match that a rule leaves alone
    """Ends ``propose`` where a rule leaves a match alone; its text is the reason."""


@dataclass(frozen=True)
class Edit:
    """A change a rule offers.

    Attributes:
        change: What it does, in words.
        apply: Makes it.
        covers: Names of further nodes that the edit takes away or replaces, for ``--explain``.
    """

    change: str
    apply: Callable[[], None]
    covers: tuple[str, ...] = ()


@dataclass
class _Model:
    """What the views of one model's graphs share."""

    opset: int
    backend: str | None
    bounds: Mapping[str, AxisRange]
    names: set[str] = field(default_factory=set)  # of all tensors and nodes, so that a new one is new everywhere
    outputs: set[int] = field(default_factory=set)  # id() of each graph's outputs; edits keep these objects
    kept: list[Any] = field(default_factory=list)  # the same objects, so that no id is used again
    origin: dict[str, str] = field(default_factory=dict)  # a new node's name to the one it came from
    made: list[Any] = field(default_factory=list)  # nodes of the edit that is being made


class GraphView:
    """A graph and its questions; a subgraph of If, Loop or Scan has a view of its own.

    Args:
        graph: The ``onnx_graphsurgeon.Graph``; edits change it in place.
        backend: Name of the backend that the model is for; None when it is for all.
        bounds: Sizes of the named axes, from the optimisation profiles.
        folder: Where weights lie that are still on disk.
    """

    def __init__(
        self,
        graph: Any,
        *,
        backend: str | None = None,
        bounds: Mapping[str, AxisRange] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.graph = graph
        self.model = _Model(graph.opset, backend, bounds or {})
        if folder is not None:
            read_from_disk(folder, (graph, *graph.subgraphs(recursive=True)))
        for each in (graph, *graph.subgraphs(recursive=True)):
            self.model.outputs |= {id(t) for t in each.outputs}
            self.model.kept += each.outputs
            self.model.names |= {t.name for t in (*each.inputs, *each.outputs)}
            for node in each.nodes:
                self.model.names |= {node.name, *(t.name for t in (*node.inputs, *node.outputs))}

    # Going through the graph

    def scopes(self) -> Iterator[GraphView]:
        """This graph and all graphs inside its nodes, each as a view."""
        yield self
        for inner in self.graph.subgraphs(recursive=True):
            view = object.__new__(type(self))
            view.graph, view.model = inner, self.model
            yield view

    def nodes(self) -> Iterator[Any]:
        """The nodes, as they stand now; a rule may change the graph while it goes through them."""
        for node in list(self.graph.nodes):
            if node.outputs:  # an edit may have taken it away a moment ago
                yield node

    @property
    def opset(self) -> int:
        """Version of the default operator domain."""
        return self.model.opset

    @property
    def backend(self) -> str | None:
        """Name of the backend that the model is for; None when it is for all."""
        return self.model.backend

    # Saying why not

    def need(self, condition: object, reason: str) -> None:
        """Declines the match unless ``condition`` holds: without it the edit would be wrong.

        Raises:
            Declined: With the reason.
        """
        if not condition:
            raise Declined(reason)

    def prefer(self, condition: object, reason: str) -> None:
        """Declines the match unless ``condition`` holds: without it the edit would be right but not worth making.

        Raises:
            Declined: With the reason.
        """
        if not condition:
            raise Declined(reason)

    # Questions about tensors

    def is_output(self, tensor: Any) -> bool:
        """Whether this graph, or one of the model's other graphs, hands the tensor out."""
        return id(tensor) in self.model.outputs

    def constant(self, tensor: Any) -> NDArray[Any] | None:
        """The values of a weight, or None for a tensor that is computed."""
        import onnx_graphsurgeon as gs

        values: NDArray[Any] | None = tensor.values if isinstance(tensor, gs.Constant) else None
        return values

    def is_constant(self, tensor: Any) -> bool:
        """Whether the tensor is a weight; unlike ``constant``, does not load it."""
        import onnx_graphsurgeon as gs

        return isinstance(tensor, gs.Constant)

    def weight(self, tensor: Any) -> NDArray[Any]:
        """The values of a tensor that is known to be a weight.

        Raises:
            TypeError: It is computed; ask ``constant`` first.
        """
        values = self.constant(tensor)
        if values is None:
            raise TypeError(f"tensor {tensor.name!r} is not a weight")
        return values

    def scalar(self, tensor: Any) -> float | None:
        """The value of a weight with one element, as a number; None for anything else."""
        if not self.is_constant(tensor) or int(np.prod(tensor.shape)) != 1:
            return None
        return float(self.weight(tensor).reshape(()).astype(np.float64))

    def shape(self, tensor: Any) -> tuple[Dim, ...] | None:
        """Sizes of the axes; None when not even their number is known."""
        if tensor.shape is None:
            return None
        return tuple(int(d) if isinstance(d, (int, np.integer)) else d or None for d in tensor.shape)

    def rank(self, tensor: Any) -> int | None:
        """The number of axes, where it is known."""
        return None if tensor.shape is None else len(tensor.shape)

    def dtype(self, tensor: Any) -> np.dtype[Any] | None:
        """Element type, where it is known and NumPy has it."""
        try:
            return None if tensor.dtype is None else np.dtype(tensor.dtype)
        except TypeError:  # GraphSurgeon gives ONNX's number for types that NumPy does not have
            return None

    def size_range(self, dim: Dim) -> tuple[int, int | None]:
        """Smallest and largest size of an axis: its own, its profile's, or (0, None) where nothing is known."""
        if isinstance(dim, (int, np.integer)):
            return int(dim), int(dim)
        found = self.model.bounds.get(dim) if dim is not None else None
        return (found.min, found.max) if found else (0, None)

    def along_axis(self, values: NDArray[Any], axis: int, like: Any) -> NDArray[Any] | None:
        """A constant as the vector it is along one axis of a tensor that it is broadcast against.

        Args:
            values: The constant, of any rank.
            axis: The axis of ``like``, counted from the front.
            like: The tensor; its rank must be known, and the size of ``axis``.

        Returns:
            A vector of the axis's size; None where the constant varies along another axis (a [N, 1, 1, 1] varies
            along the batch, whether or not N happens to be the number of channels), would make the tensor larger,
            or where the tensor's shape is not known.
        """
        shape = self.shape(like)
        size = shape[axis] if shape is not None else None
        if shape is None or values.ndim > len(shape) or not isinstance(size, int):
            return None
        own = axis - (len(shape) - values.ndim)  # the constant's axis that meets it; below 0 it has none there
        length = values.shape[own] if own >= 0 else 1
        if values.size != length or length not in (1, size):
            return None
        return np.broadcast_to(values.reshape(-1), (size,))

    def producer(self, tensor: Any, *ops: str) -> Any | None:
        """The node that makes the tensor (of one of the operators ``ops``, when given); None for inputs and weights."""
        node = tensor.inputs[0] if tensor.inputs else None
        if node is None or (ops and (node.op not in ops or node.domain not in (None, "", "ai.onnx"))):
            return None
        return node

    def readers(self, tensor: Any) -> list[Any]:
        """The nodes that read the tensor, those in subgraphs too; one that reads it twice is listed twice."""
        return list(tensor.outputs)

    def only_reader(self, tensor: Any, *ops: str) -> Any | None:
        """The one node that reads the tensor (of one of the operators ``ops``, when given), or None."""
        if not self.sole_use(tensor):
            return None
        node = tensor.outputs[0]
        return node if not ops or (node.op in ops and node.domain in (None, "", "ai.onnx")) else None

    def sole_use(self, tensor: Any) -> bool:
        """Whether exactly one node reads the tensor, once, and no graph hands it out."""
        return len(tensor.outputs) == 1 and not self.is_output(tensor)

    def with_constant(self, node: Any) -> tuple[Any, NDArray[Any]] | None:
        """The computed operand and the constant one of a node with two operands, in either order."""
        first, second = node.inputs[:2]
        for computed, fixed in ((first, second), (second, first)):
            if self.is_constant(fixed) and not self.is_constant(computed):
                return computed, self.weight(fixed)
        return None

    def owns(self, node: Any) -> bool:
        """Whether the node stands in this graph, not in one around or inside it."""
        return any(node is n for n in self.graph.nodes)

    # Edits

    def new_name(self, wish: str) -> str:
        """A name that no tensor and no node of the model has."""
        name, number = wish, 0
        while name in self.model.names:
            number += 1
            name = f"{wish}_{number}"
        self.model.names.add(name)
        return name

    def new_constant(self, name: str, values: NDArray[Any]) -> Any:
        """A weight under a name no other tensor has."""
        import onnx_graphsurgeon as gs

        return gs.Constant(self.new_name(name), np.ascontiguousarray(values).reshape(np.shape(values)))

    def insert(
        self,
        op: str,
        *inputs: Any,
        at: Any,
        attrs: Mapping[str, Any] | None = None,
        outputs: int = 1,
        name: str | None = None,
    ) -> Any:
        """Adds a node and gives back what it makes, with element type and shape inferred.

        Args:
            op: Operator type, of the default domain.
            inputs: Tensors; arrays become weights; None is an input left out.
            at: The node that it stands for: its name and its module's path are taken over.
            attrs: Attributes.
            outputs: How many results to make.
            name: Word for it in node and tensor names; the operator type when left out.

        Returns:
            The tensor, or a list of them when ``outputs`` is not 1.
        """
        import onnx_graphsurgeon as gs

        word = f"{at.name}_{name or op}"
        read = [
            gs.Variable.empty() if t is None else self.new_constant(f"{word}_const", t) if _is_array(t) else t
            for t in inputs
        ]
        label = self.new_name(word)
        made = [gs.Variable(self.new_name(f"{word}_out")) for _ in range(outputs)]
        node = gs.Node(op, label, dict(attrs or {}), read, made)
        self.model.origin[label] = at.name
        self.model.made.append(node)
        self.graph.nodes.append(node)
        infer_types(node, self.opset)
        return made[0] if outputs == 1 else made

    def substitute(self, node: Any, *results: Any) -> None:
        """Lets everything that reads the node's outputs read ``results`` instead, and takes the node away.

        The old tensor's name goes on, wherever the result has no other reader: names of tensors keep their meaning, and
        the proof compares by them.

        Args:
            node: The node to replace.
            results: One tensor an output of the node; None, or missing at the end, for outputs that nobody reads.
        """
        for old, new in zip(list(node.outputs), results, strict=False):
            if new is not None and old is not new:
                producer = self.producer(new)
                own = producer is not None and not self.is_output(new) and self.owns(producer)
                if own and (self._is_fresh(producer) or all(r is node for r in new.outputs)):
                    self._take_place(new, old, producer)
                elif not self.is_output(old):
                    _redirect(old, new)
                elif own:
                    self._take_place(new, old, producer)
                else:
                    self._hand_out(old, new, node)
        self.remove(node)

    def bypass(self, node: Any, source: Any) -> None:
        """Takes away a node that hands on ``source``."""
        self.substitute(node, source)

    def absorb(self, node: Any, maker: Any) -> None:
        """Lets ``maker``, of whose result ``node`` is the only reader, make what the node made, under its name."""
        self._take_place(maker.outputs[0], node.outputs[0], maker)
        self.remove(node)

    def remove(self, node: Any) -> None:
        """Takes a node away, and with it the nodes that nobody reads any more."""
        unread = [t.inputs[0] for t in node.inputs if t.inputs]
        node.inputs.clear()
        node.outputs.clear()
        for inner in node.subgraphs() if hasattr(node, "subgraphs") else ():
            for each in list(inner.nodes):
                each.inputs.clear()
        for producer in unread:
            if producer.outputs and not any(t.outputs or self.is_output(t) for t in producer.outputs):
                self.remove(producer)

    def drop_inputs(self, node: Any, count: int) -> None:
        """Leaves a node its first ``count`` inputs."""
        while len(node.inputs) > count:  # GraphSurgeon's lists cannot delete a slice
            node.inputs.pop()

    def drop_outputs(self, node: Any, count: int) -> None:
        """Leaves a node its first ``count`` outputs."""
        while len(node.outputs) > count:
            node.outputs.pop()

    def _is_fresh(self, node: Any) -> bool:
        return any(node is n for n in self.model.made)

    def _take_place(self, new: Any, old: Any, producer: Any) -> None:
        """``producer`` writes ``old`` instead of ``new``."""
        maker = self.producer(old)
        if maker is not None:
            import onnx_graphsurgeon as gs

            _swap(maker.outputs, old, gs.Variable(self.new_name(f"{old.name}_replaced")))
        for reader in list(new.outputs):
            _swap(reader.inputs, new, old)
        _swap(producer.outputs, new, old)
        old.dtype = new.dtype if old.dtype is None else old.dtype
        if old.shape is None or (new.shape is not None and sum(map(_known, new.shape)) > sum(map(_known, old.shape))):
            old.shape = new.shape if not self.is_output(old) else old.shape

    def _hand_out(self, old: Any, new: Any, node: Any) -> None:
        """An input, a weight, an output or an outer tensor that a graph hands out needs a node to do it."""
        import onnx_graphsurgeon as gs

        _swap(node.outputs, old, gs.Variable(self.new_name(f"{old.name}_replaced")))
        label = self.new_name(f"{node.name}_Identity")
        self.model.origin[label] = node.name
        identity = gs.Node("Identity", label, {}, [new], [old])
        self.model.made.append(identity)
        self.graph.nodes.append(identity)


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic))


def _known(dim: Dim) -> int:
    return 2 if isinstance(dim, int) else 1 if dim else 0


def _redirect(old: Any, new: Any) -> None:
    for reader in list(old.outputs):
        _swap(reader.inputs, old, new)


def _swap(tensors: Any, old: Any, new: Any) -> None:
    for index, tensor in enumerate(list(tensors)):
        if tensor is old:
            tensors[index] = new
