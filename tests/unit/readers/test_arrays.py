import numpy as np
import pytest

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError

X = TensorSpec("x", "float32", ("batch", 3))
IDS = TensorSpec("ids", "int64", ("batch", "seq"))
SCALE = TensorSpec("scale", "float32", ())

ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)


def rows(samples, name="x"):
    return np.concatenate([s.feed[name] for s in samples])


def test_the_rows_of_one_npy_in_a_seeded_order(tmp_path, read):
    np.save(tmp_path / "set.npy", ROWS)
    kept = rows(read("arrays", [X], path="set.npy", seed=None, batch=6))
    assert (kept == ROWS).all()
    mixed = read("arrays", [X], path="set.npy", batch=6)
    assert [s.rows for s in mixed] == [6, 6, 6, 2]
    assert (rows(mixed) != ROWS).any()
    assert sorted(rows(mixed).tolist()) == ROWS.tolist()
    assert (rows(read("arrays", [X], path="set.npy", batch=4)) == rows(mixed)).all()
    assert (rows(read("arrays", [X], path="set.npy", skip=7)) == rows(mixed)[7:]).all()
    assert (rows(read("arrays", [X], 5, path="set.npy")) == rows(mixed)[:5]).all()
    assert (rows(read("arrays", [X], path="set.npy", seed=1)) != rows(mixed)).any()


def test_rows_that_are_not_chosen_are_not_read(tmp_path, read):
    """A sparse file of 64 GiB: who read it whole would need that much memory."""
    big = np.lib.format.open_memmap(tmp_path / "big.npy", "w+", np.float32, (1 << 16, 1 << 18))
    big[:2, 0] = 1, 2
    del big
    model = TensorSpec("x", "float32", ("batch", 1 << 18))
    assert rows(read("arrays", [model], 2, path="big.npy", seed=None, batch=2))[:, 0].tolist() == [1, 2]
    assert rows(read("arrays", [model], 2, path="big.npy", batch=2)).shape == (2, 1 << 18)


def test_an_npz_has_every_input_and_the_labels(tmp_path, read):
    ids = np.arange(40).reshape(20, 2)
    np.savez(tmp_path / "set.npz", x=ROWS, ids=ids, answers=np.arange(20), scale=np.float32(2), other=np.zeros(3))
    found = read("arrays", [X, IDS, SCALE], path="set.npz", batch=6, labels="answers")
    assert [s.rows for s in found] == [6, 6, 6, 2]
    for sample in found:
        assert (sample.feed["x"] == ROWS[sample.labels]).all()
        assert (sample.feed["ids"] == ids[sample.labels]).all()
        assert sample.feed["scale"] == 2
    assert sorted(np.concatenate([s.labels for s in found])) == list(range(20))


def test_keys_tell_names_apart(tmp_path, read):
    np.savez_compressed(tmp_path / "set.npz", features=ROWS)
    assert (rows(read("arrays", [X], path="set.npz", keys={"x": "features"}, seed=None)) == ROWS).all()
    np.save(tmp_path / "set.npy", ROWS)
    assert (rows(read("arrays", [X], path="set.npy", keys={"x": "features"}, seed=None)) == ROWS).all()


def test_a_folder_with_one_npy_an_input(tmp_path, read):
    folder = tmp_path / "set"
    folder.mkdir()
    np.save(folder / "x.npy", ROWS)
    np.save(folder / "ids.npy", np.arange(40).reshape(20, 2))
    np.save(folder / "y.npy", np.arange(20))
    for sample in read("arrays", [X, IDS], path="set", labels="y"):
        assert (sample.feed["x"] == ROWS[sample.labels]).all()
        assert (sample.feed["ids"][:, 0] == sample.labels * 2).all()


def test_a_folder_of_feeds_of_different_shapes(tmp_path, read):
    folder = tmp_path / "requests"
    folder.mkdir()
    np.savez(folder / "a.npz", ids=[[1, 2, 3]], y=[7])
    np.savez(folder / "b.npz", ids=[[4, 5], [6, 7]], y=[8, 9])
    np.savez(folder / "c.npz", ids=[8], y=5)
    found = read("arrays", [IDS], path="requests", labels="y", seed=None)
    assert [s.feed["ids"].tolist() for s in found] == [[[1, 2, 3]], [[4, 5], [6, 7]], [[8]]]
    assert [s.labels.tolist() for s in found] == [[7], [8, 9], [5]]
    assert len(read("arrays", [IDS], path="requests", labels="y", skip=1)) == 2


def test_a_folder_of_npy_for_a_model_of_one_input(tmp_path, read):
    folder = tmp_path / "rows"
    folder.mkdir()
    for number in range(5):
        np.save(folder / f"{number}.npy", ROWS[number])
    assert (rows(read("arrays", [X], path="rows", seed=None)) == ROWS[:5]).all()
    (folder / "4.npy").write_bytes(b"no array")
    first = rows(read("arrays", [X], 1, path="rows", seed=None))
    assert (first == ROWS[:1]).all()


def test_a_fixed_batch_leaves_a_smaller_last_one_out(tmp_path, read):
    np.save(tmp_path / "set.npy", ROWS)
    fixed = TensorSpec("x", "float32", (8, 3))
    assert [s.rows for s in read("arrays", [fixed], path="set.npy")] == [8, 8]


def test_without_a_model_every_array_is_an_input(tmp_path):
    from trtbuild.shipped import shipped_folder
    from trtbuild.sources import load_file

    arrays = load_file(shipped_folder("calibration") / "arrays.py")
    np.savez(tmp_path / "set.npz", a=ROWS, b=ROWS * 2)
    (feed,) = arrays.batches(str(tmp_path / "set.npz"), seed=None)
    assert (feed["a"] * 2 == feed["b"]).all()


@pytest.mark.parametrize(
    ("inputs", "args", "words"),
    [
        ([X], {"path": "sat.npz"}, ("no file or folder 'sat.npz'", "did you mean 'set.npz'")),
        ([X], {"path": "note.txt"}, ("not a NumPy file", ".npy or .npz")),
        ([X], {"path": "empty"}, ("no .npy or .npz file",)),
        ([TensorSpec("xx", "float32", ("b", 3))], {"path": "set.npz"}, ("no array 'xx'", "did you mean 'x'")),
        ([X], {"path": "set.npz", "labels": "labels"}, ("no array 'labels'",)),
        ([X], {"path": "set.npz", "keys": {"X": "x"}}, ("no input 'X'",)),
        ([X], {"path": "set.npz", "batch": 0}, ("batch is 0",)),
        ([X], {"path": "set.npz", "skip": 20}, ("skip is 20, and there are 20",)),
        ([X, IDS], {"path": "uneven.npz"}, ("differ in length: x has 20, ids has 19",)),
        ([X, IDS], {"path": "scalar.npz"}, ("ids has no rows",)),
        ([X, IDS], {"path": "set.npy"}, ("one array, and x, ids are wanted", "numpy.savez")),
        ([X], {"path": "set.npy", "labels": "y"}, ("one array, and x, y are wanted",)),
        ([X], {"path": "objects.npy"}, ("cannot be read as a NumPy file", "Python objects")),
        ([X], {"path": "objects.npz"}, ("cannot be read as a NumPy file", "Python objects")),
        ([X], {"path": "cut.npy"}, ("cannot be read as a NumPy file",)),
        ([X], {"path": "cut.npz"}, ("cannot be read as a NumPy file",)),
        ([X], {"path": "damaged.npz"}, ("cannot be read as a NumPy file",)),
        ([X], {"path": "empty.npy"}, ("cannot be read as a NumPy file",)),
        ([X, IDS], {"path": "columns"}, ("there is no ids.npy", "known: x")),
        ([X], {"path": "feeds", "batch": 4}, ("each file is a feed already",)),
        ([TensorSpec("x", "float32", (32, 3))], {"path": "set.npz"}, ("takes 32 rows at a time, and there are 20",)),
    ],
)
def test_what_is_wrong_is_said(tmp_path, read, inputs, args, words):
    np.savez(tmp_path / "set.npz", x=ROWS, ids=np.zeros((20, 2), int))
    np.savez(tmp_path / "uneven.npz", x=ROWS, ids=np.zeros((19, 2), int))
    np.savez(tmp_path / "scalar.npz", x=ROWS, ids=1)
    np.save(tmp_path / "set.npy", ROWS)
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([{}, {}]))
    whole = (tmp_path / "set.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-40])
    (tmp_path / "damaged.npz").write_bytes(whole[:200] + bytes(b ^ 255 for b in whole[200:240]) + whole[240:])
    (tmp_path / "cut.npy").write_bytes((tmp_path / "set.npy").read_bytes()[:-40])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "note.txt").write_text("hello")
    for folder in ("empty", "columns", "feeds"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "columns" / "x.npy", ROWS)
    np.savez(tmp_path / "feeds" / "one.npz", x=ROWS)
    with pytest.raises(FeedError) as caught:
        read("arrays", inputs, **args)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.place
    assert caught.value.hint
