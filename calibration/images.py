"""A folder of images: oriented, scaled, cut and normalised, in the layout of the model's input.

Needs Pillow (the extra ``readers``). The choice of images and their order follow a seed; names are listed, and only the
images that are used are opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError, missing_package
from trtbuild.feeds.choosing import batch_size, chosen_input, rooted, seeded_order
from trtbuild.feeds.image import Preparation, hold_word, preparation
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")


def batches(
    folder: str,
    *,
    name: str | None = None,
    size: int | Sequence[int] | None = None,
    fit: Literal["crop", "stretch", "pad"] = "crop",
    resize: int | None = None,
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear",  # noqa: A002 - the field's word
    pad_value: int = 0,
    mode: Literal["RGB", "BGR", "L", "RGBA"] | None = None,
    background: int | Sequence[int] | None = None,
    range: Sequence[float] | None = None,  # noqa: A002 - the spec's word
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
    labels: Literal["folders"] | None = None,
    classes: Sequence[str] | None = None,
    batch: int | None = None,
    seed: int | None = 0,
    skip: int = 0,
    broken: Literal["error", "skip"] = "error",
    model_inputs: Sequence[TensorSpec] = (),
    spec_folder: Path = Path(),
) -> Iterator[Any]:
    """Feeds of images; with ``labels: folders``, pairs of a feed and class numbers.

    Args:
        folder: Where the images lie, at any depth.
        name: The model's input; its only one of four axes when left out.
        size: Height and width the model gets, px, or one number for both; the model's own when it is fixed.
        fit: How an image gets that size: ``crop`` scales it until it covers the size and takes the centre, ``stretch``
            scales each side by itself, ``pad`` scales it to fit inside and fills the rest.
        resize: For ``crop``: length of the shorter side before the centre is taken, px; just what covers when left out.
        filter: How it is scaled; all but nearest average when they make an image smaller.
        pad_value: What ``pad`` fills with, 0 to 255.
        mode: What the channels are; RGB for three channels, L (grey) for one and RGBA for four when left out.
        background: Colour behind transparent pixels, 0 to 255, one number or three; without it they are an error.
        range: What black and white become; [0, 1] when left out. An integer input gets 0 to 255 as they are.
        mean: Subtracted after that, one number or one a channel in the order of ``mode``.
        std: Divided by after that, likewise.
        layout: Where the channels are; read from the model's input when left out.
        labels: ``folders``: the class of an image is the folder directly below ``folder`` that it lies in.
        classes: Those folders in the order of the model's classes; alphabetical when left out.
        batch: Images a feed; 8 when left out, 1 where images keep their sizes.
        seed: Of the order in which images are taken; null takes them by name.
        skip: Images to leave out at the beginning of that order, for example those another reader takes.
        broken: What becomes of a file that cannot be read as an image: an error, or left out and counted.
        model_inputs: The model's inputs; trtbuild gives them.
        spec_folder: Where ``folder`` starts; trtbuild gives it.

    Raises:
        FeedError: An argument that does not fit the model, no image, or one that cannot be used.
        MissingDependencyError: Pillow is not installed.
    """
    root = rooted(folder, spec_folder, "folder")
    name, tensor = chosen_input(name, model_inputs, lambda t: len(t.shape) == 4, noun="images", place=str(root))
    hold_word("broken", broken, ("error", "skip"))
    prepare = preparation(
        tensor, size=size, fit=fit, resize=resize, filter_name=filter, pad_value=pad_value, mode=mode,
        background=background, bounds=range, mean=mean, std=std, layout=layout,
    )  # fmt: skip
    files = _images(root)
    number_of = _classes(root, files, labels, classes)
    order = [files[i] for i in seeded_order(len(files), seed, skip, str(root))]
    rows, whole = batch_size(batch, 8 if prepare.size else 1, tensor, len(order), str(root))
    if rows > 1 and prepare.size is None:
        raise FeedError(
            "images of different sizes do not fit into one batch",
            place=str(root),
            hint="give size: [height, width], or batch: 1",
        )
    yield from _feeds(_readable(order, prepare, broken), name, rows, whole, number_of)


class BrokenImageError(FeedError):
    """A file that has an image's name and cannot be read as one."""


def _images(root: Path) -> list[Path]:
    """Every image below a folder, by its path; hidden files and folders are left out."""
    if not root.is_dir():
        raise FeedError("a file, not a folder", place=str(root), hint="name the folder that the images lie in")
    found = []
    others: dict[str, int] = {}
    for place, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            extension = Path(file).suffix.lower()
            if file.startswith("."):
                continue
            if extension in EXTENSIONS:
                found.append(Path(place, file))
            else:
                others[extension] = others.get(extension, 0) + 1
    if not found:
        there = ", ".join(f"{n} {e or 'without extension'}" for e, n in sorted(others.items())[:6]) or "nothing"
        raise FeedError(f"no image; there is {there}", place=str(root), hint=f"images end in {', '.join(EXTENSIONS)}")
    return sorted(found, key=lambda f: f.relative_to(root).as_posix())


def _classes(
    root: Path, files: Sequence[Path], labels: str | None, classes: Sequence[str] | None
) -> dict[Path, int] | None:
    """Class number of every image; None where no labels are asked for."""
    if labels is None:
        return None
    hold_word("labels", labels, ("folders",))
    folders = {f: f.relative_to(root).parts[:-1] for f in files}
    loose = next((f for f, parts in folders.items() if not parts), None)
    if loose is not None:
        raise FeedError("the image lies in no class folder", place=str(loose), hint="one folder a class, images inside")
    names = list(classes) if classes is not None else sorted({parts[0] for parts in folders.values()})
    for file, parts in folders.items():
        if parts[0] not in names:
            raise FeedError(f"{parts[0]!r} is no class", place=str(file), hint=nearest_hint(parts[0], names))
    return {f: names.index(parts[0]) for f, parts in folders.items()}


def _feeds(
    images: Iterator[tuple[Path, NDArray[Any]]], name: str, rows: int, whole: bool, number_of: dict[Path, int] | None
) -> Iterator[Any]:
    import numpy as np

    while group := list(islice(images, rows)):
        if whole and len(group) < rows:
            return
        feed = {name: np.stack([image for _, image in group])}
        yield feed if number_of is None else (feed, np.array([number_of[file] for file, _ in group]))


def _readable(files: Sequence[Path], prepare: Preparation, broken: str) -> Iterator[tuple[Path, NDArray[Any]]]:
    """The prepared images in order; counts what is left out and says so at the end."""
    used = skipped = 0
    first: str | None = None
    try:
        for file in files:
            try:
                image = _prepared(prepare, file)
            except BrokenImageError as error:
                if broken == "error":
                    raise
                skipped, first = skipped + 1, first or error.place
                continue
            used += 1
            yield file, image
    finally:
        if skipped:
            logging.getLogger("trtbuild").warning(
                "%d of %d images cannot be read and are left out, the first: %s",
                skipped, skipped + used, first,
            )  # fmt: skip
    if not used:
        raise FeedError(f"none of {len(files)} images can be read", place=str(files[0]), hint="look at the files")


def _prepared(prepare: Preparation, file: Path) -> NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_package("pillow", "readers", needed_for="reading images") from error
    try:
        return prepare(file)
    except FeedError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, Image.DecompressionBombError) as error:
        raise BrokenImageError(  # Pillow raises all of these on files that are cut off or damaged
            f"cannot be read as an image: {error}",
            place=str(file),
            hint="replace or remove it; args: {broken: skip} leaves such files out and counts them",
        ) from error
