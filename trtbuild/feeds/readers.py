"""The user's reader: finding it, holding its arguments against what it takes, and reading what it yields.

A reader may ask for two things by naming them as parameters; the spec's ``args`` go first:

- ``model_inputs``: the model's inputs, a tuple of ``TensorSpec``;
- ``spec_folder``: the folder that relative paths start from, a ``Path``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError
from trtbuild.registry import nearest_hint
from trtbuild.sources import load_object, user_code

RANDOM = "random"
"""The word that asks for random numbers instead of a reader."""

GIVEN = ("model_inputs", "spec_folder")
"""Parameters that a reader is given when it names them."""


def hold_reader(reference: str, folder: Path, args: Mapping[str, Any]) -> Any:
    """Finds a reader and checks that it can be read with those arguments; reads nothing.

    Args:
        reference: ``file.py:function``, ``package.module:function``, or the same with an object that holds feeds.
        folder: Where relative paths start.
        args: Keyword arguments for the function.

    Returns:
        The function or the object; None for ``random``.

    Raises:
        UsageError: There is no such file, module or name.
        FeedError: It is neither a function nor something that can be read again and again; an argument it does not
            take, or one that is missing.
    """
    if reference == RANDOM:
        if args:
            raise FeedError("random samples take no arguments", place=reference, hint="leave args out")
        return None
    found = load_object(reference, folder)
    if callable(found):
        _hold_arguments(found, reference, args)
        return found
    if not hasattr(found, "__iter__") and not hasattr(found, "__getitem__"):
        raise FeedError(
            f"an object of type {type(found).__name__} is no reader",
            place=reference,
            hint="name a function that yields feeds, or an object that holds them, such as a list or a DataLoader",
        )
    if hasattr(found, "__next__"):
        raise FeedError(
            f"an object of type {type(found).__name__} can be read only once, and samples are read more than once",
            place=reference,
            hint="name a function that makes it",
        )
    if args:
        raise FeedError(
            f"the reader is an object of type {type(found).__name__}, which takes no arguments",
            place=reference,
            hint="leave args out, or name a function",
        )
    return found


def read(
    reference: str, folder: Path, args: Mapping[str, Any], inputs: Sequence[TensorSpec]
) -> Iterator[tuple[Any, Any]]:
    """What a reader yields, as pairs of a feed and labels or None; nothing about the feed is checked yet.

    Raises:
        FeedError: The user's code raises; it names their file and line.
    """
    found = hold_reader(reference, folder, args)
    with user_code(reference, FeedError):
        source = found(**_arguments(found, args, inputs, folder)) if callable(found) else found
        iterator = iter(source)
    while True:
        with user_code(reference, FeedError):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield as_pair(item, inputs)


def as_pair(item: Any, inputs: Sequence[TensorSpec]) -> tuple[Any, Any]:
    """One item of a reader as a feed and labels or None.

    The forms: a feed; (feed, labels); a feed whose key ``labels`` is no input of the model, as Hugging Face's collators
    make it; and, for a model of one input, what a DataLoader of images yields: an array, (array,) or (array, labels).
    Arrays without names are not taken for several inputs: a wrong order would go unnoticed.
    """
    if isinstance(item, Mapping):
        if "labels" in item and all(t.name != "labels" for t in inputs):
            return {k: v for k, v in item.items() if k != "labels"}, item["labels"]
        return item, None
    parts = item if isinstance(item, (tuple, list)) and len(item) in (1, 2) else (item,)
    labels = parts[1] if len(parts) == 2 else None
    if isinstance(parts[0], Mapping) and len(parts) == 2:
        return parts[0], labels
    if len(inputs) == 1 and hasattr(parts[0], "__array__"):
        return {inputs[0].name: parts[0]}, labels
    return item, None


def _arguments(function: Any, args: Mapping[str, Any], inputs: Sequence[TensorSpec], folder: Path) -> dict[str, Any]:
    parameters = _parameters(function) or {}
    given = {"model_inputs": tuple(inputs), "spec_folder": folder}
    return {**{name: given[name] for name in GIVEN if name in parameters}, **args}


def _hold_arguments(function: Any, reference: str, args: Mapping[str, Any]) -> None:
    parameters = _parameters(function)
    if parameters is None:
        return
    kinds = inspect.Parameter
    named = {n: p for n, p in parameters.items() if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    known = [n for n in named if n not in GIVEN]
    for name in args:
        if name not in named and all(p.kind is not kinds.VAR_KEYWORD for p in parameters.values()):
            raise FeedError(
                f"the reader takes no argument {name!r}",
                place=reference,
                hint=nearest_hint(name, known) if known else "leave args out",
            )
    for name in known:
        if named[name].default is kinds.empty and name not in args:
            raise FeedError(
                f"the reader's argument {name!r} is missing", place=reference, hint=f"args: {{{name}: ...}}"
            )


def _parameters(function: Any) -> Mapping[str, inspect.Parameter] | None:
    """A function's parameters; None for one that does not say, such as a built-in."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
