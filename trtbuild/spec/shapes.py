"""Shapes on the command line, in the three syntaxes people know.

trtexec writes ``x:1x3x224x224`` (several joined by commas), Polygraphy ``x:[1,3,224,224]``, onnxslim
``x:1,3,224,224``. All three are read wherever a shape is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trtbuild.errors import UsageError

_DIMS = r"\[[^\]]*\]|[0-9]+(?:x[0-9]+)+|[0-9]+(?:,[0-9]+)*(?=$|,)"
_ONE = re.compile(rf"(?P<name>.+?):(?P<dims>{_DIMS})(?:,|$)")


def parse_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Reads ``name:dims``, or several of them.

    Args:
        text: For example ``x:1x3x224x224``, ``ids:[1,128] mask:[1,128]`` or ``x:1,3,224,224``.

    Returns:
        Input name to shape. A name may hold colons: the dims follow the last one that fits.

    Raises:
        UsageError: Not one of the three syntaxes, a size below 1, or a name given twice.

    Example:
        >>> parse_shapes("ids:1x128,mask:1x128")
        {'ids': (1, 128), 'mask': (1, 128)}
        >>> parse_shapes("x:[1,3,224,224]") == parse_shapes("x:1,3,224,224") == parse_shapes("x:1x3x224x224")
        True
    """
    found: dict[str, tuple[int, ...]] = {}
    for word in text.split():
        rest = word
        while rest:
            match = _ONE.match(rest)
            if not match:
                raise UsageError(
                    f"{rest!r} is not a shape", place=text, hint="write x:1x3x224x224, x:[1,3,224,224] or x:1,3,224,224"
                )
            name, dims = match["name"].strip(), match["dims"].strip("[]")
            sizes = tuple(_size(d, text) for d in re.split("[x,]", dims) if d.strip())
            if name in found:
                raise UsageError(f"{name!r} is given twice", place=text, hint="give each input one shape")
            found[name] = sizes
            rest = rest[match.end() :]
    if not found:
        raise UsageError("no shape given", place=text or "shapes", hint="write x:1x3x224x224")
    return found


def _size(text: str, place: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text.strip()) or int(text) < 1:  # isdigit() takes ², which int() does not
        raise UsageError(
            f"{text.strip()!r} is not a size", place=place, hint="sizes are whole numbers from 1; profiles give ranges"
        )
    return int(text)


def parse_axes(words: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Reads ``batch=1:8:32`` (min, opt, max) or ``batch=8``.

    Example:
        >>> parse_axes(["batch=1:8:32", "seq=128"])
        {'batch': (1, 8, 32), 'seq': (128, 128, 128)}
    """
    found: dict[str, tuple[int, int, int]] = {}
    for word in words:
        name, _, sizes = word.partition("=")
        parts = [_size(s, word) for s in sizes.split(":")] if sizes else []
        if not name or len(parts) not in (1, 3):
            raise UsageError(f"{word!r} is not an axis range", place="--axis", hint="write batch=1:8:32 or batch=8")
        low, opt, high = parts if len(parts) == 3 else (parts[0],) * 3
        if not low <= opt <= high:
            raise UsageError(f"min <= opt <= max does not hold for {word!r}", place="--axis", hint="order the sizes")
        if name in found:
            raise UsageError(f"{name!r} is given twice", place="--axis", hint="give each axis one range")
        found[name] = (low, opt, high)
    return found
