import hashlib

import numpy as np
import pytest

from trtbuild.content import canonical_json, feed_digest, file_digest, json_digest, tree_digest


def test_file_digest_is_sha256_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 5000  # more than one chunk
    (tmp_path / "f").write_bytes(data)
    assert file_digest(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_canonical_json_sorts_keys_and_leaves_out_spaces():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": [float("-inf")]}])
def test_canonical_json_refuses_what_json_has_not(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_json_digest_ignores_key_order_and_sees_values():
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    assert json_digest({"a": 1}) != json_digest({"a": 2})
    assert json_digest([1, 2]) != json_digest([2, 1])


@pytest.mark.parametrize(
    "other",
    [
        {"y": np.zeros((2, 3), np.float32)},
        {"x": np.zeros((3, 2), np.float32)},
        {"x": np.zeros((2, 3), np.int32)},
        {"x": np.ones((2, 3), np.float32)},
        {"x": np.zeros((2, 3), np.float32), "z": np.zeros(1, np.float32)},
    ],
    ids=["name", "shape", "dtype", "values", "one more"],
)
def test_feed_digest_sees(other):
    assert feed_digest(other) != feed_digest({"x": np.zeros((2, 3), np.float32)})


def test_feed_digest_ignores_order_of_inputs_and_memory_layout():
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(1, np.int64)
    assert feed_digest({"a": a, "b": b}) == feed_digest({"b": b, "a": np.asfortranarray(a)})


def test_tree_digest_sees_names_and_contents(tmp_path):
    def write(folder, files):
        for name, text in files.items():
            place = tmp_path / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tree_digest(tmp_path / folder)

    first = write("one", {"a.py": "1", "sub/b.py": "2"})
    assert write("same", {"a.py": "1", "sub/b.py": "2"}) == first
    assert write("content", {"a.py": "1", "sub/b.py": "3"}) != first
    assert write("name", {"a.py": "1", "sub/c.py": "2"}) != first


def test_tree_digest_takes_only_the_places_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    only_a = tree_digest(tmp_path, places=[tmp_path / "a"])
    (tmp_path / "b").write_text("changed")
    assert tree_digest(tmp_path, places=[tmp_path / "a"]) == only_a
    assert tree_digest(tmp_path) != only_a
