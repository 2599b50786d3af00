"""The corpus of the rewrite bench: each model of ``architectures.py`` as ONNX, with feeds and what torch answers.

    python bench/models.py [--models DIR] [--only NAME,...]

Writes ``<name>.<export>.onnx`` and, with two real feeds of different sizes and torch's outputs, ``<name>.<export>.npz``
(keys ``<number>/in/<input>`` and ``<number>/out/<output>``). ``<name>.<export>.json`` says how it was made, or why it
could not be. A second run makes nothing that is there already.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cases import Case

HERE = Path(__file__).resolve().parent
FOLDER = HERE / ".models"

EXPORTS: dict[str, tuple[Literal["dynamo", "torchscript"], int]] = {
    "dynamo23": ("dynamo", 23),
    "dynamo20": ("dynamo", 20),
    "ts17": ("torchscript", 17),
}
"""Export name to exporter and opset."""

BY_TORCHSCRIPT = ("bert", "vit", "t5_encoder", "swin", "unet", "minilm", "efficientnet", "resnet", "convnext")
"""The models that are exported by TorchScript as well."""

FEEDS = ({"batch": 2, "seq": 24}, {"batch": 3, "seq": 41})
"""Sizes of the feeds that are kept with each model."""

SOURCES = ("architectures.py", "cases.py", "modules.py", "text_models.py", "vision_models.py")
PACKAGES = ("torch", "transformers", "onnx", "onnxscript")


@dataclass(frozen=True)
class Model:
    """One ONNX file of the corpus.

    Attributes:
        name: Of the architecture.
        export: A key of ``EXPORTS``.
        onnx: The file.
        feeds: The feeds and torch's outputs.
        error: Why there is no file; empty where there is one.
    """

    name: str
    export: str
    onnx: Path
    feeds: Path
    error: str = ""


@dataclass(frozen=True)
class Origin:
    """How a file was made.

    Attributes:
        key: What it was made from: our code and the packages' versions.
        via: ``export``, as a user gets it, or ``exporter only`` where our check after it refuses the result.
        note: Why the check refused.
        seconds: Of the export.
        worst: Largest difference of ONNX Runtime, optimisation off, from torch on the feeds kept, over the output's
            largest magnitude; None where it does not run the file.
        error: Why there is no file.
    """

    key: str
    via: str = ""
    note: str = ""
    seconds: float = 0.0
    worst: float | None = None
    error: str = ""


def corpus(folder: Path = FOLDER, only: Sequence[str] = ()) -> Iterator[Model]:
    """The models asked for, exported first where they are not there."""
    from architectures import MODELS

    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        for export in EXPORTS:
            if (export == "ts17" and name not in BY_TORCHSCRIPT) or not _asked(name, export, only):
                continue
            yield _model(folder, name, export)


def _asked(name: str, export: str, only: Sequence[str]) -> bool:
    return not only or name in only or f"{name}.{export}" in only


def _model(folder: Path, name: str, export: str) -> Model:
    stem = folder / f"{name}.{export}"
    onnx, feeds, record = (Path(f"{stem}{suffix}") for suffix in (".onnx", ".npz", ".json"))
    key = _key()
    if record.is_file():
        origin = Origin(**json.loads(record.read_text(encoding="utf-8")))
        if origin.key == key and (origin.error or (onnx.is_file() and feeds.is_file())):
            return Model(name, export, onnx, feeds, origin.error)
    origin = _make(name, export, key, onnx, feeds)
    record.write_text(json.dumps(asdict(origin), indent=1), encoding="utf-8")
    return Model(name, export, onnx, feeds, origin.error)


def _key() -> str:
    """What all files are made from: the architectures, and the packages that export them."""
    from trtbuild.content import json_digest

    sources = [(HERE / f).read_text(encoding="utf-8") for f in SOURCES]
    return json_digest([*sources, *(f"{p} {metadata.version(p)}" for p in PACKAGES)])


def _make(name: str, export: str, key: str, onnx: Path, feeds: Path) -> Origin:
    """Exports one model and keeps torch's answers."""
    from architectures import MODELS

    started = time.perf_counter()
    try:
        case = MODELS[name]()
        via, note = _export(case, export, onnx)
        seconds = time.perf_counter() - started
        _keep_feeds(case, feeds)
        onnx.with_suffix(".onnx.new").replace(onnx)
    except Exception as error:  # noqa: BLE001  any exporter's failure is a row of the bench
        return Origin(key, error=_first_line(error))
    try:
        worst, late = furthest(onnx, feeds), ""
    except Exception as error:  # noqa: BLE001
        worst, late = None, _first_line(error)
    return Origin(key, via, note or late, seconds, worst)


def _export(case: Case, export: str, onnx: Path) -> tuple[str, str]:
    """Exports as a user would; where only our own check refuses the result, takes it without the check."""
    from trtbuild import onnxfile
    from trtbuild.errors import ModelError
    from trtbuild.exporters import export as export_model
    from trtbuild.exporters.torch_onnx import export_module
    from trtbuild.feeds import random_feed

    exporter, opset = EXPORTS[export]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        try:
            done = export_model(
                case.module, folder, inputs=case.inputs, outputs=case.outputs, exporter=exporter, opset=opset,
                ranges=case.ranges, profiles=_profile(case),
            )  # fmt: skip
        except ModelError as error:
            import numpy as np

            feed = random_feed(case.inputs, {"batch": 2, "seq": 24}, case.ranges, np.random.default_rng(0))
            model = export_module(
                case.module, folder / "raw.onnx", inputs=case.inputs, outputs=case.outputs, exporter=exporter,
                opset=opset, feed=feed,
            )  # fmt: skip
            onnxfile.save(model, onnx.with_suffix(".onnx.new"))
            return "exporter only", _first_line(error)
        onnxfile.save(onnxfile.load(done.model.path), onnx.with_suffix(".onnx.new"))
        return "export", ""


def _profile(case: Case) -> tuple[Any, ...]:
    from kernels import OTHER_SIZES, SIZES

    from trtbuild.artifacts import AxisRange, OptimizationProfile

    axes = dict.fromkeys(d for t in case.inputs for d in t.shape if isinstance(d, str))
    return (OptimizationProfile({a: AxisRange(*SIZES.get(a, OTHER_SIZES)) for a in axes}),)


def _keep_feeds(case: Case, path: Path) -> None:
    """Writes the feeds and torch's outputs on them."""
    import numpy as np
    import torch

    from trtbuild.exporters.modules import adapt

    adapter = adapt(case.module, [t.name for t in case.inputs], case.outputs)
    kept: dict[str, Any] = {}
    with torch.no_grad():
        for number, sizes in enumerate(FEEDS):
            feed = case.feed(sizes, number)
            answers = adapter(*(torch.from_numpy(feed[t.name]) for t in case.inputs))
            kept |= {f"{number}/in/{name}": array for name, array in feed.items()}
            kept |= {f"{number}/out/{n}": a.numpy() for n, a in zip(case.outputs, answers, strict=True)}
    np.savez(path, **kept)


def read_feeds(path: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The feeds kept with a model, each with torch's outputs by name."""
    import numpy as np

    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    with np.load(path) as kept:
        for key in kept.files:
            number, side, name = key.split("/", 2)
            while len(pairs) <= int(number):
                pairs.append(({}, {}))
            pairs[int(number)][side == "out"][name] = kept[key]
    return pairs


def furthest(onnx: Path, feeds: Path) -> float:
    """Largest difference from torch on the feeds kept, over the output's largest magnitude; needs no torch."""
    import numpy as np

    from trtbuild.onnxrun import run, session

    ready, worst = session(onnx), 0.0
    for feed, wanted in read_feeds(feeds):
        got = run(ready, feed)
        for name, exact in wanted.items():
            if got[name].shape != exact.shape:
                return float("inf")
            scale = max(float(np.abs(exact).max(initial=0)), 1e-6)
            difference = np.abs(exact.astype(np.float64) - got[name])
            worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max(initial=0)) / scale)
    return worst


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def main(words: Sequence[str] | None = None) -> int:
    """Makes the corpus and prints a line a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--only", default="", metavar="NAME,...")
    asked = parser.parse_args(words)
    import torch

    torch.set_num_threads(1)
    for model in corpus(asked.models, [n for n in asked.only.split(",") if n]):
        record = json.loads(model.onnx.with_suffix(".json").read_text(encoding="utf-8"))
        if model.error:
            said = f"NOT EXPORTED: {model.error}"
        else:
            worst = "not run" if record["worst"] is None else f"{record['worst']:.1e}"
            said = f"{record['via']}, {record['seconds']:.1f} s, from torch {worst} {record['note']}"
        print(f"{model.name}.{model.export}: {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
