"""The smallest part that still fails, as files that someone else can run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import StoredFile
from trtbuild.debugging.alignment import Segment, nodes_between
from trtbuild.debugging.parts import RESULT, Graph, cut, exposing, run
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    Arrays = Mapping[str, NDArray[Any]]


def reduce_to(
    folder: Path,
    reference: Graph,
    subject: ModelProto,
    segment: Segment,
    paired: Mapping[str, str],
    feed: Arrays,
    bound_db: float,
) -> tuple[dict[str, StoredFile], str]:
    """Writes the part that makes one tensor, from both graphs, with the reference's values as inputs.

    Args:
        folder: Made where it is not there; gets ``reference.onnx``, ``subject.onnx`` and ``inputs/000.npz``.
        reference: What is right.
        subject: What is not.
        segment: The subject's part.
        paired: Tensors of the subject to the reference's that they are.
        feed: Inputs of the whole graphs.
        bound_db: What the part's result is held to.

    Returns:
        The files by name, and the command that shows the failure.
    """
    import numpy as np

    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    whole = reference.model
    others = {theirs: mine for mine, theirs in paired.items() if mine != segment.tensor}
    nodes = nodes_between(whole, [segment.reference], list(others))
    inputs = {v.name for v in whole.graph.input} - {t.name for t in whole.graph.initializer}
    read = dict.fromkeys(t for n in nodes for t in reads(n))
    begins = dict.fromkeys(
        [n for n in segment.reads if n not in segment.weights]
    )  # of both parts, by the subject's names
    begins |= dict.fromkeys(others.get(t, t) for t in read if t in others or t in inputs)
    names = {n: paired.get(n, n) for n in (*begins, segment.tensor)}
    values = {n: a for n, a in feed.items() if n in begins}
    made = [t for n, t in names.items() if n not in values]
    found = run(exposing(whole, made), feed, reference.folder)
    values |= {n: found[t + RESULT] for n, t in names.items() if n not in values}
    shapes = {n: list(a.shape) for n, a in values.items()}
    mine = cut(subject, segment.nodes, {segment.tensor: "result"}, list(begins), shapes)
    shapes_there = {names[n]: shape for n, shape in shapes.items()}
    other = cut(whole, nodes, {segment.reference: "result"}, [names[n] for n in begins], shapes_there)
    outer = {n: f"{n}/fp32" if any(v.name == f"{n}/fp32" for v in mine.graph.input) else n for n in begins}
    _rename(other, {names[n]: outer[n] for n in begins})
    _declare_alike(mine, other)
    arrays = {outer[n]: np.ascontiguousarray(values[n]) for n in begins}
    np.savez(folder / "inputs" / "000.npz", **arrays)  # type: ignore[arg-type]
    files = {
        "reference.onnx": onnxfile.save(other, folder / "reference.onnx", folder=reference.folder),
        "subject.onnx": onnxfile.save(mine, folder / "subject.onnx"),
        "inputs/000.npz": StoredFile.of(folder / "inputs" / "000.npz"),
    }
    command = (
        f"cd {shlex.quote(str(folder))} && trtbuild verify reference.onnx subject.onnx "
        f"--data calibration/arrays.py:batches --arg path=inputs --metric sqnr --min {bound_db:g}"
    )
    return files, command


def _declare_alike(mine: ModelProto, other: ModelProto) -> None:
    """Declares on each side the inputs that only the other one reads: both take one feed."""
    for here, there in ((mine, other), (other, mine)):
        known = {v.name for v in here.graph.input}
        here.graph.input.extend(v for v in there.graph.input if v.name not in known)


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Gives a part's inputs other names, in place."""
    for value in model.graph.input:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
