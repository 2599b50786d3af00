"""English sentences of many kinds for text models: 320 to calibrate on, 160 others to check with.

The sentences were written for trtbuild and are under its licence. The reader needs the model's ``tokenizer.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HERE = Path(__file__).resolve().parent


def batches(
    tokenizer: str, ids: str = "ids", mask: str = "mask", batch: int = 16, longest: int = 128
) -> Iterator[dict[str, NDArray[Any]]]:
    """Calibration feeds of token ids and attention masks.

    Args:
        tokenizer: A ``tokenizer.json``, or ``package:path/inside/it``.
        ids: The model's input for token ids, int64 ``[batch, seq]``.
        mask: The model's input for the mask, int64 ``[batch, seq]``; 0 where a sentence is padded.
        batch: Sentences a feed.
        longest: Tokens after which a sentence is cut.
    """
    yield from _feeds("sentences.txt", tokenizer, ids, mask, batch, longest)


def held_out(
    tokenizer: str, ids: str = "ids", mask: str = "mask", batch: int = 16, longest: int = 128
) -> Iterator[dict[str, NDArray[Any]]]:
    """The same from other sentences, to check with."""
    yield from _feeds("sentences_check.txt", tokenizer, ids, mask, batch, longest)


def _feeds(
    file: str, tokenizer: str, ids: str, mask: str, batch: int, longest: int
) -> Iterator[dict[str, NDArray[Any]]]:
    import numpy as np
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(_tokenizer_file(tokenizer)))
    encoder.enable_padding()
    encoder.enable_truncation(longest)
    sentences = (_HERE / file).read_text(encoding="utf-8").splitlines()
    for start in range(0, len(sentences), batch):
        encoded = encoder.encode_batch(sentences[start : start + batch])
        yield {
            ids: np.array([e.ids for e in encoded], np.int64),
            mask: np.array([e.attention_mask for e in encoded], np.int64),
        }


def _tokenizer_file(reference: str) -> Path:
    """``package:path`` is a file inside an installed package; anything else is a path."""
    package, colon, inside = reference.partition(":")
    if colon and package.isidentifier():
        from importlib.resources import files

        return Path(str(files(package) / inside))
    return Path(reference)
