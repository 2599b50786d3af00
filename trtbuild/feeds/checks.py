"""Holds what a reader yields against the model's inputs: names, ranks, sizes, dtypes, finite values, profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.errors import FeedError
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtbuild.feeds.samples import Sample

    Array = NDArray[Any]


def check_feed(feed: object, inputs: Sequence[TensorSpec], place: str) -> dict[str, Array]:
    """Holds one feed against the model's inputs and brings it to their dtypes.

    Args:
        feed: What the reader yielded.
        inputs: The model's inputs.
        place: How to name the sample in an error.

    Returns:
        Input name to array, in the inputs' order.

    Raises:
        FeedError: Not a dict, a wrong or missing name, rank, size or dtype, NaN or Inf.
    """
    import numpy as np

    if not isinstance(feed, Mapping):
        raise FeedError(
            f"a reader yields dicts from input name to array, not {type(feed).__name__}",
            place=place,
            hint="yield {" + ", ".join(f"{t.name!r}: ..." for t in inputs) + "}",
        )
    known = [t.name for t in inputs]
    for name in feed:
        if name not in known:
            raise FeedError(f"the model has no input {name!r}", place=place, hint=nearest_hint(str(name), known))
    axes: dict[str, tuple[int, str]] = {}
    checked = {}
    for tensor in inputs:
        if tensor.name not in feed:
            raise FeedError(f"input {tensor.name!r} is missing", place=place, hint=f"yield {known} in each dict")
        array = _as_dtype(_as_array(feed[tensor.name], tensor, place), tensor, place)
        _check_shape(array, tensor, axes, place)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FeedError(
                f"input {tensor.name!r} holds NaN or Inf", place=place, hint="mend the reader: no range can hold it"
            )
        checked[tensor.name] = np.asarray(array, order="C")  # ascontiguousarray would give a scalar an axis
    return checked


def to_array(value: Any) -> Array:
    """Anything NumPy reads, and torch tensors that have gradients or lie on a GPU."""
    import numpy as np

    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
    return np.asarray(value)


def _as_array(value: Any, tensor: TensorSpec, place: str) -> Array:
    try:
        return to_array(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; types that NumPy has not, such as bfloat16
        raise FeedError(
            f"input {tensor.name!r} is no array: {error}",
            place=place,
            hint="yield arrays, each row of one length; a bfloat16 tensor as float32: tensor.float()",
        ) from error


def _as_dtype(array: Array, tensor: TensorSpec, place: str) -> Array:
    import numpy as np

    wanted = np.dtype(tensor.dtype)
    same_kind = array.dtype.kind == wanted.kind or (array.dtype.kind in "iu" and wanted.kind in "iu")
    if not same_kind:
        raise FeedError(
            f"input {tensor.name!r} wants {wanted}, the sample has {array.dtype}",
            place=place,
            hint=f"convert it in the reader: array.astype({wanted.name!r})",
        )
    with np.errstate(over="ignore"):  # becomes Inf, which is refused next
        cast = array.astype(wanted, copy=False)
    if wanted.kind in "iu" and not (cast == array).all():
        raise FeedError(
            f"input {tensor.name!r} wants {wanted}, which cannot hold the sample's {array.min()} to {array.max()}",
            place=place,
            hint="mend the reader: the values would wrap around",
        )
    return cast


def _check_shape(array: Array, tensor: TensorSpec, axes: dict[str, tuple[int, str]], place: str) -> None:
    if array.ndim != len(tensor.shape):
        raise FeedError(
            f"input {tensor.name!r} has {len(tensor.shape)} axes {list(tensor.shape)}, the sample {list(array.shape)}",
            place=place,
            hint="keep the batch axis, also for a single sample",
        )
    if array.shape[:1] == (0,):
        raise FeedError(f"input {tensor.name!r} has no rows", place=place, hint="leave such a batch out in the reader")
    for size, axis in zip(array.shape, tensor.shape, strict=True):
        wanted, by = (axis, tensor.name) if isinstance(axis, int) else axes.setdefault(axis, (size, tensor.name))
        if size != wanted:
            raise FeedError(
                f"input {tensor.name!r} is {list(array.shape)}, but {axis!r} is {wanted} (from {by!r})",
                place=place,
                hint=f"the model takes {list(tensor.shape)}",
            )


def check_labels(labels: Any, rows: int, place: str) -> Array | None:
    """Labels as an array, one a row; None where there are none.

    Raises:
        FeedError: Not as many labels as rows.
    """
    if labels is None:
        return None
    array = to_array(labels)
    if array.ndim == 0 or len(array) != rows:
        raise FeedError(f"{rows} rows, but labels of shape {list(array.shape)}", place=place, hint="one label a row")
    return array


def batch_axis(inputs: Sequence[TensorSpec]) -> str | None:
    """The dynamic axis by which a feed can be cut into rows: axis 0 of the first input, and axis 0 wherever it stands.

    None where the first input has none: then a sample is whole or not there.
    """
    axis = inputs[0].shape[0] if inputs and inputs[0].shape else None
    if not isinstance(axis, str) or any(axis in tensor.shape[1:] for tensor in inputs):
        return None
    return axis


def check_within_profiles(
    sample: Sample, inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile]
) -> str | None:
    """None when some profile takes the sample; else which axis does not fit, in words."""
    sizes = {
        d: n for t in inputs for d, n in zip(t.shape, sample.feed[t.name].shape, strict=True) if isinstance(d, str)
    }
    complaint = None
    for profile in profiles:
        outside = [
            a for a, n in sizes.items() if a in profile.axes and not profile.axes[a].min <= n <= profile.axes[a].max
        ]
        if not outside:
            return None
        axis = outside[0]
        bounds = profile.axes[axis]
        complaint = f"axis {axis!r} is {sizes[axis]}, the profile takes {bounds.min} to {bounds.max}"
    return complaint
