"""Calls stages through the store and keeps a record of each; stages know nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from trtbuild.artifacts import StageRecord
from trtbuild.console import Observer, Stopwatch
from trtbuild.store import Recipe, Store

T = TypeVar("T")


class Steps:
    """The stages of one build, as they are taken.

    Args:
        store: Where results are kept.
        observer: Told what happens.
    """

    def __init__(self, store: Store, observer: Observer) -> None:
        self.store = store
        self.observer = observer
        self.records: list[StageRecord] = []

    def take(
        self,
        name: str,
        kind: type[T],
        recipe: Callable[[], Recipe],
        make: Callable[[Path], T],
        say: Callable[[T], Sequence[str]],
    ) -> T:
        """One stage: its recipe, its result from the store or made now, its record."""
        watch = Stopwatch()
        self.observer.started(name)
        known = recipe()
        stored = self.store.get_or_make(known, kind, make)
        said = tuple(say(stored.artifact))
        self.records.append(StageRecord(name, stored.key, known.inputs, stored.hit, watch.seconds, said))
        self.observer.finished(name, hit=stored.hit, seconds=watch.seconds, said=said)
        return stored.artifact

    def rows(self, name: str, limit: int) -> Callable[[int], None]:
        """A progress callback for a stage that counts rows."""
        return lambda done: self.observer.progress(name, min(1.0, done / limit), f"{done} rows")
