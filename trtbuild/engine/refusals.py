"""What TensorRT's ONNX parser refuses, in words a user can act on.

Its descriptions are C++: an assertion's source, the place in TensorRT's own code, and lines about a missing GPU that
have nothing to do with it. The cause is somewhere in between. The forms were seen with TensorRT-RTX 1.7.1; a text of
another form is passed on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NOISE = ("cudaError 35", "Invalid Node - ")  # a line that is no cause
_QUOTED = re.compile(r'&&\s*"(.+)"\s*$', re.DOTALL)  # (dilations[i] == 1) && "This version ... other than 1."
_ASSERTION = re.compile(
    r"^Assertion failed: .*?(?::\s(?=[A-Z])|$)"
)  # Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero
_IMPORT = re.compile(
    r"^.*\(\w+\): [A-Z_]+: "
)  # Failed to import initializer: In node -1 with ... (f): UNSUPPORTED_NODE:
_API = re.compile(
    r"^[\w:]+: Error Code \d+: [\w ]+ \((.+)\)$"
)  # ITensor::getDimensions: Error Code 4: Shape Error (...)
_PLACE = re.compile(r"\.? In \w+ at \S+?:\d+$")  # In checkType at /_src/optimizer/common/nodeBase.cpp:456

_LOWER = "`trtbuild rewrite -v` says which rule could bring it into another form, and what that rule misses"
_HINTS = (
    ("Plugin not found", "export with ONNX's standard operators, or write a rule that does (docs/rewriting.md)"),
    ("plugin creator", "this backend has no plugins: do without the operator, or build for TensorRT"),
    (
        "Non-zero zero point",
        "quantise symmetrically, INT8 with zero point 0; or start from the FP32 model: precision int8",
    ),
    ("has type Int32 but must have type FP8", "leave biases in float when quantising, or start from the FP32 model"),
    (
        "but must have type",
        "cast the tensor before this node; `trtbuild rewrite` does where it is uint8, int16 or uint16",
    ),
    ("must have same input types", "a strongly typed network casts nothing by itself: put a Cast before the node"),
    ("training mode", "export in eval() mode; `trtbuild rewrite` brings a model to its inference form"),
    ("Failed to import initializer", "TensorRT has no weights of that element type: store them in another one"),
    ("dimensions to TensorRT dimensions", "TensorRT's tensors have 8 axes at most: join some of them"),
    ("Failed to convert ONNX", "TensorRT has no inputs of that element type: hand numbers over, in float32 or int64"),
    ("Shape Error", "shapes do not fit each other: run the model in ONNX Runtime at the profile's sizes"),
    ("maxKernelDimsProduct", f"TensorRT limits a window's size; {_LOWER}"),
)


@dataclass(frozen=True)
class Refusal:
    """Something the parser refused.

    Attributes:
        node: The node's name; empty where the parser names none.
        operator: Its operator type; empty where the parser names none.
        module: Path of the PyTorch module that made the node, such as ``encoder.layers.0``; empty where unknown.
        cause: Why, in TensorRT's words without those about its own code.
        hint: What to do.
    """

    node: str
    operator: str
    module: str
    cause: str
    hint: str

    def __str__(self) -> str:
        where = f"{self.node} ({self.operator})" if self.node and self.operator else self.node or self.operator
        return f"{where}: {self.cause}" if where else self.cause


def refusal(description: str, *, node: str = "", operator: str = "", module: str = "") -> Refusal:
    """Reads one error of the parser.

    Args:
        description: Its text, of any number of lines.
        node: The node's name; empty where there is none.
        operator: The node's operator type.
        module: The PyTorch module the node comes from.

    Example:
        >>> print(refusal('false', node="/head/Det_0", operator="Det"))
        /head/Det_0 (Det): TensorRT has no operator Det in this form
    """
    cause = _cause(description).removeprefix(f"{node}: ").removesuffix(".")
    if cause in ("false", ""):
        cause = f"TensorRT has no operator {operator} in this form" if operator else "it gives no reason"
    hint = next((hint for words, hint in _HINTS if words in f"{description} {cause}"), _LOWER)
    return Refusal(node, operator, module, cause, hint)


def listed(refusals: Iterable[Refusal]) -> str:
    """All refusals as lines: why and what to do once, and below it every node with its PyTorch module."""
    groups: dict[tuple[str, str, str], list[Refusal]] = {}
    for each in refusals:
        groups.setdefault((each.operator, each.cause, each.hint), []).append(each)
    lines = []
    for (operator, cause, hint), found in groups.items():
        lines.append(f"    {operator}: {cause}; {hint}" if operator else f"    {cause}; {hint}")
        lines += [f"        {r.node}" + (f" in {r.module}" if r.module else "") for r in found if r.node]
    return "\n".join(lines)


def first_hint(refusals: Iterable[Refusal]) -> str:
    """The hint of the first refusal that has one of its own, else what helps with any."""
    return next((r.hint for r in refusals if r.hint != _LOWER), _LOWER)


def _cause(description: str) -> str:
    """The line that says why, without what surrounds it."""
    lines = [line.strip() for line in description.strip().splitlines()]
    line = next((x for x in lines if x and not any(word in x for word in _NOISE)), lines[0] if lines else "")
    api = _API.match(line)
    line = _PLACE.sub("", api.group(1)) if api else line
    quoted = _QUOTED.search(line)
    if quoted:
        return quoted.group(1)
    return _ASSERTION.sub("", _IMPORT.sub("", line)) or line
