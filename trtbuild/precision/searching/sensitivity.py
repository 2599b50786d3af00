"""How much each node's quantisation harms the outputs.

``exact`` quantises one node at a time and runs the model. ``fast`` attributes the error of one run with all of them
quantised (see ``attribution``). Noise powers of nodes add up, about: in INT8 the exact ones sum to 1.02 of what
quantising all nodes does on MiniLM (24 linear nodes), to 4.6 of it on a text direction classifier (a CNN of 54 nodes),
where errors cancel. The fast figures rank nodes like the exact ones with a Spearman correlation of 0.78 on the one and
0.86 on the other. Single ones are off by a factor of up to 20 and 67: they order a search, and tell nobody what a node
does alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from trtbuild import onnxfile
from trtbuild.artifacts import CalibrationTable, NodeSensitivity, SensitivityTable, StoredFile
from trtbuild.content import json_digest
from trtbuild.errors import IntegrityError, UsageError
from trtbuild.feeds import Sample
from trtbuild.precision.lowering.opset import raise_opset
from trtbuild.precision.refining.rounding import rounding_digest
from trtbuild.precision.searching.attribution import attribute
from trtbuild.precision.searching.costs import NodeWork, matrix_work
from trtbuild.precision.searching.journal import Journal
from trtbuild.precision.thresholds import ranges_for
from trtbuild.quantization import FORMATS, Fidelity, FormatName, Placement, QuantizedWeight, place, write_qdq
from trtbuild.quantization.fidelity import noise_of, sqnr_of
from trtbuild.quantization.names import name_nodes
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    from onnx import ModelProto

How = Literal["fast", "exact"]
Progress = Callable[[int, int, str], None]
"""Told how many measurements are done, of how many, and which node is next."""


def measure(
    model: StoredFile | Path | str,
    table: CalibrationTable,
    samples: Iterable[Sample],
    *,
    how: How = "fast",
    formats: Sequence[FormatName] = ("int8",),
    sizes: Mapping[str, int] | None = None,
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = MappingProxyType({}),
    journal: Path | None = None,
    time_budget_s: float | None = None,
    on_progress: Progress = lambda _done, _all, _node: None,
) -> SensitivityTable:
    """Measures the sensitivity of every node that can be quantised.

    Args:
        model: The rewritten FP32 ONNX.
        table: Its calibration table.
        samples: Feeds to measure on; not those that judge what is chosen from the figures, ``Samples.part("fit")`` say.
            A few dozen rows do.
        how: ``fast`` or ``exact``.
        formats: What the nodes may be stored in.
        sizes: Size of each named axis, for the nodes' work; 1 when left out.
        clip_weights: Whether weights may be clipped, as for ``write_qdq``.
        rounded: As for ``write_qdq``, for nodes in INT8.
        journal: Where exact measurements are noted one by one; those in it are not made again.
        time_budget_s: Seconds of exact measuring, those noted in the journal by earlier runs included. What is left
            unmeasured then is named in ``left_out``.
        on_progress: Told before each measurement.

    Raises:
        IntegrityError: The table belongs to another graph.
        FeedError: There is no sample.
        OutputError: The journal cannot be written.
    """
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    if table.graph != stored.digest:
        raise IntegrityError(
            "the calibration table belongs to another graph", place=str(stored.path), hint="calibrate this one"
        )
    proto = onnxfile.load(stored.path)
    name_nodes(proto)
    placement = place(proto)
    kept = list(samples)
    fidelity = Fidelity(proto, kept)
    data = json_digest([s.digest for s in kept])
    work = matrix_work(proto, sizes or {})
    for kind in formats:
        raise_opset(proto, FORMATS[kind].opset, needed_for=kind)
    run = _Run(proto, placement, table, fidelity, work, data, rounded, clip_weights=clip_weights)
    left: tuple[str, ...] = ()
    nodes: list[NodeSensitivity] = []
    if how == "fast":
        for number, kind in enumerate(formats):
            on_progress(number, len(formats), f"all nodes in {kind}")
            nodes += _fast(run, kind, kept)
    else:
        nodes, left = _exact(run, formats, Journal(journal) if journal else None, time_budget_s, on_progress)
    notes = [f"the time budget left {len(left)} nodes unmeasured: they stay in a higher precision"] if left else []
    rows = sum(s.rows for s in kept)
    return SensitivityTable(stored.digest, data, how, rows, tuple(nodes), left, tuple(notes))


class _Run:
    """What all measurements share."""

    def __init__(
        self,
        model: ModelProto,
        placement: Placement,
        table: CalibrationTable,
        fidelity: Fidelity,
        work: Mapping[str, NodeWork],
        data: str,
        rounded: Mapping[str, QuantizedWeight],
        *,
        clip_weights: bool,
    ) -> None:
        self.model, self.placement, self.fidelity = model, placement, fidelity
        self._table, self._work, self._data, self._clip = table, work, data, clip_weights
        self._rounded = rounded
        self.ops = {n.node: n.op for n in placement.nodes}

    def key(self, node: str, kind: FormatName) -> str:
        """All that a measurement depends on."""
        alone = self.placement.only([node])
        amax = self.amax([node], kind)
        digest = rounding_digest({n: w for n, w in self._rounded.items() if n == node and kind == "int8"})
        ranges = {t: amax.get(t) for t in alone.tensors}
        return json_digest([self._table.graph, self._data, node, kind, ranges, self._clip, digest])

    def amax(self, nodes: Sequence[str], kind: FormatName) -> dict[str, float]:
        """Largest |x| to keep of each activation where some nodes are stored in a format."""
        return ranges_for(self._table, self.placement.only(nodes), dict.fromkeys(nodes, kind))[0]

    def written(self, nodes: Sequence[str], kind: FormatName) -> ModelProto:
        """The model with some nodes quantised."""
        places = self.placement.only(nodes)
        rounded = self._rounded if kind == "int8" else {}
        return write_qdq(
            self.model, places, self.amax(nodes, kind), formats=kind, clip_weights=self._clip, rounded=rounded
        )

    def noise(self, nodes: Sequence[str], kind: FormatName) -> float:
        """Error power over signal power of the worst output with some nodes quantised."""
        return noise_of(self.fidelity.sqnr_db(self.written(nodes, kind)))

    def entry(self, node: str, kind: str, noise: float, seconds: float) -> NodeSensitivity:
        work = self._work[node]
        return NodeSensitivity(
            node, self.ops[node], kind, noise, sqnr_of(noise), work.macs, work.weight_bytes(kind), seconds
        )


def _exact(
    run: _Run, formats: Sequence[FormatName], journal: Journal | None, budget_s: float | None, on_progress: Progress
) -> tuple[list[NodeSensitivity], tuple[str, ...]]:
    wanted = [(node, kind) for node in run.ops for kind in formats]
    known = {pair: journal.get(run.key(*pair)) if journal is not None else None for pair in wanted}
    spent = sum(float(entry["seconds"]) for entry in known.values() if entry)
    found: list[NodeSensitivity] = []
    left: list[str] = []
    for number, pair in enumerate(wanted):
        entry = known[pair]
        if entry is None:
            if budget_s is not None and spent >= budget_s:
                left.append(pair[0])
                continue
            on_progress(number, len(wanted), pair[0])
            started = time.monotonic()
            noise = run.noise([pair[0]], pair[1])
            entry = {"node": pair[0], "format": pair[1], "noise": noise, "seconds": time.monotonic() - started}
            spent += float(entry["seconds"])
            if journal is not None:
                journal.add(run.key(*pair), entry)
        found.append(run.entry(*pair, float(entry["noise"]), float(entry["seconds"])))
    return found, tuple(dict.fromkeys(left))


def _fast(run: _Run, kind: FormatName, samples: Sequence[Sample]) -> list[NodeSensitivity]:
    started = time.monotonic()
    whole = run.written([*run.ops], kind)
    parts = attribute(run.model, run.placement, whole, [s.feed for s in samples])
    seconds = (time.monotonic() - started) / max(len(parts), 1)
    return [run.entry(node, kind, noise, seconds) for node, noise in parts.items()]


def hold_formats(words: Sequence[str]) -> list[FormatName]:
    """The formats that words name, each once.

    Raises:
        UsageError: There is no such format.
    """
    for word in words:
        if word not in FORMATS:
            raise UsageError(f"there is no format {word!r}", place="format", hint=nearest_hint(word, FORMATS))
    return [FORMATS[word].name for word in dict.fromkeys(words)]


def table_rows(table: SensitivityTable) -> list[tuple[str, ...]]:
    """The table for a person, the most harmful node first."""
    whole = sum({n.node: n.macs for n in table.nodes}.values()) or 1
    harm = {kind: sum(n.noise for n in table.nodes if n.format == kind) or 1.0 for kind in _formats(table)}
    rows: list[tuple[str, ...]] = [("node", "op", "format", "SQNR alone", "harm", "MACs", "weight")]
    rows += [
        (
            n.node,
            n.op,
            n.format,
            f"{n.sqnr_db:.1f} dB",
            f"{n.noise / harm[n.format]:6.1%}",
            f"{n.macs / whole:6.1%}",
            f"{n.weight_bytes / 1024:.0f} KiB",
        )
        for n in sorted(table.nodes, key=lambda n: -n.noise)
    ]
    return rows


def _formats(table: SensitivityTable) -> list[str]:
    return list(dict.fromkeys(n.format for n in table.nodes))
