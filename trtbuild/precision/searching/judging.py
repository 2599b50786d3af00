"""Runs the graphs that a search tries, once each, and notes what they came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trtbuild.content import json_digest
from trtbuild.precision.searching.floor import Floor, Judged, judged
from trtbuild.precision.searching.journal import Journal
from trtbuild.quantization import Fidelity

if TYPE_CHECKING:
    from onnx import ModelProto


class Judge:
    """Judges assignments of formats to nodes on rows that chose nothing.

    Args:
        write: Makes the typed graph of an assignment.
        fidelity: The judging rows.
        floor: What is asked of a graph.
        rows: How many rows they are.
        about: Digest of all else that a judgement depends on: graph, table, rows, precision of the rest.
        journal: Where judgements are noted; those in it are not made again.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, str]], ModelProto],
        fidelity: Fidelity,
        floor: Floor,
        *,
        rows: int,
        about: str = "",
        journal: Path | None = None,
    ) -> None:
        self.floor, self.rows = floor, rows
        self.runs = 0
        self.seconds = 0.0  # of all judgements, those of earlier runs included
        self._write, self._fidelity, self._about = write, fidelity, about
        self._journal = Journal(journal) if journal else None
        self._known: dict[str, Judged] = {}

    def __call__(self, formats: Mapping[str, str]) -> Judged:
        """What an assignment comes to."""
        key = json_digest([self._about, asdict(self.floor), sorted(formats.items())])
        if key not in self._known:
            entry = self._journal.get(key) if self._journal is not None else None
            if entry is None:
                started = time.monotonic()
                found = judged(self._fidelity.rows(self._write(formats)), self.floor)
                entry = {**asdict(found), "seconds": time.monotonic() - started}
                if self._journal is not None:
                    self._journal.add(key, entry)
            self.runs += 1
            self.seconds += float(entry["seconds"])
            self._known[key] = Judged(entry["sqnr_db"], entry["cosine"], entry["bound"])
        return self._known[key]

    def holds(self, found: Judged) -> bool:
        """Whether a judgement holds the floor with its margin."""
        return found.bound >= self.floor.min
