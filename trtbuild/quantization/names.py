"""Names for nodes: ONNX asks for none, but tables, overrides and assignments speak of nodes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto


def name_nodes(model: ModelProto) -> None:
    """Gives every node of the main graph a name of its own; the same ones each time."""
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            base, copy = node.name or f"{node.op_type}_{number}", 0
            node.name = base
            while node.name in taken:
                copy += 1
                node.name = f"{base}_{copy}"
            taken.add(node.name)
        seen.add(node.name)
