"""English sentences of many kinds for text models: 320 to calibrate on, 160 others to check with.

The sentences were written for trtbuild and are under its licence. ``text.py`` reads them, with the model's own
``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.sources import load_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HERE = Path(__file__).resolve().parent


def batches(
    tokenizer: str,
    ids: str = "ids",
    mask: str = "mask",
    batch: int = 16,
    longest: int = 128,
    spec_folder: Path = Path(),
) -> Iterator[dict[str, NDArray[Any]]]:
    """Calibration feeds of token ids and attention masks.

    Args:
        tokenizer: A ``tokenizer.json``, the folder it lies in, or ``package:path/inside/it``.
        ids: The model's input for token ids, int64 ``[batch, seq]``.
        mask: The model's input for the mask, int64 ``[batch, seq]``; 0 where a sentence is padded.
        batch: Sentences a feed.
        longest: Tokens after which a sentence is cut.
        spec_folder: Where the tokenizer's path starts; trtbuild gives it.
    """
    yield from _feeds("sentences.txt", tokenizer, ids, mask, batch, longest, spec_folder)


def held_out(
    tokenizer: str,
    ids: str = "ids",
    mask: str = "mask",
    batch: int = 16,
    longest: int = 128,
    spec_folder: Path = Path(),
) -> Iterator[dict[str, NDArray[Any]]]:
    """The same from other sentences, to check with."""
    yield from _feeds("sentences_check.txt", tokenizer, ids, mask, batch, longest, spec_folder)


def _feeds(
    file: str, tokenizer: str, ids: str, mask: str, batch: int, longest: int, spec_folder: Path
) -> Iterator[dict[str, NDArray[Any]]]:
    text = load_file(_HERE / "text.py")
    yield from text.batches(
        str(_HERE / file), tokenizer, ids=ids, mask=mask, batch=batch, length=longest, seed=None,
        spec_folder=spec_folder,
    )  # fmt: skip
