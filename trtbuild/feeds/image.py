"""What becomes of one image on its way into a model: orientation, colours, size, normalisation, layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS = {"L": 1, "RGB": 3, "BGR": 3, "RGBA": 4}
FITS = ("crop", "stretch", "pad")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Preparation:
    """What is done to each image.

    Attributes:
        size: Height and width of the result, px; None to keep the image's.
        fit: ``crop``, ``stretch`` or ``pad``.
        resize: Shorter side before a centre crop, px.
        filter: Name of the resampling filter.
        pad: Fill of ``pad``, 0 to 255.
        mode: ``RGB``, ``BGR``, ``L`` or ``RGBA``.
        background: Colour behind transparent pixels.
        low: What 0 becomes.
        high: What 255 becomes.
        mean: One a channel, or one.
        std: One a channel, or one.
        layout: ``NCHW`` or ``NHWC``.
        dtype: Of the result, NumPy's name.
    """

    size: tuple[int, int] | None
    fit: str
    resize: int | None
    filter: str
    pad: int
    mode: str
    background: tuple[int, ...] | None
    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    dtype: str

    def __call__(self, file: Path) -> NDArray[Any]:
        """One image, ``[C, H, W]`` or ``[H, W, C]``.

        Raises:
            FeedError: Its pixels are not of eight bits, or transparent.
            Exception: Whatever Pillow raises on a broken file.
        """
        import numpy as np
        from PIL import Image, ImageOps

        with Image.open(file) as opened:
            if opened.mode.startswith(("I", "F")):
                raise FeedError(
                    f"the image has pixels of 16 or 32 bits (Pillow's mode {opened.mode})",
                    place=str(file),
                    hint="convert it to 8 bits as the model's own preprocessing does, or write a reader for it",
                )
            image = self._scaled(self._opaque(ImageOps.exif_transpose(opened), file))
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        pixels = pixels[:, :, ::-1] if self.mode == "BGR" else pixels
        if self.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(self._normalised(pixels), self.dtype)

    def _opaque(self, image: Any, file: Path) -> Any:
        from PIL import Image

        wanted = {"BGR": "RGB"}.get(self.mode, self.mode)
        if wanted == "RGBA" or not ({"A", "a"} & set(image.getbands()) or "transparency" in image.info):
            return image.convert(wanted)
        image = image.convert("RGBA")
        if self.background is not None:
            image = Image.alpha_composite(Image.new("RGBA", image.size, (*self.background, 255)), image)
        elif image.getchannel("A").getextrema()[0] < 255:
            raise FeedError(
                "the image has transparent pixels, and what is behind them is not known",
                place=str(file),
                hint="background: 255 puts it on white, background: 0 on black",
            )
        return image.convert(wanted)

    def _scaled(self, image: Any) -> Any:
        from PIL import Image, ImageOps

        if self.size is None:
            return image
        height, width = self.size
        method = getattr(Image.Resampling, self.filter.upper())
        if self.fit == "stretch":
            return image.resize((width, height), method)
        if self.fit == "pad":
            return ImageOps.pad(image, (width, height), method, color=(self.pad,) * len(image.getbands()))
        if self.resize is None:
            return ImageOps.fit(image, (width, height), method)
        short = min(image.size)  # rounded as torchvision's Resize and CenterCrop do, for models trained with those
        image = image.resize(tuple(self.resize * side // short for side in image.size), method)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))

    def _normalised(self, pixels: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        if not self.dtype.startswith("float"):
            return pixels
        shape = (-1, 1, 1) if self.layout == "NCHW" else (1, 1, -1)
        mean, std = (np.array(v, np.float32).reshape(shape) for v in (self.mean, self.std))
        values = pixels.astype(np.float32) / np.float32(255) * np.float32(self.high - self.low) + np.float32(self.low)
        return (values - mean) / std  # type: ignore[no-any-return]


def preparation(
    tensor: TensorSpec | None,
    *,
    size: int | Sequence[int] | None = None,
    fit: str = "crop",
    resize: int | None = None,
    filter_name: str = "bilinear",
    pad_value: int = 0,
    mode: str | None = None,
    background: int | Sequence[int] | None = None,
    bounds: Sequence[float] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    layout: str | None = None,
) -> Preparation:
    """Works out the preparation from what the user says and what the model's input settles.

    ``calibration/images.py`` explains each argument.

    Raises:
        FeedError: An argument that is not possible, or not with this model.
    """
    hold_word("fit", fit, FITS)
    hold_word("filter", filter_name, FILTERS)
    layout, channels, own = _of_the_model(tensor, layout)
    mode = mode or {1: "L", 4: "RGBA"}.get(channels or 3, "RGB")
    hold_word("mode", mode, tuple(CHANNELS))
    if channels not in (None, CHANNELS[mode]):
        fitting = ", ".join(m for m, n in CHANNELS.items() if n == channels)
        raise FeedError(
            f"mode {mode} has {CHANNELS[mode]} channels, the model's input {channels}",
            place="mode",
            hint=f"known: {fitting}" if fitting else "write a reader for it",
        )
    size = _size(size, own)
    if resize is not None and (fit != "crop" or size is None or _numbers("resize", resize, (1,))[0] < max(size)):
        raise FeedError(
            f"resize {resize} does not go with fit {fit} and size {size}",
            place="resize",
            hint="it is the shorter side before the centre of size is taken, and not smaller than that",
        )
    dtype = tensor.dtype if tensor is not None else "float32"
    _hold_dtype(dtype, normalised=any(v is not None for v in (bounds, mean, std)))
    low, high = _numbers("range", bounds if bounds is not None else (0, 1), (2,))
    count = CHANNELS[mode]
    divisors = _numbers("std", 1 if std is None else std, (1, count))
    if not all(divisors):
        raise FeedError("std is 0", place="std", hint="values are divided by it")
    return Preparation(
        size, fit, resize, filter_name, _colour("pad_value", pad_value, (1,))[0], mode,
        None if background is None else _colour("background", background, (1, 3)),
        low, high, _numbers("mean", 0 if mean is None else mean, (1, count)), divisors, layout, dtype,
    )  # fmt: skip


def _hold_dtype(dtype: str, *, normalised: bool) -> None:
    if dtype.startswith("float"):
        return
    if normalised or dtype in ("int8", "bool"):
        raise FeedError(
            f"the model's input is {dtype}: it would get the pixels as they are, 0 to 255",
            place="images",
            hint="write a reader for it" if dtype in ("int8", "bool") else "leave range, mean and std out",
        )


def _colour(word: str, value: int | Sequence[int], counts: tuple[int, ...]) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255; one number stands for all three."""
    found = _numbers(word, value, counts)
    if any(v != int(v) or not 0 <= v <= 255 for v in found):
        raise FeedError(f"{word} is {value!r}", place=word, hint="give whole numbers from 0 to 255")
    return tuple(int(v) for v in found) * (3 // len(found))


def _of_the_model(tensor: TensorSpec | None, layout: str | None) -> tuple[str, int | None, tuple[Any, Any]]:
    """Layout, channels and (height, width) of the model's input; what it leaves open is None or a name."""
    if layout is not None:
        hold_word("layout", layout, ("NCHW", "NHWC"))
    if tensor is None:
        return layout or "NCHW", None, (None, None)
    if len(tensor.shape) != 4:
        raise FeedError(
            f"input {tensor.name!r} is {list(tensor.shape)}, and images need four axes",
            place="name",
            hint="name another input, or write a reader for it",
        )
    _, one, two, three = tensor.shape
    if layout is None:
        counts = (1, 3) if {one, three} & {1, 3} else (4,)  # four channels are rare, a height of four too
        first, last = one in counts, three in counts
        if first == last:
            raise FeedError(
                f"input {tensor.name!r} is {list(tensor.shape)}: which axis has the channels is not clear",
                place="layout",
                hint="args: {layout: NCHW} or {layout: NHWC}",
            )
        layout = "NCHW" if first else "NHWC"
    channels, own = (one, (two, three)) if layout == "NCHW" else (three, (one, two))
    return layout, channels if isinstance(channels, int) else None, own


def _size(asked: int | Sequence[int] | None, own: tuple[Any, Any]) -> tuple[int, int] | None:
    """Height and width; None where neither the spec nor the model settles them."""
    fixed = tuple(s if isinstance(s, int) else None for s in own)
    if asked is None:
        if (fixed[0] is None) != (fixed[1] is None):
            raise FeedError(f"the model takes images of {list(own)}", place="size", hint="give size: [height, width]")
        return None if fixed[0] is None else (int(own[0]), int(own[1]))
    numbers = [int(v) for v in _numbers("size", asked, (1, 2))]
    height, width = numbers * 2 if len(numbers) == 1 else numbers
    if min(height, width) < 1 or any(f not in (None, s) for f, s in zip(fixed, (height, width), strict=True)):
        raise FeedError(f"size is {[height, width]}, the model takes {list(own)}", place="size", hint="leave size out")
    return height, width


def _numbers(word: str, value: Any, counts: tuple[int, ...]) -> tuple[float, ...]:
    found = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    right = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found)
    if not right or len(found) not in counts:
        wanted = " or ".join(dict.fromkeys(str(c) for c in counts))
        raise FeedError(f"{word} is {value!r}", place=word, hint=f"give {wanted} numbers, as in [0.5, 0.5, 0.5]")
    return found


def hold_word(word: str, given: object, known: Sequence[str]) -> None:
    """Refuses a word that is not among the known ones."""
    if given not in known:
        raise FeedError(f"{word} is {given!r}", place=word, hint=nearest_hint(str(given), known))
