import logging

import numpy as np
import pytest
from PIL import Image

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError, MissingDependencyError
from trtbuild.sources import load_file

RGB = TensorSpec("x", "float32", ("batch", 3, 2, 4))
ANY = TensorSpec("x", "float32", ("batch", 3, "h", "w"))
GREY = TensorSpec("x", "float32", ("batch", 1, 2, 4))
BYTES = TensorSpec("x", "uint8", ("batch", 2, 4, 3))

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10  # [H, W, C]


def save(folder, name, pixels, mode=None, **options):
    file = folder / "photos" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(file, **options)
    return file


def plain(folder, name, colour, size=(4, 2)):
    return save(folder, name, np.full((size[1], size[0], 3), colour))


def test_pixels_are_divided_by_255_in_the_models_layout(tmp_path, read):
    save(tmp_path, "a.png", PIXELS)
    (found,) = read("images", [RGB], folder="photos")
    assert found.feed["x"].dtype == np.float32
    assert (found.feed["x"][0] == PIXELS.transpose(2, 0, 1).astype(np.float32) / np.float32(255)).all()
    last = TensorSpec("x", "float32", ("batch", 2, 4, 3))
    (found,) = read("images", [last], folder="photos")
    assert (found.feed["x"][0] == PIXELS.astype(np.float32) / np.float32(255)).all()


def test_an_integer_input_gets_the_pixels_as_they_are(tmp_path, read):
    save(tmp_path, "a.png", PIXELS)
    (found,) = read("images", [BYTES], folder="photos")
    assert (found.feed["x"][0] == PIXELS).all()


def test_mean_and_std_are_per_channel_in_the_order_of_the_mode(tmp_path, read):
    plain(tmp_path, "a.png", (51, 102, 153))
    for mode, channels in (("RGB", (0.2, 0.4, 0.6)), ("BGR", (0.6, 0.4, 0.2))):
        (found,) = read("images", [RGB], folder="photos", mode=mode, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 2])
        wanted = (np.array(channels) - [0.1, 0.2, 0.3]) / [0.5, 0.25, 2]
        np.testing.assert_allclose(found.feed["x"][0, :, 0, 0], wanted, rtol=0, atol=3e-7)


def test_range_is_what_black_and_white_become(tmp_path, read):
    save(tmp_path, "a.png", [[[0, 255, 51]] * 4] * 2)
    (found,) = read("images", [RGB], folder="photos", range=[-1, 1])
    np.testing.assert_allclose(found.feed["x"][0, :, 0, 0], [-1, 1, -0.6], rtol=0, atol=1e-7)
    (found,) = read("images", [RGB], folder="photos", range=[0, 255], mean=1, std=2)
    np.testing.assert_allclose(found.feed["x"][0, :, 0, 0], [-0.5, 127, 25], rtol=0, atol=1e-5)


def thirds(folder):
    """12 x 2: red, green and blue, four pixels wide each."""
    save(folder, "a.png", [[RED] * 4 + [GREEN] * 4 + [BLUE] * 4] * 2)


def colours(sample, name="x"):
    return np.rint(sample.feed[name][0] * 255).astype(int).transpose(1, 2, 0).tolist()


def test_crop_takes_the_centre(tmp_path, read):
    thirds(tmp_path)
    (found,) = read("images", [RGB], folder="photos")
    assert colours(found) == [[list(GREEN)] * 4] * 2


def test_stretch_keeps_both_ends(tmp_path, read):
    thirds(tmp_path)
    narrow = TensorSpec("x", "float32", ("batch", 3, 2, 6))
    (found,) = read("images", [narrow], folder="photos", fit="stretch", filter="nearest")
    assert colours(found) == [[list(RED)] * 2 + [list(GREEN)] * 2 + [list(BLUE)] * 2] * 2


def test_pad_fits_inside_and_fills_both_sides(tmp_path, read):
    thirds(tmp_path)
    tall = TensorSpec("x", "float32", ("batch", 3, 6, 12))
    (found,) = read("images", [tall], folder="photos", fit="pad", pad_value=51)
    rows = colours(found)
    assert rows[0] == rows[1] == rows[4] == rows[5] == [[51] * 3] * 12
    assert rows[2] == rows[3] == [list(RED)] * 4 + [list(GREEN)] * 4 + [list(BLUE)] * 4


def test_resize_is_the_shorter_side_before_the_crop(tmp_path, read):
    bands = np.repeat(np.arange(4) * 60, 2)[:, None, None]
    save(tmp_path, "a.png", np.broadcast_to(bands, (8, 16, 3)))  # four grey bands from top to bottom
    square = TensorSpec("x", "float32", ("batch", 3, 2, 2))
    (found,) = read("images", [square], folder="photos", resize=4, filter="nearest")
    assert colours(found) == [[[60] * 3] * 2, [[120] * 3] * 2]  # the outer bands are cut off
    (found,) = read("images", [square], folder="photos", filter="nearest")
    assert colours(found) != [[[60] * 3] * 2, [[120] * 3] * 2]


def test_resize_and_crop_give_torchvisions_sizes_and_offsets(tmp_path, read):
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate([(37, 23), (23, 37), (31, 31), (50, 17)]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        for old in (tmp_path / "photos").glob("*"):
            old.unlink()
        save(tmp_path, f"{number}.png", pixels)
        short = min(width, height)
        scaled = Image.fromarray(pixels).resize(
            (int(16 * width / short), int(16 * height / short)), Image.Resampling.BILINEAR
        )
        top, left = round((scaled.height - 13) / 2.0), round((scaled.width - 14) / 2.0)
        wanted = np.asarray(scaled)[top : top + 13, left : left + 14]
        model = TensorSpec("x", "uint8", ("batch", 13, 14, 3))
        (found,) = read("images", [model], folder="photos", resize=16)
        assert (found.feed["x"][0] == wanted).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_honoured(tmp_path, read, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16], upright[8:, 16:] = RED, BLUE
    stored = {  # how the camera stored what EXIF's orientation turns upright again
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path, "a.png", stored, exif=exif)
    model = TensorSpec("x", "uint8", ("batch", 16, 32, 3))
    (found,) = read("images", [model], folder="photos")
    assert (found.feed["x"][0] == upright).all()


def test_images_of_every_mode_become_the_models(tmp_path, read):
    grey = np.full((2, 4), 100)
    save(tmp_path, "a.png", grey)
    save(tmp_path, "b.png", grey, "P")
    save(tmp_path, "c.bmp", np.full((2, 4, 3), 100))
    save(tmp_path, "d.png", np.full((2, 4, 4), (100, 100, 100, 255)))
    save(tmp_path, "e.tiff", np.full((2, 4, 3), 100), "CMYK")
    save(tmp_path, "f.png", grey, "LA")
    (found,) = read("images", [RGB], folder="photos")
    assert np.rint(found.feed["x"] * 255).tolist() == np.full((6, 3, 2, 4), 100).tolist()
    (found,) = read("images", [GREY], folder="photos")
    assert np.rint(found.feed["x"] * 255).tolist() == np.full((6, 1, 2, 4), 100).tolist()


def test_transparent_pixels_need_a_background(tmp_path, read):
    file = save(tmp_path, "a.png", np.full((2, 4, 4), (200, 100, 0, 0)))
    with pytest.raises(FeedError, match="transparent pixels") as caught:
        read("images", [RGB], folder="photos")
    assert caught.value.place == str(file)
    assert "background" in caught.value.hint
    (white,) = read("images", [RGB], folder="photos", background=255)
    assert (white.feed["x"] == 1).all()
    (colour,) = read("images", [RGB], folder="photos", background=[255, 0, 51])
    np.testing.assert_allclose(colour.feed["x"][0, :, 0, 0], [1, 0, 0.2], rtol=0, atol=1e-7)


def test_a_model_of_four_channels_keeps_the_alpha(tmp_path, read):
    save(tmp_path, "a.png", np.full((2, 4, 4), (200, 100, 0, 51)))
    model = TensorSpec("x", "uint8", ("batch", 4, 2, 4))
    (found,) = read("images", [model], folder="photos", layout="NCHW")
    assert found.feed["x"][0, :, 0, 0].tolist() == [200, 100, 0, 51]


def test_images_of_sixteen_bits_are_refused(tmp_path, read):
    (tmp_path / "photos").mkdir()
    file = tmp_path / "photos" / "depth.png"
    Image.fromarray(np.full((2, 4), 40000, np.uint16)).save(file)
    with pytest.raises(FeedError, match="16 or 32 bits") as caught:
        read("images", [RGB], folder="photos", broken="skip")
    assert caught.value.place == str(file)


def many(folder, count=20):
    for number in range(count):
        plain(folder, f"{'ab'[number % 2]}/{number:02}.png", (number, 0, 0))


def taken(samples):
    return [int(v) for s in samples for v in np.rint(s.feed["x"][:, 0, 0, 0] * 255)]


def test_which_images_are_taken_follows_the_seed(tmp_path, read):
    many(tmp_path)
    by_name = taken(read("images", [RGB], folder="photos", seed=None))
    assert by_name == [*range(0, 20, 2), *range(1, 20, 2)]
    first = taken(read("images", [RGB], folder="photos"))
    assert sorted(first) == list(range(20))
    assert first != by_name
    assert taken(read("images", [RGB], folder="photos")) == first
    assert taken(read("images", [RGB], folder="photos", seed=1)) != first
    assert taken(read("images", [RGB], 6, folder="photos", batch=4)) == first[:6]
    assert taken(read("images", [RGB], folder="photos", skip=6)) == first[6:]


def test_images_that_are_not_chosen_are_not_opened(tmp_path, read):
    many(tmp_path)
    first = taken(read("images", [RGB], folder="photos"))
    for file in (tmp_path / "photos").rglob("*.png"):
        if int(file.stem) not in first[:4]:
            file.write_bytes(b"no image")
    assert taken(read("images", [RGB], 4, folder="photos", batch=4)) == first[:4]


def test_images_without_a_size_keep_theirs(tmp_path, read):
    plain(tmp_path, "a.png", RED, (5, 3))
    plain(tmp_path, "b.png", RED, (2, 7))
    shapes = [s.feed["x"].shape for s in read("images", [ANY], folder="photos", seed=None)]
    assert shapes == [(1, 3, 3, 5), (1, 3, 7, 2)]
    (sized,) = read("images", [ANY], folder="photos", size=6)
    assert sized.feed["x"].shape == (2, 3, 6, 6)
    (sized,) = read("images", [ANY], folder="photos", size=[4, 6])
    assert sized.feed["x"].shape == (2, 3, 4, 6)


def test_a_fixed_batch_leaves_a_smaller_last_one_out(tmp_path, read):
    many(tmp_path, 7)
    model = TensorSpec("x", "float32", (3, 3, 2, 4))
    assert [s.rows for s in read("images", [model], folder="photos")] == [3, 3]
    model = TensorSpec("x", "float32", (8, 3, 2, 4))
    with pytest.raises(FeedError, match="takes 8 rows at a time, and there are 7"):
        read("images", [model], folder="photos")


def test_labels_are_the_folders(tmp_path, read):
    for number, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "ant/deep/1.png"]):
        plain(tmp_path, name, (number, 0, 0))
    found = read("images", [RGB], folder="photos", labels="folders")
    by_image = {image: int(label) for s in found for image, label in zip(taken([s]), s.labels, strict=True)}
    assert by_image == {0: 1, 1: 1, 2: 2, 3: 0}
    found = read("images", [RGB], folder="photos", labels="folders", classes=["dog", "bee", "cat", "ant"])
    by_image = {image: int(label) for s in found for image, label in zip(taken([s]), s.labels, strict=True)}
    assert by_image == {0: 2, 1: 2, 2: 0, 3: 3}
    with pytest.raises(FeedError, match="'ant' is no class"):
        read("images", [RGB], folder="photos", labels="folders", classes=["dog", "cat"])
    plain(tmp_path, "loose.png", RED)
    with pytest.raises(FeedError, match="lies in no class folder"):
        read("images", [RGB], folder="photos", labels="folders")


@pytest.mark.parametrize("kind", ["text", "empty", "cut off", "damaged"])
def test_a_broken_image_is_named_or_counted(tmp_path, read, caplog, kind):
    rng = np.random.default_rng(0)
    good = save(tmp_path, "good.png", rng.integers(0, 256, (40, 40, 3), np.uint8)).read_bytes()
    damaged = good[:60] + bytes(b ^ 255 for b in good[60:90]) + good[90:]
    bad = tmp_path / "photos" / "bad.png"
    bad.write_bytes({"text": b"hello", "empty": b"", "cut off": good[:-2000], "damaged": damaged}[kind])
    with pytest.raises(FeedError, match="cannot be read as an image") as caught:
        read("images", [RGB], folder="photos")
    assert caught.value.place == str(bad)
    assert "broken: skip" in caught.value.hint
    with caplog.at_level(logging.WARNING):
        (found,) = read("images", [RGB], folder="photos", broken="skip")
    assert found.rows == 1
    assert f"1 of 2 images cannot be read and are left out, the first: {bad}" in caplog.text


def test_a_folder_of_broken_images_is_an_error(tmp_path, read):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(FeedError, match="none of 1 images can be read"):
        read("images", [RGB], folder="photos", broken="skip")


@pytest.mark.parametrize(
    ("inputs", "args", "words"),
    [
        ([RGB], {"folder": "photo"}, ("no folder 'photo'", "did you mean 'photos'")),
        ([RGB], {"folder": "elsewhere"}, ("no folder 'elsewhere'", "paths are relative to")),
        ([RGB], {"folder": "photos/0.png"}, ("a file, not a folder",)),
        ([RGB], {"folder": "others"}, ("no image; there is 2 .heic, 1 .txt", ".jpeg")),
        ([RGB], {"folder": "empty"}, ("no image; there is nothing",)),
        ([RGB], {"mean": [0.5, 0.5]}, ("mean is [0.5, 0.5]", "1 or 3 numbers")),
        ([GREY], {"std": [0.5, 0.5, 0.5]}, ("std is [0.5, 0.5, 0.5]", "give 1 numbers")),
        ([RGB], {"std": [0.5, 0, 0.5]}, ("std is 0",)),
        ([RGB], {"mean": "0.5"}, ("mean is '0.5'",)),
        ([RGB], {"range": [0, 1, 2]}, ("range is [0, 1, 2]", "2 numbers")),
        ([RGB], {"size": 5}, ("size is [5, 5], the model takes [2, 4]",)),
        ([ANY], {"size": [5, 0]}, ("size is [5, 0]",)),
        ([ANY], {"size": "5"}, ("size is '5'",)),
        ([ANY], {"batch": 2}, ("different sizes", "size: [height, width]")),
        ([RGB], {"batch": 0}, ("batch is 0",)),
        ([TensorSpec("x", "float32", (2, 3, 2, 4))], {"batch": 3}, ("batch is 3, the model takes 2",)),
        ([RGB], {"resize": 3}, ("resize 3 does not go with",)),
        ([RGB], {"resize": 8, "fit": "pad"}, ("resize 8 does not go with fit pad",)),
        ([ANY], {"resize": 8}, ("resize 8 does not go with", "size None")),
        ([RGB], {"resize": "8"}, ("resize is '8'",)),
        ([RGB], {"pad_value": 256}, ("pad_value is 256", "0 to 255")),
        ([RGB], {"background": [0, 0]}, ("background is [0, 0]",)),
        ([RGB], {"background": 0.5}, ("background is 0.5",)),
        ([RGB], {"fit": "streched"}, ("fit is 'streched'", "'stretch'")),
        ([RGB], {"filter": "cubic"}, ("filter is 'cubic'", "'bicubic'")),
        ([RGB], {"mode": "L"}, ("mode L has 1 channels, the model's input 3", "RGB, BGR")),
        ([RGB], {"mode": "HSV"}, ("mode is 'HSV'",)),
        ([TensorSpec("x", "uint8", ("b", 3, 2, 1))], {}, ("which axis has the channels is not clear", "NCHW")),
        ([TensorSpec("x", "uint8", ("b", 2, 5, 7))], {"layout": "NCHW"}, ("the model's input 2", "write a reader")),
        ([TensorSpec("x", "float32", ("b", "c", 2, 7))], {}, ("['b', 'c', 2, 7]", "layout")),
        ([TensorSpec("x", "float32", ("b", 3, 2, "w"))], {}, ("takes images of [2, 'w']", "give size")),
        ([RGB], {"layout": "CHWN"}, ("layout is 'CHWN'",)),
        ([BYTES], {"mean": 0.5}, ("is uint8", "leave range, mean and std out")),
        ([TensorSpec("x", "int8", ("b", 3, 2, 4))], {}, ("is int8", "write a reader")),
        ([TensorSpec("x", "float32", ("b", 8))], {}, ("no input of the model takes images", "x ['b', 8]")),
        ([RGB, TensorSpec("y", "float32", ("batch", 3, 2, 4))], {}, ("more than one input", "{name: ...}")),
        ([RGB], {"name": "X"}, ("no input 'X'",)),
        ([TensorSpec("x", "float32", ("b", 8))], {"name": "x"}, ("images need four axes",)),
        ([RGB], {"seed": -1}, ("seed is -1",)),
        ([RGB], {"seed": True}, ("seed is True",)),
        ([RGB], {"skip": 2}, ("skip is 2, and there are 2",)),
        ([RGB], {"labels": "names"}, ("labels is 'names'",)),
        ([RGB], {"broken": "ignore"}, ("broken is 'ignore'",)),
        ([RGB], {"folders": "x"}, ("takes no argument 'folders'", "'folder'")),
    ],
)
def test_what_is_wrong_is_said(tmp_path, read, inputs, args, words):
    plain(tmp_path, "0.png", RED)
    plain(tmp_path, "1.png", RED, (3, 3))
    (tmp_path / "others").mkdir()
    for name in ("a.heic", "b.heic", "c.txt", ".hidden.png"):
        (tmp_path / "others" / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeedError) as caught:
        read("images", inputs, **{"folder": "photos", **args})
    for word in words:
        assert word in str(caught.value)
    assert caught.value.place
    assert caught.value.hint


def test_without_pillow_the_extra_is_named(tmp_path, read, monkeypatch):
    plain(tmp_path, "a.png", RED)
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match="'pillow' is not installed") as caught:
        read("images", [RGB], folder="photos")
    assert caught.value.hint == "pip install 'trtbuild[readers]'"


def test_it_can_be_called_by_hand(tmp_path):
    from trtbuild.shipped import shipped_folder

    plain(tmp_path, "a.png", (51, 0, 0))
    images = load_file(shipped_folder("calibration") / "images.py")
    (feed,) = images.batches(str(tmp_path / "photos"), name="image")
    assert feed["image"].shape == (1, 3, 2, 4)
