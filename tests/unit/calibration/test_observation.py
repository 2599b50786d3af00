import numpy as np
import pytest
from onnx_models import cnn, random_feed, save

from trtbuild import onnxfile
from trtbuild.calibration import collector
from trtbuild.calibration.equalization.observation import observe
from trtbuild.feeds import checked
from trtbuild.quantization import place


def observed(tmp_path, feeds):
    stored = onnxfile.stored(save(cnn(), tmp_path / "m.onnx"))
    samples = list(checked(feeds, onnxfile.inputs(cnn())))
    return observe(stored, samples, place(cnn()), "mse")


def as_values(seen):
    return seen.amax, seen.ranges, seen.means, {n: rows.tolist() for n, rows in seen.rows.items()}


def test_the_number_of_lanes_changes_no_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "PORTION", 3000)
    feeds = [random_feed(cnn(), n=n, seed=n) for n in (5, 1, 8, 3)]
    found = []
    for lanes in (1, 2, 5):
        monkeypatch.setattr(collector, "_lanes", lambda _budget, lanes=lanes: (lanes, 1))
        found.append(as_values(observed(tmp_path, feeds)))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("portion", [1, 3000])
def test_portions_change_no_range_and_draw_the_same_rows(tmp_path, monkeypatch, portion):
    feeds = [random_feed(cnn(), n=n, seed=n) for n in (8, 3)]
    monkeypatch.setattr(collector, "PORTION", 1e9)
    wanted = observed(tmp_path, feeds)
    monkeypatch.setattr(collector, "PORTION", portion)
    found = observed(tmp_path, feeds)
    assert (found.amax, found.ranges) == (wanted.amax, wanted.ranges)
    for name, means in wanted.means.items():
        assert found.means[name] == pytest.approx(means, rel=1e-6, abs=1e-9)
    for name, rows in wanted.rows.items():
        assert rows.tolist() == found.rows[name].tolist(), name


def test_rows_are_drawn_from_all_of_a_sample_and_each_once(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "PORTION", 1)
    feed = random_feed(cnn(), n=8)
    drawn = observed(tmp_path, [feed]).rows["x"]
    pixels = np.moveaxis(feed["x"], 1, -1)  # x is read by a convolution: its rows are pixels
    assert drawn.shape == (128, pixels.shape[-1])
    images = [next(i for i, image in enumerate(pixels) if (image == row).all(-1).any()) for row in drawn]
    assert len(set(images)) == 8
    assert len(np.unique(drawn, axis=0)) == len(drawn)


def test_channels_are_those_of_the_model(tmp_path):
    feeds = [random_feed(cnn(), n=3, seed=seed) for seed in range(2)]
    seen = observed(tmp_path, feeds)
    whole = np.concatenate([feed["x"] for feed in feeds])
    assert seen.ranges["x"] == pytest.approx(np.abs(whole).max((0, 2, 3)).tolist())
    assert seen.means["x"] == pytest.approx(whole.mean((0, 2, 3)).tolist(), abs=1e-6)
