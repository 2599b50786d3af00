"""Which node of one graph is which node of the other: by name, by the tensor it makes, then by structure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trtbuild.differences.constants import Constants, is_constant_node

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_ELEMENT_TYPES = ("to", "dtype", "output_dtype")  # attributes that name an element type by number


@dataclass(frozen=True)
class Matching:
    """The nodes of two graphs, paired.

    Attributes:
        pairs: Nodes that stand for each other, in the first graph's order.
        removed: Nodes of the first graph alone.
        added: Nodes of the second graph alone.
        tensors: Computed tensor of the first graph to the one of the second that stands for it.
    """

    pairs: tuple[tuple[NodeProto, NodeProto], ...]
    removed: tuple[NodeProto, ...]
    added: tuple[NodeProto, ...]
    tensors: dict[str, str]

    def stands_for(self, before: str, after: str) -> bool:
        """Whether two tensors are the same one: what neither graph's paired nodes make goes by its name."""
        if before in self.tensors:
            return self.tensors[before] == after
        return before == after and after not in self.made

    @cached_property
    def made(self) -> frozenset[str]:
        """Tensors of the second graph that stand for one of the first."""
        return frozenset(self.tensors.values())


def match(before: ModelProto, after: ModelProto, known: tuple[Constants, Constants]) -> Matching:
    """Pairs the nodes of two main graphs.

    Only nodes of one operator are paired. A key that several nodes of one graph share pairs them in their order, for
    structure alone: names and tensors are keys only where one node has them.

    Args:
        before: The first model.
        after: The second model.
        known: The constants of both.
    """
    sides = tuple([n for n in model.graph.node if not is_constant_node(n)] for model in (before, after))
    keys = [_keys(model, nodes, const) for model, nodes, const in zip((before, after), sides, known, strict=True)]
    partner: dict[int, int] = {}
    for which, alone in enumerate((True, True, False)):
        left = _open(keys[0], which, partner.keys())
        right = _open(keys[1], which, partner.values())
        for key, numbers in left.items():
            others = right.get(key, [])
            if not alone or len(numbers) == len(others) == 1:
                partner |= dict(zip(numbers, others, strict=False))
    pairs = tuple((sides[0][a], sides[1][partner[a]]) for a in sorted(partner))
    removed = tuple(n for number, n in enumerate(sides[0]) if number not in partner)
    added = tuple(n for number, n in enumerate(sides[1]) if number not in set(partner.values()))
    return Matching(pairs, removed, added, _tensors(before, after, pairs))


_Key = tuple[Hashable, Hashable, Hashable]  # by name, by what is made, by structure; None where there is none


def _keys(model: ModelProto, nodes: Sequence[NodeProto], known: Constants) -> list[_Key]:
    structures = _structures(model, nodes, known)
    found: list[_Key] = []
    for node, structure in zip(nodes, structures, strict=True):
        kind = (node.domain, node.op_type)
        found.append(((*kind, node.name) if node.name else None, (*kind, tuple(node.output)), structure))
    return found


def _open(keys: Sequence[_Key], which: int, taken: Collection[int]) -> dict[Hashable, list[int]]:
    """Key to the numbers of the nodes that have it and have no partner yet."""
    closed = set(taken)
    found: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        if number not in closed and key[which] is not None:
            found.setdefault(key[which], []).append(number)
    return found


def _structures(model: ModelProto, nodes: Sequence[NodeProto], known: Constants) -> list[str]:
    """A digest of what each node computes from the graph's inputs, whatever nodes and tensors are called.

    Constants count by type and shape alone, so that trained further or scaled anew is not built anew.
    """
    made = {v.name: f"input {v.name}" for v in model.graph.input}
    made |= {name: f"constant {c.dtype} {c.shape}" for name, c in known.items()}
    found = []
    for node in nodes:
        words = [node.domain, node.op_type, *attributes(node).values(), *(made.get(name, name) for name in node.input)]
        found.append(hashlib.sha256("\0".join(words).encode()).hexdigest())
        made |= {name: f"{found[-1]} {number}" for number, name in enumerate(node.output)}
    return found


def attributes(node: NodeProto) -> dict[str, str]:
    """A node's attributes as text, by name; of a graph or a tensor, a digest of it."""
    from onnx import AttributeProto, TensorProto, helper

    found = {}
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.TENSOR):
            raw = attribute.SerializeToString(deterministic=True)
            found[attribute.name] = f"sha256 {hashlib.sha256(raw).hexdigest()[:16]}"
        elif attribute.name in _ELEMENT_TYPES:
            found[attribute.name] = TensorProto.DataType.Name(attribute.i).lower()
        else:
            found[attribute.name] = str(helper.printable_attribute(attribute)).partition(" = ")[2]
    return found


def _tensors(before: ModelProto, after: ModelProto, pairs: Iterable[tuple[NodeProto, NodeProto]]) -> dict[str, str]:
    """What stands for what: graph inputs by name, results by their nodes."""
    found = {name: name for name in sorted({v.name for v in before.graph.input} & {v.name for v in after.graph.input})}
    for one, other in pairs:
        found |= dict(zip(one.output, other.output, strict=False))
    return found
