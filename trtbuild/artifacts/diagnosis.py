"""Where two forms of a model part, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtbuild.artifacts.files import StoredFile
from trtbuild.artifacts.graphs import WrongEdit

Cause = Literal["bad weight", "other weight", "swapped inputs", "overflow", "bad scale", "rounding", "other operators"]
"""What is wrong at a node: NaN or Inf in a weight; a weight that is not the reference's; the reference's inputs in
another order; a value that the number format cannot hold; a scale that clips, or wastes most of its steps; nothing but
the number format itself; operators that are not the reference's, such as a fusion's."""


@dataclass(frozen=True)
class TensorError:
    """One tensor that both graphs compute.

    Attributes:
        tensor: Its name in the subject.
        node: The node that makes it.
        sqnr_db: Signal to noise with all error before it, dB; None where there is no error.
        local_db: The same with the reference's values fed to the part that makes it: the error that it adds itself.
        nonfinite: Count of NaN and Inf that the reference has not.
        local_nonfinite: The same with the reference's values fed.
        reference_range: Smallest and largest value of the reference.
        scale_loss_db: What the INT8 scales of the part cost at worst against the best ones around them, dB.
    """

    tensor: str
    node: str
    sqnr_db: float | None
    local_db: float | None
    nonfinite: int
    local_nonfinite: int
    reference_range: tuple[float, float]
    scale_loss_db: float = 0.0


@dataclass(frozen=True)
class Suspect:
    """A node that adds error.

    Attributes:
        node: Its name.
        op: Its operator.
        tensor: What it makes.
        cause: What is wrong with it.
        explanation: That in a sentence, with figures.
        local_db: The error it adds itself, dB; None where that is NaN or Inf.
        healed_db: SQNR of the worst output without the error that it adds, dB; None with NaN or Inf left.
        healed_cosine: The same as the smallest mean cosine of an output.
        segment: Nodes of the part that makes the tensor, its conversions included.
        estimated_time_share: Time of the graph with this node in FP16, of its time as it is, by a target's roofline;
            None where no target was named, or the node is no matrix work in fewer bits.
    """

    node: str
    op: str
    tensor: str
    cause: Cause
    explanation: str
    local_db: float | None
    healed_db: float | None
    healed_cosine: float
    segment: tuple[str, ...]
    estimated_time_share: float | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What came of looking for the place where numbers go wrong.

    Attributes:
        reference: Digest of the reference.
        subject: Digest of the subject.
        bound_db: What each tensor was held to.
        output_db: SQNR of the worst output, dB; None where it has NaN or Inf, 999 where there is no error.
        output_cosine: Smallest mean cosine of an output.
        tensors: Every tensor that both compute, in the subject's order.
        first: The first tensor past the bound; None where all are within.
        suspects: Nodes that add most error, worst first.
        advice: What to write into the spec.
        rows: Rows that were run.
        notes: What a reader should know.
        reduced: Files of the smallest part that still fails, by name; empty where none was asked for.
        command: What shows the failure of that part; empty as above.
        edits: Rewrite edits that make the outputs differ, where those were looked for.
    """

    reference: str
    subject: str
    bound_db: float
    output_db: float | None
    output_cosine: float
    tensors: tuple[TensorError, ...]
    first: str | None
    suspects: tuple[Suspect, ...]
    advice: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = ()
    reduced: Mapping[str, StoredFile] | None = None
    command: str = ""
    edits: tuple[WrongEdit, ...] = ()
