import numpy as np
import pytest

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError, UsageError
from trtbuild.feeds import Samples, hold_reader

X = TensorSpec("x", "float32", ("batch", 2))
Y = TensorSpec("y", "int64", ("batch",))


def samples(tmp_path, body, inputs=(X,), name="it", **options):
    (tmp_path / "own.py").write_text("import numpy as np\n" + body)
    return Samples(f"own.py:{name}", inputs, tmp_path, 100, **options)


ROWS = "np.arange(8, dtype='f').reshape(4, 2)"


@pytest.mark.parametrize(
    ("body", "labels"),
    [
        (f"it = [{{'x': {ROWS}}}]", None),
        (f"it = ({{'x': {ROWS}}},)", None),
        (f"it = [({{'x': {ROWS}}}, [3, 2, 1, 0])]", [3, 2, 1, 0]),
        (f"it = [{{'x': {ROWS}, 'labels': [3, 2, 1, 0]}}]", [3, 2, 1, 0]),
        (f"it = [{ROWS}]", None),
        (f"it = [[{ROWS}]]", None),
        (f"it = [({ROWS}, np.array([3, 2, 1, 0]))]", [3, 2, 1, 0]),
        (f"class it:\n    def __iter__(self):\n        yield {{'x': {ROWS}}}", None),
        (f"class Rows:\n    def __iter__(self):\n        yield {{'x': {ROWS}}}\nit = Rows()", None),
        (
            f"class Rows:\n    def __getitem__(self, i):\n        return [{{'x': {ROWS}}}][i]\nit = Rows()",
            None,
        ),
    ],
)
def test_what_may_be_a_reader_and_what_it_may_yield(tmp_path, body, labels):
    source = samples(tmp_path, body)
    for _ in range(2):
        (found,) = list(source)
        assert found.feed["x"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
        assert (found.labels if labels is None else found.labels.tolist()) == labels


def test_an_input_that_is_called_labels_is_an_input(tmp_path):
    tensor = TensorSpec("labels", "float32", ("batch", 2))
    (found,) = samples(tmp_path, f"it = [{{'labels': {ROWS}}}]", (tensor,))
    assert found.labels is None
    assert found.feed["labels"].shape == (4, 2)


def test_arrays_without_names_are_not_taken_for_two_inputs(tmp_path):
    with pytest.raises(FeedError, match="dicts from input name to array, not tuple") as caught:
        list(samples(tmp_path, f"it = [({ROWS}, np.arange(4))]", (X, Y)))
    assert "'x': ..." in caught.value.hint


@pytest.mark.parametrize(
    ("body", "args", "words"),
    [
        ("it = iter([])", {}, "list_iterator can be read only once"),
        ("it = (i for i in ())", {}, "generator can be read only once"),
        ("it = 5", {}, "type int is no reader"),
        ("it = [1]", {"a": 1}, "type list, which takes no arguments"),
        ("def it(folder): yield 1", {"foldr": 1}, "takes no argument 'foldr'\n  hint: did you mean 'folder'"),
        ("def it(folder): yield 1", {}, "argument 'folder' is missing\n  hint: args: {folder: ...}"),
        ("def it(): yield 1", {"a": 1}, "takes no argument 'a'\n  hint: leave args out"),
        ("def it(model_inputs): yield 1", {"model_input": 1}, "takes no argument 'model_input'"),
    ],
)
def test_what_cannot_be_read_is_known_before_anything_is_read(tmp_path, body, args, words):
    (tmp_path / "own.py").write_text(body + "\n")
    with pytest.raises(FeedError) as caught:
        hold_reader("own.py:it", tmp_path, args)
    assert words in str(caught.value)


def test_random_takes_no_arguments(tmp_path):
    assert hold_reader("random", tmp_path, {}) is None
    with pytest.raises(FeedError, match="no arguments"):
        hold_reader("random", tmp_path, {"a": 1})


def test_a_function_that_is_not_there_is_named(tmp_path):
    (tmp_path / "own.py").write_text("def batches(): yield 1\n")
    with pytest.raises(UsageError, match="did you mean 'batches'"):
        hold_reader("own.py:batchs", tmp_path, {})


def test_a_reader_is_given_what_it_names(tmp_path):
    body = (
        "def it(model_inputs, spec_folder, extra=1):\n"
        "    assert spec_folder.is_dir() and extra == 2\n"
        "    yield {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in model_inputs}\n"
    )
    (found,) = samples(tmp_path, body, (X, Y), args={"extra": 2})
    assert list(found.feed) == ["x", "y"]


def test_the_specs_args_go_before_what_is_given(tmp_path):
    body = "def it(spec_folder): yield {'x': np.full((1, 2), spec_folder, 'f')}"
    (found,) = samples(tmp_path, body, args={"spec_folder": 3})
    assert found.feed["x"].tolist() == [[3, 3]]


def test_a_torch_loader_is_a_reader(tmp_path):
    body = (
        "import torch\n"
        "rows = torch.arange(10, dtype=torch.float32).reshape(5, 2)\n"
        "data = torch.utils.data.TensorDataset(rows, torch.arange(5))\n"
        "it = torch.utils.data.DataLoader(data, batch_size=2)\n"
        "named = [{'x': rows.requires_grad_()}]\n"
        "halves = [rows.bfloat16()]\n"
    )
    found = list(samples(tmp_path, body))
    assert [s.rows for s in found] == [2, 2, 1]
    assert np.concatenate([s.feed["x"] for s in found]).tolist() == np.arange(10).reshape(5, 2).tolist()
    assert np.concatenate([s.labels for s in found]).tolist() == [0, 1, 2, 3, 4]
    (with_gradients,) = samples(tmp_path, body, name="named")
    assert with_gradients.rows == 5
    with pytest.raises(FeedError, match="BFloat16") as caught:
        list(samples(tmp_path, body, name="halves"))
    assert "tensor.float()" in caught.value.hint


def test_an_empty_batch_is_refused(tmp_path):
    with pytest.raises(FeedError, match="has no rows") as caught:
        list(samples(tmp_path, f"it = [{{'x': {ROWS}}}, {{'x': {ROWS}[:0]}}]"))
    assert caught.value.place == "own.py:it, sample 1"


@pytest.mark.parametrize("shard", [(0, 4), (5, 4), (1, 0), (-1, -1)])
def test_a_shard_that_is_not_there_is_refused(tmp_path, shard):
    with pytest.raises(FeedError, match=f"no shard {shard[0]} of {shard[1]}"):
        Samples("random", (X,), tmp_path, 8, shard=shard)


def test_a_part_has_no_other_part(tmp_path):
    fit = Samples("random", (X,), tmp_path, 8).part("fit")
    assert fit.part("fit") == fit
    with pytest.raises(FeedError, match="the fit part has no judge part"):
        fit.part("judge")


def test_one_row_is_for_fitting_and_two_are_shared(tmp_path):
    for rows, judged in ((1, 0), (2, 1), (4, 1), (5, 1), (6, 2)):
        source = Samples("own.py:it", (X,), tmp_path, 100)
        (tmp_path / "own.py").write_text(f"import numpy as np\nit = [{{'x': np.ones(({rows}, 2), 'f')}}]\n")
        assert sum(s.rows for s in source.part("judge")) == judged
        assert sum(s.rows for s in source.part("fit")) == rows - judged


def test_labels_stay_with_their_rows(tmp_path):
    source = samples(tmp_path, f"it = [({ROWS}, np.array([0, 2, 4, 6]))] * 2")
    for part in (source.part("fit"), source.part("judge")):
        assert [s.feed["x"][:, 0].tolist() for s in part] == [s.labels.tolist() for s in part]


def test_the_digest_tells_how_far_it_is(tmp_path):
    told = []
    source = samples(tmp_path, f"it = [{{'x': {ROWS}}}] * 3")
    assert source.digest(told.append) == source.digest()
    assert told == [4, 8, 12]
