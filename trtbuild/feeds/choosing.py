"""What the readers that ship have in common: paths, the model's inputs, and choosing some of many reproducibly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")


def seeded_order(count: int, seed: int | None, skip: int, place: str) -> Sequence[int] | NDArray[Any]:
    """In which order to read ``count`` things, so that the first few are a fair choice of all.

    The order depends on the count and the seed alone, and a shorter choice is the beginning of a longer one. Two
    readers of the same things with the same seed are disjoint when one takes n and the other skips n.

    Args:
        count: How many there are.
        seed: Of the order; None for 0, 1, 2, ...
        skip: How many to leave out at its beginning.
        place: How to name the things in an error.

    Returns:
        Indices: eight bytes for each of the ``count``, or a range.

    Raises:
        FeedError: A seed or skip that is no such number, or nothing left.
    """
    import numpy as np

    if seed is not None and not _natural(seed):
        raise FeedError(f"seed is {seed!r}", place=place, hint="give a whole number from 0, or null to keep the order")
    if not _natural(skip) or skip >= count:
        raise FeedError(f"skip is {skip!r}, and there are {count}", place=place, hint=f"skip fewer than {count}")
    return range(skip, count) if seed is None else np.random.default_rng(seed).permutation(count)[skip:]


def _natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def grouped(items: Sequence[T] | NDArray[Any], size: int, *, whole: bool) -> Iterator[Any]:
    """Consecutive groups of ``size``; with ``whole`` a smaller last one is left out."""
    for start in range(0, len(items), size):
        if not whole or start + size <= len(items):
            yield items[start : start + size]


def batch_size(asked: int | None, default: int, tensor: TensorSpec | None, count: int, place: str) -> tuple[int, bool]:
    """Rows a feed, and whether the model takes that number and no other: then a smaller last feed is left out.

    Raises:
        FeedError: Not a number from 1, not the model's, or more than there are.
    """
    fixed = tensor.shape[0] if tensor is not None and tensor.shape else None
    if asked is not None and (not _natural(asked) or asked < 1):
        raise FeedError(f"batch is {asked!r}", place=place, hint="give a whole number from 1")
    if isinstance(fixed, int):
        if asked not in (None, fixed):
            raise FeedError(f"batch is {asked}, the model takes {fixed}", place=place, hint="leave batch out")
        if count < fixed:
            raise FeedError(
                f"the model takes {fixed} rows at a time, and there are {count}", place=place, hint="add some"
            )
        return fixed, True
    return asked or default, False


def rooted(reference: str | Path, spec_folder: Path, noun: str) -> Path:
    """The file or folder that a reader's argument names.

    Raises:
        FeedError: There is none.
    """
    path = spec_folder / Path(reference).expanduser()
    if not path.exists():
        raise FeedError(f"there is no {noun} {str(reference)!r}", place=str(path), hint=_nearby(path, spec_folder))
    return path


def _nearby(path: Path, spec_folder: Path) -> str:
    there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    near = nearest_hint(path.name, there) if there else ""
    return near if near.startswith("did you mean") else f"paths are relative to {spec_folder.resolve()}"


def chosen_input(
    name: str | None, model_inputs: Sequence[TensorSpec], fits: Callable[[TensorSpec], bool], *, noun: str, place: str
) -> tuple[str, TensorSpec | None]:
    """The model's input that a reader fills: the one named, or the only one that fits.

    Args:
        name: As the spec's args say; None to find it.
        model_inputs: The model's inputs; empty when the reader is called by hand.
        fits: Whether the reader could fill an input.
        noun: What the reader fills it with, for errors.
        place: How to name the reader in an error.

    Returns:
        Its name, and its specification where the model is known.

    Raises:
        FeedError: The model has no such input, or none or several fit.
    """
    known = {t.name: t for t in model_inputs}
    if name is not None:
        if known and name not in known:
            raise FeedError(f"the model has no input {name!r}", place=place, hint=nearest_hint(name, known))
        return name, known.get(name)
    found = [t for t in model_inputs if fits(t)]
    if len(found) != 1:
        listed = ", ".join(f"{t.name} {list(t.shape)}" for t in model_inputs) or "not known"
        raise FeedError(
            f"{'no' if not found else 'more than one'} input of the model takes {noun}; its inputs: {listed}",
            place=place,
            hint="args: {name: ...} names the input",
        )
    return found[0].name, found[0]
