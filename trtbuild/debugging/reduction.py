"""The smallest part that still fails, as files that someone else can run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile
from trtbuild.artifacts import StoredFile
from trtbuild.debugging.alignment import Segment, nodes_between
from trtbuild.debugging.parts import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto


def reduce_to(
    folder: Path,
    reference: ModelProto,
    subject: ModelProto,
    segment: Segment,
    known: Mapping[str, NDArray[Any]],
    bound_db: float,
) -> tuple[dict[str, StoredFile], str]:
    """Writes the part that makes one tensor, from both graphs, with the reference's values as inputs.

    Args:
        folder: Made where it is not there; gets ``reference.onnx``, ``subject.onnx`` and ``inputs/000.npz``.
        reference: What is right.
        subject: What is not.
        segment: The subject's part.
        known: The reference's values of what it begins at and makes, by the subject's names, and the graph's inputs.
        bound_db: What the part's result is held to.

    Returns:
        The files by name, and the command that shows the failure.
    """
    import numpy as np

    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    fed = [r for r in segment.reads if r not in segment.weights]
    shapes = {n: list(known[n].shape) for n in (*fed, segment.tensor)}
    mine = cut(subject, segment.nodes, {segment.tensor: "result"}, fed, shapes)
    theirs = {segment.begins.get(n, n): n for n in fed}
    nodes = nodes_between(reference, [segment.reference], tuple(theirs))
    there = {v.name for v in reference.graph.input} | set(theirs)
    shapes_there = {name: shapes[own] for name, own in theirs.items()} | {segment.reference: shapes[segment.tensor]}
    other = cut(reference, nodes, {segment.reference: "result"}, [n for n in there if n not in _weights(reference)], shapes_there)
    names = [v.name for v in mine.graph.input]
    _rename(other, {theirs_name: _outside(own, names) for theirs_name, own in theirs.items()})
    files = {
        "reference.onnx": onnxfile.save(other, folder / "reference.onnx"),
        "subject.onnx": onnxfile.save(mine, folder / "subject.onnx"),
    }
    arrays = {_outside(n, names): np.asarray(known[n]) for n in fed}
    np.savez(folder / "inputs" / "000.npz", **arrays)  # type: ignore[arg-type]
    files["inputs/000.npz"] = StoredFile.of(folder / "inputs" / "000.npz")
    command = (
        f"cd {folder} && trtbuild verify reference.onnx subject.onnx --data calibration/arrays.py:batches "
        f"--arg path=inputs --metric sqnr --min {bound_db:g}"
    )
    return files, command


def _weights(model: ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer}


def _outside(name: str, names: list[str]) -> str:
    return name if name in names else f"{name}/fp32"


def _rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Gives a part's inputs other names, in place."""
    for value in model.graph.input:
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
