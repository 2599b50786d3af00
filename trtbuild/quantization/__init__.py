"""What a quantised graph looks like: number formats, where Q/DQ pairs go, and writing them.

Below the stages, because two of them need it: calibration measures the tensors that a placement names and tries
thresholds out, assign precision writes the pairs.
"""

from __future__ import annotations

from trtbuild.quantization.fidelity import Fidelity
from trtbuild.quantization.fitting import fit
from trtbuild.quantization.formats import DOCUMENTED_BLOCKS, FORMATS, FormatName, NumberFormat
from trtbuild.quantization.placement import Placement, QuantizedNode, QuantizedSummand, place
from trtbuild.quantization.qdq import write_qdq
from trtbuild.quantization.weights import QuantizedWeight, quantize_weight

__all__ = [
    "DOCUMENTED_BLOCKS",
    "FORMATS",
    "Fidelity",
    "FormatName",
    "NumberFormat",
    "Placement",
    "QuantizedNode",
    "QuantizedSummand",
    "QuantizedWeight",
    "fit",
    "place",
    "quantize_weight",
    "write_qdq",
]
