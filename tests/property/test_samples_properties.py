import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trtbuild.artifacts import TensorSpec
from trtbuild.feeds import JUDGE_EVERY, Samples, row_digests

X = TensorSpec("x", "int64", ("batch", 1))
SCALE = TensorSpec("scale", "float32", ())
FIXED = TensorSpec("x", "int64", (2, 1))
SQUARE = TensorSpec("x", "int64", ("n", "n"))

batches = st.lists(st.integers(1, 7), min_size=1, max_size=12)
limits = st.integers(1, 40)


def cut(total, sizes):
    """Rows 0, 1, ... ``total`` in feeds of those sizes, over and over."""
    rows, at = np.arange(total)[:, None], 0
    while at < total:
        for size in sizes:
            if at < total:
                yield rows[at : at + size]
            at += size


def samples(folder, feeds, inputs, limit, **options):
    return Samples("own.py:it", inputs, folder, limit, {"feeds": feeds}, prefetch=0, **options)


def rows_of(source):
    return [int(v) for s in source for v in s.feed["x"][:, 0]]


def dealt(folder, feeds, limit, count, inputs=(X,)):
    return [list(samples(folder, feeds, inputs, limit, shard=(i, count))) for i in range(1, count + 1)]


def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    (folder / "own.py").write_text("def it(feeds): yield from feeds\n")
    return folder


@given(batches, limits, st.integers(1, 9))
def test_the_shards_together_are_the_whole(tmp_path_factory, sizes, limit, count):
    folder = reader(tmp_path_factory)
    feeds = [{"x": rows} for rows in cut(30, sizes)]
    whole = list(samples(folder, feeds, (X,), limit))
    shards = dealt(folder, feeds, limit, count)
    assert sum(s.rows for s in whole) == min(limit, 30)
    together = [shards[number % count][number // count] for number in range(len(whole))]
    assert [s.digest for s in together] == [s.digest for s in whole]
    assert sum(map(len, shards)) == len(whole)


@given(batches, batches, limits)
def test_the_parts_are_disjoint_together_the_whole_and_the_same_for_every_batch_size(
    tmp_path_factory, sizes, other_sizes, limit
):
    folder = reader(tmp_path_factory)
    fit, judge = [], []
    for cuts in (sizes, other_sizes):
        feeds = [{"x": rows, "scale": np.float32(2)} for rows in cut(30, cuts)]
        source = samples(folder, feeds, (X, SCALE), limit)
        fit.append(rows_of(source.part("fit")))
        judge.append(rows_of(source.part("judge")))
        assert all(s.feed["scale"] == 2 for s in source.part("judge"))
    assert fit[0] == fit[1]
    assert judge[0] == judge[1] == list(range(1, min(30, limit), JUDGE_EVERY))
    assert sorted(fit[0] + judge[0]) == list(range(min(30, limit)))


@given(batches, limits)
def test_the_rows_of_the_parts_are_known_again_by_their_digests(tmp_path_factory, sizes, limit):
    folder = reader(tmp_path_factory)
    feeds = [{"x": rows} for rows in cut(30, sizes)]
    source = samples(folder, feeds, (X,), limit)

    def known(which):
        return [d for s in which for d in row_digests(s, (X,))]

    assert sorted(known(source.part("fit")) + known(source.part("judge"))) == sorted(known(source))


@given(st.integers(1, 12), limits, st.sampled_from([FIXED, SQUARE]))
def test_without_a_batch_axis_whole_samples_are_for_one_part(tmp_path_factory, count, limit, tensor):
    folder = reader(tmp_path_factory)
    width = 2 if tensor is SQUARE else 1
    feeds = [{"x": np.full((2, width), number)} for number in range(count)]
    source = samples(folder, feeds, (tensor,), limit)
    whole = rows_of(source)[::2]
    assert whole == list(range(min(count, -(-limit // 2))))
    assert rows_of(source.part("judge"))[::2] == whole[1::JUDGE_EVERY]
    assert rows_of(source.part("fit"))[::2] == [n for n in whole if n % JUDGE_EVERY != 1]


@given(batches, limits, st.integers(1, 5), st.sampled_from(["fit", "judge"]))
def test_shards_of_a_part_are_parts_of_a_shard_and_together_the_part(tmp_path_factory, sizes, limit, count, role):
    folder = reader(tmp_path_factory)
    feeds = [{"x": rows} for rows in cut(30, sizes)]
    part = samples(folder, feeds, (X,), limit).part(role)
    shards = [samples(folder, feeds, (X,), limit, shard=(i, count)) for i in range(1, count + 1)]
    assert sorted(r for s in shards for r in rows_of(s.part(role))) == rows_of(part)
    for shard in shards:
        assert sorted(rows_of(shard.part("fit")) + rows_of(shard.part("judge"))) == rows_of(shard)
