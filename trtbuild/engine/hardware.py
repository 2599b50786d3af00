"""Holds a typed graph against the hardware it shall run on, before TensorRT sees it.

A builder says that it "cannot compile for target(s) sm86, because the model contains HW-specific datatypes", and names
no node; or it builds, and computes in something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import Target, TypedOnnx
from trtbuild.errors import SpecError
from trtbuild.spec.hardware import FIRST, instead
from trtbuild.spec.targets import gaps_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SHOWN = 5  # node names in a message


def hold_to_hardware(typed: TypedOnnx, target: Target, *, allow_precision_fallback: bool = False) -> None:
    """Refuses a graph with nodes that a target cannot compute.

    Args:
        typed: The graph, and what each matrix node computes in.
        target: The target; its backend builds for its compute capability.
        allow_precision_fallback: Accept what would be built and computed in something else.

    Raises:
        SpecError: With the nodes, and what to write instead.
    """
    place = f"target {target.name}"
    model = onnxfile.load(typed.model.path, weights=False)
    asked = formats_of(model) | ({"tf32": list(typed.assignment)} if typed.precision == "tf32" else {})
    for number_format, touching in asked.items():
        if target.sm < FIRST[number_format]:
            computing = [n for n, f in typed.assignment.items() if f == number_format]
            nodes = list(dict.fromkeys((*computing, *touching)))  # the matrix work first, then its Q/DQ
            raise SpecError(
                f"compute capability {target.compute_capability} cannot do {number_format}: {_listed(nodes)}",
                place=place,
                hint=instead(target.sm, number_format),
            )
    operators = {node.name: node.op_type for node in model.graph.node}
    for gap in gaps_of(target).values():
        nodes = [n for n, f in typed.assignment.items() if f == gap.format and operators.get(n) in gap.operators]
        if nodes and not (gap.builds and allow_precision_fallback):
            raise SpecError(f"{gap.words}: {_listed(nodes)}", place=place, hint=gap.hint)


def formats_of(model: ModelProto) -> dict[str, list[str]]:
    """Number formats that not every GPU has, to the nodes that read or write a tensor in them.

    Args:
        model: A typed graph, with or without its weights.
    """
    words = _words()
    types = onnxfile.element_types(model)
    for graph in onnxfile.graphs(model.graph):  # ONNX's inference says nothing of tensors inside of branches
        types |= {t.name: t.data_type for t in graph.initializer}
    found: dict[str, list[str]] = {}
    for node in _nodes(model):
        kinds = [*(types.get(t, 0) for t in (*node.input, *node.output)), *_makes(node)]
        for word in dict.fromkeys(words[kind] for kind in kinds if kind in words):
            found.setdefault(word, []).append(node.name or f"the {node.op_type} that makes {node.output[0]!r}")
    return found


def _makes(node: NodeProto) -> Iterator[int]:
    """The element type that a node's attributes name."""
    yield from (a.i for a in node.attribute if a.name in ("to", "dtype", "output_dtype"))


def _words() -> Mapping[int, str]:
    from onnx import TensorProto

    eights = (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ)
    return {
        **dict.fromkeys(eights, "fp8"),
        **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4), "int4"),
        TensorProto.FLOAT4E2M1: "fp4",
        TensorProto.BFLOAT16: "bf16",
    }


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in onnxfile.graphs(model.graph):
        yield from graph.node


def _listed(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return ", ".join(nodes[:_SHOWN]) + more
