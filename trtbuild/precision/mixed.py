"""Graphs with some nodes quantised and the rest in another precision: what a search tries and ``best`` becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from trtbuild.precision.lower import lower
from trtbuild.quantization import FORMATS, FormatName, Placement, write_qdq

if TYPE_CHECKING:
    from onnx import ModelProto

Rest = Literal["fp32", "fp16", "bf16"]
"""What is not quantised may be in."""


def write_mixed(
    model: ModelProto, placement: Placement, amax: Mapping[str, float], formats: Mapping[str, str], rest: Rest
) -> ModelProto:
    """Returns a copy of the model with the named nodes quantised, the others in ``rest``.

    Args:
        model: The FP32 model, weights in memory.
        placement: Where pairs can go.
        amax: Largest |x| to keep of each activation.
        formats: Node to what it is in; a node that is not named, or not in a quantised format, is in ``rest``.
        rest: Precision of everything else.
    """
    low = {n.node: cast("FormatName", formats[n.node]) for n in placement.nodes if formats.get(n.node) in FORMATS}
    written = write_qdq(model, placement.only(set(low)), amax, formats=low)
    return written if rest == "fp32" else lower(written, rest).model
