"""What changed between two plans or two ONNX files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Change:
    """One thing that is not the same on both sides.

    Attributes:
        topic: What kind of thing, for example ``node precision``, ``weight`` or ``opset``.
        name: Which one: a node, a tensor, an operator; empty where there is only one.
        before: What it was, as a JSON value; None where it came.
        after: What it is; None where it went.
        size: How far apart, in the topic's unit: the largest absolute difference of a weight, the largest ratio of a
            scale; None where the topic has none.
    """

    topic: str
    name: str
    before: Any
    after: Any
    size: float | None = None

    @property
    def mirrored(self) -> Change:
        """The same change, seen from the other side."""
        return replace(self, before=self.after, after=self.before)


@dataclass(frozen=True)
class Difference:
    """Everything that changed from one file to another, the most important first.

    Attributes:
        kind: What was compared.
        before: Digest of the first file.
        after: Digest of the second file.
        changes: What is not the same.
        notes: What could not be compared, such as the kernels of a plan that lost its description.
    """

    kind: Literal["plan", "onnx"]
    before: str
    after: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the files are the same, byte for byte."""
        return self.before == self.after

    @property
    def equivalent(self) -> bool:
        """Whether nothing but bytes, names and other metadata changed."""
        return all(change.topic in INSIGNIFICANT for change in self.changes)


INSIGNIFICANT = frozenset({"metadata", "name", "bytes"})
"""Topics that change nothing that is computed."""
