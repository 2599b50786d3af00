"""Second moments of activations, summed up by the graph itself: what tells how rounding errors of weights add up.

A graph computes X' X of each activation in each run, so no activation is held and memory does not grow with the
samples. The matrices are made a few at a time where all of them would take too much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtbuild import onnxrun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto, TensorProto

    from trtbuild.feeds import Sample

    Floats = NDArray[np.float64]

BUDGET = 512e6
"""Bytes of matrices that are summed up at a time; at least one activation's."""


@dataclass(frozen=True)
class Wanted:
    """An activation whose moments are asked for.

    Attributes:
        tensor: Its name.
        width: Its channels, along the last axis.
        scale: Of the INT8 pair that it is read through; None where it is read in float.
    """

    tensor: str
    width: int
    scale: float | None


@dataclass(frozen=True)
class Moments:
    """Sums over all rows of an activation X and of Xq, the same as its reader gets it.

    Attributes:
        square: Of Xq' Xq, shape ``[channels, channels]``.
        cross: Of Xq' X, shape ``[channels, channels]``.
    """

    square: Floats
    cross: Floats


def moments(model: ModelProto, wanted: Sequence[Wanted], samples: Sequence[Sample]) -> Iterator[tuple[Wanted, Moments]]:
    """Yields the moments of each activation over all samples, padded positions included.

    Args:
        model: The FP32 model, weights in memory.
        wanted: The activations.
        samples: What to run.
    """
    group: list[Wanted] = []
    for each in wanted:
        if group and sum(_bytes(w) for w in (*group, each)) > BUDGET:
            yield from _summed(model, group, samples)
            group = []
        group.append(each)
    if group:
        yield from _summed(model, group, samples)


def _bytes(wanted: Wanted) -> float:
    return 2 * 8 * float(wanted.width) ** 2


def _summed(model: ModelProto, group: Sequence[Wanted], samples: Iterable[Sample]) -> Iterator[tuple[Wanted, Moments]]:
    import numpy as np

    runner = onnxrun.session(_asking(model, group), lean=True)
    sums: dict[str, Any] = {}
    for sample in samples:
        for name, value in onnxrun.run(runner, sample.feed).items():
            sums[name] = sums[name] + value if name in sums else value.astype(np.float64)
    for number, each in enumerate(group):
        square = sums[f"trtbuild/square_{number}"]
        yield each, Moments(square, sums.get(f"trtbuild/cross_{number}", square))


def _asking(model: ModelProto, group: Sequence[Wanted]) -> ModelProto:
    """The model with sums and products of some activations as its only outputs."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for number, each in enumerate(group):
        made, constants = _products(each, number)
        copy.graph.node.extend(made)
        copy.graph.initializer.extend(constants)
        asked = ("square", "cross") if each.scale is not None else ("square",)
        copy.graph.output.extend(
            helper.make_tensor_value_info(f"trtbuild/{name}_{number}", onnx.TensorProto.FLOAT, None) for name in asked
        )
    return copy


def _products(wanted: Wanted, number: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes that make one activation's sums and products, and their constants."""
    import numpy as np
    from onnx import helper, numpy_helper

    def called(name: str) -> str:
        return f"trtbuild/{name}_{number}"

    constants: dict[str, Any] = {"shape": np.array([-1, wanted.width], np.int64)}
    x = called("x")
    nodes = [helper.make_node("Reshape", [wanted.tensor, called("shape")], [x])]
    read = x
    if wanted.scale is not None:
        constants |= {"scale": np.float32(wanted.scale), "zero": np.int8(0)}
        pair = [called("scale"), called("zero")]
        read = called("xq")
        nodes += [
            helper.make_node("QuantizeLinear", [x, *pair], [called("stored")]),
            helper.make_node("DequantizeLinear", [called("stored"), *pair], [read]),
            helper.make_node("Gemm", [read, x], [called("cross")], transA=1),
        ]
    nodes.append(helper.make_node("Gemm", [read, read], [called("square")], transA=1))
    return nodes, [numpy_helper.from_array(np.asarray(v), called(n)) for n, v in constants.items()]
