"""Says which node made how much of the error at the outputs, from one pass with every node quantised.

The FP32 graph and the quantised one run side by side over a few samples. At each node two kinds of error meet: what
comes in by each input, and what the node makes itself by being quantised. Copies of the node show the power of each
alone: the FP32 node on one input of the quantised run, and the quantised node on the FP32 run's inputs. From the
outputs back, the error power that was seen is divided among them in these proportions and handed to the nodes that
made the inputs.

So the parts add up to the error that was seen, exactly, and no run a node is needed. What is left out: at one node,
errors from several inputs are taken for uncorrelated; and an error power is handed back whole, also where only some of
a tensor's elements (a padded position, say) matter further on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile, onnxrun
from trtbuild.onnxfile import reads
from trtbuild.quantization import Placement

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Feed = Mapping[str, NDArray[Any]]

_OWN = ""  # stands for the error that a node makes itself, among the tensors that errors come in by


def attribute(model: ModelProto, placement: Placement, written: ModelProto, feeds: Iterable[Feed]) -> dict[str, float]:
    """Divides the error of the model with all places quantised among them.

    Args:
        model: The FP32 model, weights in memory.
        placement: The places.
        written: The model with a Q/DQ pair at each of them, from ``write_qdq``.
        feeds: Feeds to run.

    Returns:
        Node of the placement to its share of the error power, over the signal power, of the output it harms most.
    """
    both = _SideBySide(model, placement, written)
    summed = _run(both.model(), feeds)
    owner = {n.node: n.node for n in placement.nodes} | {s.node: s.conv for s in placement.summands}
    worst: dict[str, float] = {n.node: 0.0 for n in placement.nodes}
    for output in both.outputs:
        found = _hand_back(model, both.parts, summed, output)
        for name, so_far in worst.items():
            worst[name] = max(so_far, sum(power for node, power in found.items() if owner[node] == name))
    return worst


def _hand_back(
    model: ModelProto, parts: Mapping[str, Mapping[str, str]], summed: Mapping[str, float], output: str
) -> dict[str, float]:
    """Node to the error power at one output, over the output's power, that it made."""
    signal = summed[f"{output}/signal"]
    at: dict[str, float] = defaultdict(float)
    at[output] = summed[f"{output}/noise"] / signal if signal else 0.0
    made: dict[str, float] = defaultdict(float)
    for node in reversed(model.graph.node):
        for result in node.output:
            share = {source: summed[power] for source, power in parts.get(result, {}).items()}
            whole = sum(share.values())
            for source, power in share.items():
                if len(share) == 1 or whole > 0:
                    part = at[result] * (1.0 if len(share) == 1 else power / whole)
                    if source == _OWN:
                        made[node.name] += part
                    else:
                        at[source] += part
    return made


class _SideBySide:
    """Both graphs in one, and the copies that show where errors come from.

    Attributes:
        outputs: The float outputs that an error can reach.
        parts: Tensor to where its error comes from (a tensor, or the node itself), to the scalar with its power; where
            it can come from one place only, the scalar is never computed.
    """

    def __init__(self, model: ModelProto, placement: Placement, written: ModelProto) -> None:
        from onnx import TensorProto

        self._written = written
        self._types = onnxfile.element_types(model)
        self._float = TensorProto.FLOAT
        self._original = {n.output[0]: n for n in model.graph.node if n.output}
        self._weights = {t.name: t for t in (*model.graph.initializer, *written.graph.initializer)}
        self._quantised = {n.node for n in placement.nodes} | {s.node for s in placement.summands}
        self._fp32 = model
        self._behind: set[str] = set()
        self._nodes: list[NodeProto] = []
        self._asked: list[str] = []
        self.parts: dict[str, dict[str, str]] = {}
        for node in written.graph.node:
            self._take(node)
        self.outputs = tuple(o.name for o in model.graph.output if o.name in self._behind and self._is_float(o.name))
        for name in self.outputs:
            self._ask(f"{name}/noise", self._difference(f"{name}|quantised", name))
            self._ask(f"{name}/signal", name)

    def model(self) -> ModelProto:
        """The graph that gives the scalars."""
        import onnx

        asking = onnx.ModelProto(ir_version=self._fp32.ir_version, opset_import=self._fp32.opset_import)
        asking.functions.extend(self._fp32.functions)
        asking.graph.name = "side_by_side"
        asking.graph.node.extend(self._nodes)
        asking.graph.initializer.extend(self._weights.values())
        asking.graph.input.extend(self._fp32.graph.input)
        values = [onnx.helper.make_tensor_value_info(name, self._float, []) for name in self._asked]
        asking.graph.output.extend(values)
        return asking

    def _take(self, node: NodeProto) -> None:
        """Adds one node of the quantised graph, and its FP32 form."""
        original = self._original.get(node.output[0]) if node.output else None
        if original is None:  # a Q or DQ: of the FP32 run's tensor, and of the quantised run's where that differs
            self._nodes.append(node)
            if node.input[0] in self._behind:
                self._nodes.append(self._copy(node, "|quantised", {node.input[0]}))
                self._behind |= set(node.output)
            return
        self._nodes.append(original)
        sources = [name for name in dict.fromkeys(reads(original)) if name in self._behind]
        own = original.name in self._quantised and list(node.input) != list(original.input)
        if not sources and not own:
            return
        behind = {name for name in node.input if name in self._behind}
        self._nodes.append(self._copy(node, "|quantised", behind))
        self._behind |= {name for name in node.output if name}
        self._divide(original, node, sources, own=own)

    def _divide(self, original: NodeProto, node: NodeProto, sources: list[str], *, own: bool) -> None:
        results = [name for name in original.output if name and self._is_float(name)]
        came = [name for name in sources if self._is_float(name)] + ([_OWN] if own else [])
        for number, source in enumerate(came):
            mark = f"|own/{original.name}" if source == _OWN else f"|from_{number}"
            for result in results:
                self.parts.setdefault(result, {})[source] = f"{result}{mark}/power"
            if len(came) > 1 and results:
                self._nodes.append(
                    self._copy(node, mark, set()) if source == _OWN else self._copy(original, mark, {source})
                )
                for result in results:
                    self._ask(f"{result}{mark}/power", self._difference(result + mark, result))

    def _copy(self, node: NodeProto, mark: str, of_quantised_run: set[str]) -> NodeProto:
        """A copy with marked outputs; the named inputs are the quantised run's, the others the FP32 run's."""
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{node.name}{mark}"
        copy.input[:] = [f"{name}|quantised" if name in of_quantised_run else name for name in node.input]
        copy.output[:] = [f"{name}{mark}" if name else "" for name in node.output]
        return copy

    def _difference(self, subject: str, reference: str) -> str:
        """The error tensor; 0 where a mask is minus infinity on both sides."""
        from onnx import helper

        raw, bad, zero, error = (f"{subject}/{name}" for name in ("raw", "undefined", "zero", "error"))
        self._nodes += [
            helper.make_node("Sub", [subject, reference], [raw]),
            helper.make_node("IsNaN", [raw], [bad]),
            helper.make_node("Constant", [], [zero], value=helper.make_tensor(zero, self._float, [], [0.0])),
            helper.make_node("Where", [bad, zero, raw], [error]),
        ]
        return error

    def _ask(self, name: str, tensor: str) -> None:
        from onnx import helper

        self._nodes.append(helper.make_node("ReduceSumSquare", [tensor], [name], keepdims=0))
        self._asked.append(name)

    def _is_float(self, name: str) -> bool:
        return self._types.get(name) == self._float


def _run(asking: ModelProto, feeds: Iterable[Feed]) -> dict[str, float]:
    """The scalar outputs, summed over the feeds."""
    runner = onnxrun.session(asking, lean=True)
    summed: dict[str, float] = defaultdict(float)
    for feed in feeds:
        for name, value in onnxrun.run(runner, feed).items():
            summed[name] += float(value)
    return summed
