"""What changed between two ONNX files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import Change, Difference, TensorSpec
from trtbuild.differences import constants as fixed
from trtbuild.differences.constants import Constant, Constants
from trtbuild.differences.matching import Matching, attributes, match

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_COUNTING = {"int64", "int32", "bool"}  # constants of these are shapes, axes and indices, not weights


def diff_onnx(before: Path, after: Path) -> Difference:
    """Compares two ONNX files: interface, operators, nodes, weights, scales.

    Args:
        before: The first file.
        after: The second file.

    Raises:
        InvalidOnnxError: One of them is not a sound ONNX file.
    """
    digests = tuple(onnxfile.stored(path).digest for path in (before, after))
    if digests[0] == digests[1]:
        return Difference("onnx", digests[0], digests[1], ())
    old, new = (onnxfile.load(path, weights=False) for path in (before, after))
    known = (fixed.constants(old, before.parent), fixed.constants(new, after.parent))
    matching = match(old, new, known)
    changes = [
        *interface_changes(onnxfile.inputs(old), onnxfile.inputs(new), "input"),
        *interface_changes(onnxfile.outputs(old), onnxfile.outputs(new), "output"),
        *_opsets(old, new),
        *_operators(old, new),
        *_nodes(matching, known),
        *_constants(matching, known),
        *_functions(old, new),
        *_metadata(old, new, matching),
    ]
    return Difference("onnx", digests[0], digests[1], tuple(changes))


def interface_changes(before: Iterable[TensorSpec], after: Iterable[TensorSpec], topic: str) -> Iterator[Change]:
    """Inputs or outputs that came, went, or changed type, shape or place."""
    old, new = ({t.name: t for t in tensors} for tensors in (before, after))
    for name in dict.fromkeys((*old, *new)):
        a, b = (_spec(tensors.get(name)) for tensors in (old, new))
        if a != b:
            yield Change(topic, name, a, b)
    orders = [[name for name in tensors if name in old and name in new] for tensors in (old, new)]
    if orders[0] != orders[1]:
        yield Change(topic, "order", orders[0], orders[1])


def _spec(tensor: TensorSpec | None) -> str | None:
    return None if tensor is None else f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def _opsets(old: ModelProto, new: ModelProto) -> Iterator[Change]:
    versions = [{o.domain or "ai.onnx": o.version for o in model.opset_import} for model in (old, new)]
    for domain in sorted({*versions[0], *versions[1]}):
        a, b = (found.get(domain) for found in versions)
        if a != b:
            yield Change("opset", domain, a, b)


def _operators(old: ModelProto, new: ModelProto) -> Iterator[Change]:
    counts = [Counter(n.op_type for n in m.graph.node if not fixed.is_constant_node(n)) for m in (old, new)]
    changed = [op for op in counts[0] | counts[1] if counts[0][op] != counts[1][op]]
    for op in sorted(changed, key=lambda op: (-abs(counts[0][op] - counts[1][op]), op)):
        yield Change("operator", op, counts[0][op], counts[1][op])


def _nodes(matching: Matching, known: tuple[Constants, Constants]) -> Iterator[Change]:
    yield from (Change("node", _called(n), n.op_type, None) for n in matching.removed)
    yield from (Change("node", _called(n), None, n.op_type) for n in matching.added)
    rewired = []
    for one, other in matching.pairs:
        a, b = attributes(one), attributes(other)
        changed = [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
        for name in sorted(changed):
            yield Change("attribute", f"{_both(_called(one), _called(other))} {name}", a.get(name), b.get(name))
        moved = list(_reads_elsewhere(one, other, matching, known))
        if moved:
            names = _both(_called(one), _called(other))
            rewired.append(Change("wiring", names, [a for a, _ in moved], [b for _, b in moved]))
    yield from rewired


def _inputs(one: NodeProto, other: NodeProto) -> Iterator[tuple[str, str]]:
    """What two nodes read, position by position; an empty name where one reads nothing."""
    return zip_longest(one.input, other.input, fillvalue="")


def _reads_elsewhere(
    one: NodeProto, other: NodeProto, matching: Matching, known: tuple[Constants, Constants]
) -> Iterator[tuple[str, str]]:
    for a, b in _inputs(one, other):
        constants = (a in known[0], b in known[1])
        if constants != (True, True) and (any(constants) or not matching.stands_for(a, b)):
            yield a, b


def _called(node: NodeProto) -> str:
    return node.name or f"the {node.op_type} that makes {', '.join(node.output)}"


def _both(one: str, other: str) -> str:
    """One name for what may have two, the same from either side."""
    return one if one == other else " = ".join(sorted((one, other)))


def _constants(matching: Matching, known: tuple[Constants, Constants]) -> Iterator[Change]:
    """Weights, scales and other constants that two nodes read in the same place; those of other nodes go with them."""
    found: dict[tuple[str, str], Change] = {}
    for name in _read_by_name(matching):
        constant, partner = (side.get(name) for side in known)
        if constant is not None and partner is not None and constant.digest != partner.digest:
            found[name, name] = _changed(constant, partner, scale=False)
    for one, other in matching.pairs:
        for number, (a, b) in enumerate(_inputs(one, other)):
            constant, partner = known[0].get(a), known[1].get(b)
            if constant is None or partner is None or constant.digest == partner.digest:
                continue
            scale = number == 1 and one.op_type in ("QuantizeLinear", "DequantizeLinear")
            found[a, b] = _changed(constant, partner, scale=scale)
    order = ("scale", "weight", "constant")
    yield from sorted(found.values(), key=lambda c: (order.index(c.topic), -(c.size or 0.0), c.name))


def _read_by_name(matching: Matching) -> Iterator[str]:
    """Tensors that branches and loops read of the graph around them, in both graphs."""
    for one, other in matching.pairs:
        inside = [set(onnxfile.reads(node)[len([n for n in node.input if n]) :]) for node in (one, other)]
        yield from sorted(inside[0] & inside[1])


def _changed(constant: Constant, partner: Constant, *, scale: bool) -> Change:
    name = _both(constant.name, partner.name)
    if scale:
        ratio = fixed.largest_ratio(constant, partner)
        return Change("scale", name, fixed.range_of(constant), fixed.range_of(partner), ratio)
    apart = fixed.largest_difference(constant, partner)
    topic = "constant" if {constant.dtype, partner.dtype} <= _COUNTING else "weight"
    return Change(topic, name, fixed.summary(constant), fixed.summary(partner), apart)


def _functions(old: ModelProto, new: ModelProto) -> Iterator[Change]:
    bodies = [
        {f"{f.domain}.{f.name}": (len(f.node), f.SerializeToString(deterministic=True)) for f in model.functions}
        for model in (old, new)
    ]
    for name in sorted({*bodies[0], *bodies[1]}):
        a, b = (found.get(name) for found in bodies)
        if a != b:
            said = [None if body is None else f"{body[0]} nodes" for body in (a, b)]
            yield Change("function", name, said[0], said[1])


def _metadata(old: ModelProto, new: ModelProto, matching: Matching) -> Iterator[Change]:
    for one, other in matching.pairs:
        if one.name != other.name:
            yield Change("name", "", one.name, other.name)
    facts: Sequence[dict[str, object]] = [
        {
            "producer": f"{m.producer_name} {m.producer_version}".strip(),
            "IR version": m.ir_version,
            "graph name": m.graph.name,
            "documentation": m.doc_string,
            **{f"property {p.key}": p.value for p in m.metadata_props},
        }
        for m in (old, new)
    ]
    for key in dict.fromkeys((*facts[0], *facts[1])):
        a, b = (found.get(key) for found in facts)
        if a != b:
            yield Change("metadata", key, a, b)
