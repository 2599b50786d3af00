"""NumPy files: one .npy or .npz, a folder with one .npy an input, or a folder with one file a feed.

``.npy`` files are mapped into memory, so that only the rows that are used are read; ``.npz`` files are zip archives and
are read whole.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError
from trtbuild.feeds.choosing import batch_size, grouped, rooted, seeded_order
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def batches(
    path: str,
    *,
    keys: Mapping[str, str] | None = None,
    labels: str | None = None,
    batch: int | None = None,
    seed: int | None = 0,
    skip: int = 0,
    model_inputs: Sequence[TensorSpec] = (),
    spec_folder: Path = Path(),
) -> Iterator[Any]:
    """Feeds of arrays; with ``labels``, pairs of a feed and labels.

    What ``path`` may be:

    - ``set.npy``: rows of the model's only input;
    - ``set.npz``: rows of every input, by name;
    - a folder with ``<input>.npy`` for every input, and ``<labels>.npy``: likewise;
    - any other folder: each .npz, or each .npy of the model's only input, is a feed as it is; an array without a batch
      axis is one row.

    Args:
        path: The file or folder.
        keys: Input name to the array's name in the file, where they differ.
        labels: Name of the array with labels; none when left out.
        batch: Rows a feed; 32 when left out. Not for a folder of feeds.
        seed: Of the order in which rows (or files) are taken; null takes them as they lie.
        skip: Rows (or files) to leave out at the beginning of that order.
        model_inputs: The model's inputs; trtbuild gives them. Without them every array is an input.
        spec_folder: Where ``path`` starts; trtbuild gives it.

    Raises:
        FeedError: No such file, not a NumPy file, an array that is missing, arrays of different lengths.
    """
    import numpy as np

    place = rooted(path, spec_folder, "file or folder")
    names = _names(keys or {}, model_inputs, place)
    one_an_input = place.is_dir() and any((place / f"{key}.npy").is_file() for key in names.values())
    if place.is_dir() and not one_an_input:
        if batch is not None:
            raise FeedError("each file is a feed already", place=str(place), hint="leave batch out")
        files = _files(place)
        for index in seeded_order(len(files), seed, skip, str(place)):
            yield _whole_feed(files[index], names, labels, model_inputs)
        return
    columns = _read_folder(place, names, labels) if one_an_input else _read(place, names, labels)
    if not names:
        names = {key: key for key in columns if key != labels}
    by_row = _by_row(columns, names, labels, model_inputs, place)
    count = len(columns[by_row[0]])
    order = seeded_order(count, seed, skip, str(place))
    lead = next((t for t in model_inputs if names.get(t.name) == by_row[0]), None)
    rows, whole = batch_size(batch, 32, lead, len(order), str(place))
    for chosen in grouped(order, rows, whole=whole):
        taken = {
            key: np.asarray(array[np.asarray(chosen)] if key in by_row else array) for key, array in columns.items()
        }
        feed = {name: taken[key] for name, key in names.items()}
        yield feed if labels is None else (feed, taken[labels])


def _names(keys: Mapping[str, str], inputs: Sequence[TensorSpec], place: Path) -> dict[str, str]:
    """Input name to array name."""
    known = [t.name for t in inputs]
    for name in keys:
        if known and name not in known:
            raise FeedError(f"the model has no input {name!r}", place=f"{place}, keys", hint=nearest_hint(name, known))
    return {name: keys.get(name, name) for name in known or keys}


def _files(folder: Path) -> list[Path]:
    found = sorted(f for f in folder.iterdir() if f.suffix in (".npy", ".npz") and not f.name.startswith("."))
    if not found:
        raise FeedError("no .npy or .npz file", place=str(folder), hint="name the folder that holds them")
    return found


def _read_folder(folder: Path, names: Mapping[str, str], labels: str | None) -> dict[str, Array]:
    columns = {}
    for key in [*names.values(), *([labels] if labels else [])]:
        file = folder / f"{key}.npy"
        if not file.is_file():
            there = [f.stem for f in sorted(folder.glob("*.npy"))]
            raise FeedError(f"there is no {key}.npy", place=str(folder), hint=nearest_hint(key, there))
        columns[key] = _load(file)
    return columns


def _read(file: Path, names: Mapping[str, str], labels: str | None) -> dict[str, Array]:
    """The arrays of one file by their names: those of the inputs and the labels, or all where no input is known."""
    loaded = _load(file)
    if not hasattr(loaded, "files"):
        if len(names) > 1 or labels:
            wanted = ", ".join([*names, *([labels] if labels else [])])
            raise FeedError(
                f"one array, and {wanted} are wanted",
                place=str(file),
                hint="save them with numpy.savez, or name a folder with one .npy for each",
            )
        return {next(iter(names.values()), file.stem): loaded}
    with loaded:
        wanted_keys = [*names.values(), *([labels] if labels else [])] if names else list(loaded.files)
        for key in wanted_keys:
            if key not in loaded.files:
                raise FeedError(
                    f"there is no array {key!r}",
                    place=str(file),
                    hint=nearest_hint(key, loaded.files) + "; keys: {input: array} tells them apart",
                )
        try:
            return {key: loaded[key] for key in wanted_keys}
        except _UNSOUND as error:
            raise _unsound(file, error) from error


_UNSOUND = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def _load(file: Path) -> Any:
    import numpy as np

    if file.suffix not in (".npy", ".npz"):
        raise FeedError("not a NumPy file", place=str(file), hint="its name must end in .npy or .npz")
    try:
        return np.load(file, mmap_mode="r" if file.suffix == ".npy" else None, allow_pickle=False)
    except _UNSOUND as error:
        raise _unsound(file, error) from error


def _unsound(file: Path, error: Exception) -> FeedError:
    return FeedError(
        f"cannot be read as a NumPy file: {error}",
        place=str(file),
        hint="save it again with numpy.save or numpy.savez, as numbers: files with Python objects are not opened",
    )


def _whole_feed(file: Path, names: Mapping[str, str], labels: str | None, inputs: Sequence[TensorSpec]) -> Any:
    import numpy as np

    arrays = _read(file, names, labels)
    ranks = {t.name: len(t.shape) for t in inputs}
    feed = {}
    for name, key in (names or {k: k for k in arrays if k != labels}).items():
        array = np.array(arrays[key])
        feed[name] = array[None] if array.ndim + 1 == ranks.get(name) else array
    return feed if labels is None else (feed, np.atleast_1d(arrays[labels]))


def _by_row(
    columns: Mapping[str, Array],
    names: Mapping[str, str],
    labels: str | None,
    inputs: Sequence[TensorSpec],
    place: Path,
) -> list[str]:
    """The arrays that are cut into rows; an input that has not the first one's leading axis is fed whole."""
    leading = {names[t.name]: t.shape[0] if t.shape else None for t in inputs}
    axis = next((a for a in leading.values() if a is not None), None)
    by_row = [key for key in names.values() if leading.get(key, axis) == axis] + ([labels] if labels else [])
    lengths = {key: len(columns[key]) if columns[key].ndim else None for key in by_row}
    if not by_row or None in lengths.values() or len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {'no rows' if n is None else n}" for key, n in lengths.items())
        raise FeedError(
            f"the arrays differ in length: {told}" if by_row else "there is no array",
            place=str(place),
            hint="axis 0 of each array counts the rows",
        )
    return by_row
