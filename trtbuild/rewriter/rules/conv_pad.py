"""A Pad with zeros before a convolution becomes the convolution's own padding.

Algebra: a convolution reads zeros where it pads.
Axes: Pad has a begin and an end an axis, [N, C, d...] first all begins; the convolution's pads are those of d... only.

ONNX: Pad 2 to 25 (pads and value were attributes before 11; ``axes`` came with 18), Conv 1 to 22.
"""

from __future__ import annotations

from typing import Any

from trtbuild.rewriter.graph import Edit, GraphView

OPS = ("Conv",)
AFTER = ("constant_nodes",)


def propose(node: Any, graph: GraphView) -> Edit | None:
    """Lets the convolution read what the Pad before it reads."""
    pad = graph.producer(node.inputs[0], "Pad")
    rank = graph.rank(node.inputs[1])
    if pad is None or rank is None:
        return None
    zeros = pad.attrs.get("mode", "constant") == "constant" and _value(pad, graph) == 0
    graph.need(zeros, "it pads with something else than zeros")
    given = all(graph.is_constant(t) for t in (*pad.inputs[1:2], *pad.inputs[3:4]) if t.name)
    graph.need(given, "its pads are computed at run time")
    begins, ends = _begins_and_ends(pad, graph, rank)
    graph.need(not any((*begins[:2], *ends[:2])), "it pads the batch or the channels")
    graph.need(min((*begins, *ends)) >= 0, "it cuts something off")
    graph.need(node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "the convolution's pads depend on the size")

    def move() -> None:
        valid = node.attrs.get("auto_pad") == "VALID"  # it reads no pads then
        own = [0] * (2 * rank - 4) if valid else node.attrs.get("pads", [0] * (2 * rank - 4))
        node.attrs["pads"] = [a + b for a, b in zip(own, (*begins[2:], *ends[2:]), strict=True)]
        node.attrs.pop("auto_pad", None)
        node.inputs[0] = pad.inputs[0]
        if not graph.readers(pad.outputs[0]) and not graph.is_output(pad.outputs[0]):
            graph.remove(pad)

    return Edit(f"pads {(*begins[2:], *ends[2:])} by itself", move, (pad.name,))


def _value(pad: Any, graph: GraphView) -> float | None:
    """What it pads with; None where that is computed."""
    if len(pad.inputs) > 2 and pad.inputs[2].name:
        return graph.scalar(pad.inputs[2])
    return float(pad.attrs.get("value", 0.0))


def _begins_and_ends(pad: Any, graph: GraphView, rank: int) -> tuple[list[int], list[int]]:
    """Its pads, one of each an axis."""
    pads = [int(p) for p in (graph.weight(pad.inputs[1]) if len(pad.inputs) > 1 else pad.attrs["pads"])]
    axes = list(range(rank))
    if len(pad.inputs) > 3 and pad.inputs[3].name:
        axes = [int(a) % rank for a in graph.weight(pad.inputs[3])]
    begins, ends = [0] * rank, [0] * rank
    for axis, begin, end in zip(axes, pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True):
        begins[axis], ends[axis] = begin, end
    return begins, ends
