import os
import signal
import threading

import pytest

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import FeedError
from trtbuild.feeds import Samples
from trtbuild.feeds.prefetch import prefetched

X = TensorSpec("x", "float32", ("batch", 3))
LONG = 30  # seconds after which a hung test fails; nothing waits for it when all is well


def readers():
    return [t for t in threading.enumerate() if t.name == "trtbuild-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for thread in readers():
        thread.join(LONG)
    assert readers() == []


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
def test_items_come_in_order_and_all_of_them(depth):
    assert list(prefetched(iter(range(20)), depth)) == list(range(20))
    assert list(prefetched(iter(()), depth)) == []


def test_the_source_is_read_ahead_but_no_further_than_the_depth():
    made, waiting = [], threading.Semaphore(0)

    def source():
        for item in range(10):
            made.append(item)
            waiting.release()
            yield item

    items = prefetched(source(), 2)
    assert next(items) == 0
    for _ in range(4):  # the one taken, two held ready, and one that waits to be put
        assert waiting.acquire(timeout=LONG)
    assert made == [0, 1, 2, 3]
    assert not waiting.acquire(timeout=0.05)
    items.close()


def test_nothing_is_read_before_the_first_item_is_asked_for():
    made = []
    items = prefetched((made.append(i) for i in range(3)), 2)
    assert made == []
    assert readers() == []
    items.close()
    assert made == []


@pytest.mark.parametrize("depth", [0, 2])
def test_what_the_source_raises_comes_after_the_items_before_it(depth):
    error = KeyError("gone")

    def source():
        yield 1
        yield 2
        raise error

    items = prefetched(source(), depth)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError) as caught:
        next(items)
    assert caught.value is error
    assert caught.traceback[-1].name == "source"
    assert list(items) == []


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_consumer_who_stops_early_closes_the_source_in_its_thread(depth):
    closed, read_in = [], []

    def source():
        try:
            for item in range(10**9):
                read_in.append(threading.current_thread())
                yield item
        finally:
            closed.append(threading.current_thread())

    items = prefetched(source(), depth)
    assert next(items) == 0
    items.close()
    assert len(closed) == 1
    assert set(read_in) == set(closed)
    assert (closed[0] is threading.main_thread()) == (depth == 0)
    assert readers() == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_the_thread_ends_when_the_consumer_is_interrupted(raised):
    def consume():
        for item in prefetched(iter(range(10**9)), 2):
            if item == 5:
                raise raised

    with pytest.raises(raised):
        consume()


def test_ctrl_c_reaches_a_consumer_that_waits_for_its_source(monkeypatch):
    monkeypatch.setattr("trtbuild.feeds.prefetch.PATIENCE", 0.01)
    release = threading.Event()

    def source():
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(LONG)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
    items = prefetched(source(), 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(items)
        assert not release.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()


def test_a_source_that_never_comes_back_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("trtbuild.feeds.prefetch.PATIENCE", 0.01)
    release = threading.Event()

    def source():
        yield 1
        release.wait(LONG)
        yield 2

    items = prefetched(source(), 1)
    assert next(items) == 1
    items.close()  # comes back although the source does not
    assert [t.daemon for t in readers()] == [True]
    release.set()


def test_samples_are_read_in_a_thread_unless_asked_not_to(tmp_path):
    (tmp_path / "own.py").write_text(
        "import threading, numpy as np\n"
        "def batches(seen):\n"
        "    seen.append(threading.current_thread().name)\n"
        "    yield {'x': np.ones((1, 3), 'f')}\n"
    )
    seen = []
    for prefetch in (2, 0):
        list(Samples("own.py:batches", (X,), tmp_path, 9, {"seen": seen}, prefetch=prefetch))
    assert seen == ["trtbuild-prefetch", threading.main_thread().name]


def test_the_users_file_and_line_come_through_the_thread(tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy as np\ndef batches():\n    yield {'x': np.ones((1, 3), 'f')}\n    raise OSError('no disk')\n"
    )
    samples = iter(Samples("own.py:batches", (X,), tmp_path, 9))
    assert next(samples).rows == 1
    with pytest.raises(FeedError, match=r"OSError: no disk \(raised at .*own.py:4\)"):
        next(samples)
