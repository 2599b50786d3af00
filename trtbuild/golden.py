"""Golden requests: inputs with the FP32 reference's answers and the rule they are held to, kept in a folder.

``verify`` writes them; a later ``verify --against`` and a server's rollout compare new answers with them. The folder
has ``golden.json`` and one ``.npz`` a request: ``in0, in1, ...`` and ``out0, out1, ...`` in the order of that index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import StoredFile, TensorSpec
from trtbuild.content import file_digest
from trtbuild.errors import IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

INDEX = "golden.json"
_SCHEMA = 1


@dataclass(frozen=True)
class GoldenRequest:
    """One request and the answer it must get.

    Attributes:
        feed: Input name to array.
        answer: Output name to the reference's array.
    """

    feed: Arrays
    answer: Arrays


@dataclass(frozen=True)
class GoldenRequests:
    """A folder of golden requests.

    Attributes:
        folder: Where it lies.
        inputs: The model's inputs.
        outputs: Names of its outputs.
        reference: Digest of the reference that answered.
        rule: The rule's fields, as ``verify`` takes them.
        files: The requests' files in order.
    """

    folder: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    reference: str
    rule: Mapping[str, Any]
    files: tuple[StoredFile, ...]

    def all_files(self) -> tuple[StoredFile, ...]:
        """Every file of the folder, the index last."""
        return (*self.files, StoredFile.of(self.folder / INDEX))

    def __iter__(self) -> Iterator[GoldenRequest]:
        """Every request, each file held against its digest first.

        Raises:
            IntegrityError: A file is missing or is another one.
        """
        import numpy as np

        for file in self.files:
            if not file.path.is_file() or file_digest(file.path) != file.sha256:
                raise IntegrityError(
                    "this golden request is not the one that was recorded",
                    place=str(file.path),
                    hint="record them again with `trtbuild verify --golden`",
                )
            with np.load(file.path, allow_pickle=False) as arrays:
                yield GoldenRequest(
                    {t.name: arrays[f"in{i}"] for i, t in enumerate(self.inputs)},
                    {name: arrays[f"out{i}"] for i, name in enumerate(self.outputs)},
                )


def record(
    folder: Path,
    inputs: Sequence[TensorSpec],
    requests: Sequence[GoldenRequest],
    *,
    reference: str,
    rule: Mapping[str, Any],
) -> GoldenRequests:
    """Writes golden requests into a folder, the index last.

    Args:
        folder: Made where it is not there; files of the same names are replaced.
        inputs: The model's inputs.
        requests: At least one; all with the same outputs.
        reference: Digest of what answered.
        rule: What later answers are held to.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    outputs = tuple(requests[0].answer)
    files = []
    for number, request in enumerate(requests):
        place = folder / f"{number:03}.npz"
        arrays = {f"in{i}": request.feed[t.name] for i, t in enumerate(inputs)}
        arrays |= {f"out{i}": request.answer[name] for i, name in enumerate(outputs)}
        np.savez_compressed(place, **arrays)  # type: ignore[arg-type]
        files.append(StoredFile.of(place))
    document = {
        "schema": _SCHEMA,
        "reference": reference,
        "rule": dict(rule),
        "inputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in inputs],
        "outputs": list(outputs),
        "requests": [{"file": f.path.name, "sha256": f.sha256} for f in files],
    }
    (folder / INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return GoldenRequests(folder, tuple(inputs), outputs, reference, rule, tuple(files))


def read(folder: Path) -> GoldenRequests:
    """Reads the index of a folder; the requests are read when they are gone through.

    Raises:
        IntegrityError: There is no index, or it is not one.
    """
    place = folder / INDEX
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
        inputs = tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in document["inputs"])
        files = tuple(_listed(folder, r) for r in document["requests"])
        outputs, reference, rule = tuple(document["outputs"]), str(document["reference"]), dict(document["rule"])
    except FileNotFoundError as error:
        raise IntegrityError(
            "there are no golden requests", place=str(place), hint="record them with `trtbuild verify --golden FOLDER`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"not an index of golden requests: {error}", place=str(place), hint="record them again"
        ) from error
    return GoldenRequests(folder, inputs, outputs, reference, rule, files)


def _listed(folder: Path, row: Mapping[str, Any]) -> StoredFile:
    name = str(row["file"])
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    place = folder / name
    return StoredFile(place, str(row["sha256"]), place.stat().st_size if place.is_file() else 0)
