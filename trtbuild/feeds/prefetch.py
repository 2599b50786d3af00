"""Reads ahead in a thread, so that the next sample is decoded while the present one is run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator
from queue import Empty, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds that a consumer who stops early waits for the thread, which may be in the middle of one sample."""


class _End(Generic[T]):
    """Ends the line of items: with what the source raised, or with None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetched(source: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, up to ``depth`` of them made ahead in a thread.

    What the source raises is raised here, as the same object with its own traceback, after the items before it. When
    the consumer stops early (``close``, an exception, Ctrl-C) the thread makes at most the item it is at, closes the
    source and ends. The thread is a daemon: a source that never comes back does not keep the program alive.

    Args:
        source: Read in the thread, and only there, from its first item to its end.
        depth: Items to hold ready; below 1 there is no thread.
    """
    if depth < 1:
        yield from source
        return
    line: Queue[T | _End[T]] = Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(source, line, stopped), name="trtbuild-prefetch", daemon=True)
    try:
        thread.start()  # inside: Ctrl-C may come while it waits for the thread, which runs already
        while True:
            item = line.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        with contextlib.suppress(Empty):  # makes room: the thread may be waiting to put one item, and puts no other
            while True:
                line.get_nowait()
        with contextlib.suppress(RuntimeError):  # it did not get as far as starting
            thread.join(PATIENCE)


def _fill(source: Iterator[T], line: Queue[T | _End[T]], stopped: threading.Event) -> None:
    end: _End[T] = _End(None)
    try:
        for item in source:
            line.put(item)
            if stopped.is_set():
                break
    except BaseException as error:  # noqa: BLE001 - all of it is the consumer's, an interrupt too
        end = _End(error)
    if stopped.is_set():
        with contextlib.suppress(Exception):  # nobody is left to hear of it
            getattr(source, "close", lambda: None)()
        return
    line.put(end)
