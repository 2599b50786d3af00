"""Finds all that TensorRT's parser refuses of a model, not only what it meets first.

The parser names every operator it does not have, but stops at the first node whose attributes or inputs it refuses. So
what it named is cut out of a copy, whose other nodes go on from inputs in its place, until nothing new is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.engine.refusals import Refusal, refusal
from trtbuild.errors import WorkerCrashedError
from trtbuild.provenance import module_path

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_ROUNDS = 32  # parses at most; each finds something the ones before did not
_FEW = 64  # values of a constant input up to which they tell nodes apart: weights do not, axes and modes do
_FLOATS = (1, 10, 11, 16)  # float32, float16, float64 and bfloat16 in ONNX's numbers
_OF_AN_INPUT = "Failed to convert ONNX da"  # what the parser says of an input's element type; it names no input
_OF_A_WEIGHT = re.compile(r"Failed to import initializer: (\S+)\s*$")
_INPUTS = ("FLOAT", "FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT32", "INT64", "BOOL", "FLOAT8E4M3FN")

Ask = Callable[[Path], list[dict[str, str]]]
"""What the parser refuses of a file: ``node``, ``operator`` and ``text`` of each."""


@dataclass
class Probe:
    """What is known so far.

    Attributes:
        refusals: Everything that was refused, in the order it was found.
        not_judged: Nodes that hang on a refused one in a way that leaves nothing to ask the parser about.
    """

    refusals: list[Refusal] = field(default_factory=list)
    not_judged: int = 0


def probe(path: Path, folder: Path, ask: Ask) -> Probe:
    """Asks the parser until it has nothing new to refuse.

    Args:
        path: A model that it refuses.
        folder: Where the copies are written; they are gone afterwards.
        ask: Parses a file.

    Returns:
        All refusals, each with the PyTorch module of its node.
    """
    model = onnxfile.load(path)
    _name_all(model)
    types = {v.name: v for v in (*onnxfile.inferred(model), *model.graph.value_info)}
    known, copy = Probe(), folder / "probe.onnx"
    alike = _alike(model, types)
    told: set[str] = set()
    try:
        for _round in range(_ROUNDS):
            written = onnxfile.save(model, copy)
            said = ask(copy)
            for file in written.companions:
                file.path.unlink()
            owners = _owners(model)
            nodes = _with_alike(said, alike, owners, told)
            known.refusals += [_of_node(s, n) for s, n in nodes]
            told |= {node.name for _s, node in nodes}
            weights, inputs = _odd_weights(model, said), _odd_inputs(model, said)
            known.refusals += [_of_no_node(s, weights, inputs) for s in said if s["node"] not in owners]
            # A refused input hides nothing while there is more to find: its nodes are judged by their operators.
            tensors = weights if nodes or weights else inputs
            if not nodes and not tensors:
                break
            known.not_judged += _cut(model, [owners[node.name][0] for _s, node in nodes], tensors, types)
    except WorkerCrashedError:
        pass  # what was found before the parser died of a copy is worth saying
    finally:
        copy.unlink(missing_ok=True)
    known.refusals = list(dict.fromkeys(known.refusals))
    return known


def _name_all(model: ModelProto) -> None:
    """Names nodes that have no name, or one that another has: the parser says no more of a node."""
    seen: set[str] = set()
    for graph in onnxfile.graphs(model.graph):
        for node in graph.node:
            if not node.name or node.name in seen:
                node.name = f"{node.name or node.op_type} of {next(iter(node.output), '')}"
            seen.add(node.name)


def _owners(model: ModelProto) -> dict[str, tuple[NodeProto, NodeProto]]:
    """Name of every node to the node of the main graph that it is, or lies in, and to itself."""
    found = {}
    for node in model.graph.node:
        found[node.name] = (node, node)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                found.update({n.name: (node, n) for g in onnxfile.graphs(body) for n in g.node})
    return found


def _alike(model: ModelProto, types: Mapping[str, ValueInfoProto]) -> dict[str, list[str]]:
    """Node name to the names of all nodes that the parser cannot tell from it; none where a type is not known."""
    constants = {t.name: t for t in model.graph.initializer}
    groups: dict[tuple[Any, ...], list[str]] = {}
    found = {}
    for node in model.graph.node:
        inputs: list[Any] = []
        for name in node.input:
            if name in constants:
                tensor = constants[name]
                few = sum(1 for _ in tensor.dims) == 0 or _size(tensor.dims) <= _FEW
                inputs.append((tensor.data_type, tuple(tensor.dims), _values(tensor) if few else b""))
            elif name:
                known = types.get(name)
                inputs.append(known.type.SerializeToString() if known is not None else object())
            else:
                inputs.append(None)
        attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
        group = groups.setdefault((node.domain, node.op_type, attributes, tuple(inputs)), [])
        group.append(node.name)
        found[node.name] = group
    return found


def _size(dims: Iterable[int]) -> int:
    size = 1
    for dim in dims:
        size *= dim
    return size


def _values(tensor: Any) -> bytes:
    from onnx import numpy_helper

    return bytes(numpy_helper.to_array(tensor).tobytes())


def _with_alike(
    said: Iterable[Mapping[str, str]],
    alike: Mapping[str, list[str]],
    owners: Mapping[str, tuple[NodeProto, NodeProto]],
    told: set[str],
) -> list[tuple[Mapping[str, str], NodeProto]]:
    """What was said and not told yet, with the node it was said of, and with those that are like it."""
    found: dict[str, tuple[Mapping[str, str], NodeProto]] = {}
    for each in said:
        for name in (each["node"], *alike.get(each["node"], ())):
            if name in owners and name not in told:
                found.setdefault(name, (each, owners[name][1]))
    return list(found.values())


def _odd_weights(model: ModelProto, said: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Weights of an element type of which the parser refused one, with the type."""
    kinds = {t.name: _word(t.data_type) for t in model.graph.initializer}
    named = [found[1] for s in said if (found := _OF_A_WEIGHT.search(s["text"]))]
    refused = {kinds[name] for name in named if name in kinds}
    return {name: kind for name, kind in kinds.items() if kind in refused}


def _odd_inputs(model: ModelProto, said: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Inputs of element types that TensorRT has not, with the type; nothing where the parser refused none."""
    if not any(_OF_AN_INPUT in s["text"] for s in said):
        return {}
    kinds = {i.name: _word(i.type.tensor_type.elem_type) for i in model.graph.input}
    return {name: kind for name, kind in kinds.items() if kind not in _INPUTS}


def _word(element_type: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(element_type))


def _of_node(said: Mapping[str, str], node: NodeProto) -> Refusal:
    return refusal(said["text"], node=node.name, operator=node.op_type, module=module_path(node))


def _of_no_node(said: Mapping[str, str], weights: Mapping[str, str], inputs: Mapping[str, str]) -> Refusal:
    """A refusal of something else than a node, with the weights or inputs that it is about."""
    found = refusal(said["text"], operator=said["operator"])
    about = weights if _OF_A_WEIGHT.search(said["text"]) else inputs if _OF_AN_INPUT in said["text"] else {}
    listed = ", ".join(f"{name} is {kind}" for name, kind in about.items())
    return replace(found, cause=f"{found.cause}: {listed}") if listed else found


def _cut(
    model: ModelProto, refused: Iterable[NodeProto], inputs: Iterable[str], types: Mapping[str, ValueInfoProto]
) -> int:
    """Takes nodes and tensors out; what reads a node goes on from an input where that is the same to the parser.

    That is where the tensor is a float of a known shape. An integer may be a shape, whose value the parser needs; what
    hangs on one is taken out too.

    Returns:
        How many more nodes were taken out.
    """
    gone = {id(node) for node in refused}
    missing = set(inputs)
    read = {name for graph in onnxfile.graphs(model.graph) for node in graph.node for name in onnxfile.reads(node)}
    kept, dropped = [], 0
    for node in model.graph.node:  # in the order of the data
        if id(node) not in gone:
            if not missing.intersection(onnxfile.reads(node)):
                kept.append(node)
                continue
            dropped += 1
        for name in node.output:
            if id(node) in gone and name in read and _stands_for_itself(types.get(name)):
                model.graph.input.append(types[name])
            else:
                missing.add(name)
    for tensors in (model.graph.input, model.graph.initializer):
        for number in reversed([n for n, tensor in enumerate(tensors) if tensor.name in missing]):
            del tensors[number]
    nodes = [_copy(node) for node in kept]
    made = {name for node in nodes for name in node.output}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    outputs = [_copy(o) for o in model.graph.output if o.name in made]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return dropped


def _stands_for_itself(value: ValueInfoProto | None) -> bool:
    """Whether a graph input of this type is to the parser what the tensor was."""
    if value is None or not value.type.tensor_type.HasField("shape"):
        return False
    return value.type.tensor_type.elem_type in _FLOATS


def _copy(proto: Any) -> Any:
    made = type(proto)()
    made.CopyFrom(proto)
    return made
