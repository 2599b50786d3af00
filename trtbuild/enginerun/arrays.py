"""Arrays of every type an engine reads or writes: NumPy's own, and those that only ml_dtypes has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.errors import FeedError, IntegrityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "FP8": "float8_e4m3fn", "INT8": "int8", "UINT8": "uint8",
    "INT32": "int32", "INT64": "int64", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's name of an element type to NumPy's or ml_dtypes'. INT4, FP4 and E8M0 have no whole byte an element or are
never an engine's input or output."""

_BITS = {"bfloat16": "uint16", "float8_e4m3fn": "uint8"}  # how a file holds what NumPy cannot name
_TYPES = "__dtypes__"


def dtype_of(name: str, tensor: str) -> Any:
    """The NumPy dtype of a TensorRT element type.

    Args:
        name: TensorRT's name, for example ``HALF``.
        tensor: The input or output that has it, for the error.

    Raises:
        IntegrityError: There is no array of such elements.
    """
    if name not in _NAMES:
        raise IntegrityError(
            f"{tensor!r} is of type {name}, which no array here can hold",
            place="engine",
            hint=f"an input or output may be {', '.join(_NAMES)}; build it with io: keep",
        )
    return numpy_dtype(_NAMES[name])


def numpy_dtype(name: str) -> Any:
    """The dtype of that name, from NumPy or from ml_dtypes."""
    import numpy as np

    if name in _BITS:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def as_type(array: NDArray[Any], dtype: Any, tensor: str) -> NDArray[Any]:
    """An array in the type an engine's input has, contiguous.

    A float becomes another float by rounding, as a Cast node would; an integer becomes another integer when every value
    fits.

    Raises:
        FeedError: It is of another kind, or a value does not fit.
    """
    import numpy as np

    value = np.ascontiguousarray(array).reshape(np.shape(array))  # ascontiguousarray makes a scalar one-dimensional
    if value.dtype == dtype:
        return value
    if _is_float(value.dtype) and _is_float(dtype):
        return value.astype(dtype)
    if value.dtype.kind in "iub" and dtype.kind in "iu":
        cast = value.astype(dtype)
        if (cast.astype(object) == value.astype(object)).all():
            return cast
        raise FeedError(
            f"a value does not fit {dtype.name}", place=f"input {tensor}", hint="the engine reads that type"
        )
    raise FeedError(f"it is {value.dtype.name}, the engine reads {dtype.name}", place=f"input {tensor}")


def _is_float(dtype: Any) -> bool:
    return dtype.kind == "f" or dtype.name in _BITS


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name, also of types that NumPy's format does not know."""
    import numpy as np

    held = {f"a{n}": a.view(_BITS[a.dtype.name]) if a.dtype.name in _BITS else a for n, a in enumerate(arrays.values())}
    names = json.dumps([[name, a.dtype.name] for name, a in arrays.items()])
    np.savez(path, **{_TYPES: np.array(names)}, **held)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what ``save_arrays`` wrote, types and order included."""
    import numpy as np

    with np.load(path, allow_pickle=False) as held:
        names = json.loads(str(held[_TYPES]))
        return {
            name: held[f"a{n}"].view(numpy_dtype(kind)) if kind in _BITS else held[f"a{n}"]
            for n, (name, kind) in enumerate(names)
        }
