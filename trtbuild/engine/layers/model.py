"""What the compiled ONNX model says at one profile's opt sizes: shapes, who reads what, matrix work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtbuild import onnxfile
from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.matrixops import MATRIX_OPS, axis_sizes, multiply_accumulates, tensor_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


@dataclass(frozen=True)
class ModelAtOpt:
    """What the model says at one profile's opt sizes.

    Attributes:
        shapes: Tensor to its shape; weights and what is computed of them alone left out.
        dynamic: Tensor to whether each of its axes is dynamic in this profile; None where that is not known.
        reads: Node name to the tensors it reads.
        writes: Node name to the tensors it writes.
        macs: Matrix node to its multiply-accumulates; None where its shapes cannot be inferred.
        readers: Tensor to the names of the nodes that read it.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dynamic: Mapping[str, tuple[bool | None, ...]]
    reads: Mapping[str, Sequence[str]]
    writes: Mapping[str, Sequence[str]]
    macs: Mapping[str, int | None]
    readers: Mapping[str, set[str]]


def at_opt(model: ModelProto, inputs: Sequence[TensorSpec], profile: OptimizationProfile | None) -> ModelAtOpt:
    """Reads the model at the opt sizes of a profile; axes without a size stay unknown.

    Args:
        model: The compiled model; large weights need not be in memory.
        inputs: Its inputs, dynamic axes by name.
        profile: None for a model without dynamic axes.
    """
    fixed = profile or OptimizationProfile({})
    known = {
        t.name: fixed.shape(t, "opt") for t in inputs if all(isinstance(d, int) or d in fixed.axes for d in t.shape)
    }
    sizes = axis_sizes(model, known)
    counted = multiply_accumulates(model, sizes)
    constants = {t.name for t in model.graph.initializer}
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
        if constants.issuperset(node.input):
            constants.update(node.output)
    return ModelAtOpt(
        shapes={name: shape for name, shape in tensor_shapes(model, known).items() if name not in constants},
        dynamic={v.name: _dynamic(v, fixed) for v in onnxfile.inferred(model)},
        reads={n.name: [t for t in n.input if t and t not in constants] for n in model.graph.node},
        writes={n.name: [t for t in n.output if t] for n in model.graph.node},
        macs={n.name: counted.get(n.name) for n in model.graph.node if n.op_type in MATRIX_OPS},
        readers=readers,
    )


def _dynamic(value: ValueInfoProto, profile: OptimizationProfile) -> tuple[bool | None, ...]:
    ranges = profile.axes
    return tuple(
        False
        if dim.HasField("dim_value")
        else ranges[dim.dim_param].min < ranges[dim.dim_param].max
        if dim.dim_param in ranges
        else None
        for dim in value.type.tensor_type.shape.dim
    )
