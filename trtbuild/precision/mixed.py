"""Graphs with some nodes quantised and the rest in another precision: what a search tries and ``best`` becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from trtbuild.errors import PrecisionError
from trtbuild.precision.lower import Lowered, lower
from trtbuild.quantization import FORMATS, FormatName, Placement, write_qdq

if TYPE_CHECKING:
    from onnx import ModelProto

Rest = Literal["fp32", "fp16", "bf16"]
"""What is not quantised may be in."""


def write_mixed(
    model: ModelProto,
    placement: Placement,
    amax: Mapping[str, float],
    formats: Mapping[str, str],
    rest: Rest,
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Lowered:
    """Returns a copy of the model with the named nodes quantised, the others in ``rest``.

    Args:
        model: The FP32 model, weights in memory.
        placement: Where pairs can go.
        amax: Largest |x| to keep of each activation.
        formats: Node to what it is in: a quantised format, ``rest``, or ``fp32``. A node that is not named is in
            ``rest``.
        rest: Precision of everything else.
        ranges: Tensor name to the smallest and largest value seen, for what FP16 cannot hold.

    Raises:
        PrecisionError: A node is asked to be in what a graph in ``rest`` cannot have beside it.
    """
    low = {n.node: cast("FormatName", formats[n.node]) for n in placement.nodes if formats.get(n.node) in FORMATS}
    for node, kind in formats.items():
        if kind not in (*FORMATS, rest, "fp32"):
            raise PrecisionError(
                f"{node} cannot be {kind} in a graph that is {rest} otherwise",
                place="precision_overrides",
                hint=f"take {rest} or fp32 for it",
            )
    written = write_qdq(model, placement.only(set(low)), amax, formats=low)
    if rest == "fp32":
        return Lowered(written, {}, ())
    keep = {node: "asked to be fp32" for node, kind in formats.items() if kind == "fp32"}
    return lower(written, rest, ranges=ranges, keep=keep)
