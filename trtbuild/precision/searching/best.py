"""Precision ``best``: the search on a model, from its sensitivity and its judging rows to a front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from trtbuild import onnxfile
from trtbuild.artifacts import (
    CalibrationTable,
    Front,
    SensitivityTable,
    StoredFile,
    TargetRates,
    to_json,
)
from trtbuild.content import json_digest
from trtbuild.errors import IntegrityError
from trtbuild.feeds import Sample
from trtbuild.precision.lowering.fragile import Rest
from trtbuild.precision.lowering.opset import raise_opset
from trtbuild.precision.mixed import write_mixed
from trtbuild.precision.overrides import resolve_overrides
from trtbuild.precision.refining.refinement import Refinement, refine
from trtbuild.precision.refining.rounding import rounding_digest
from trtbuild.precision.searching.costs import costs_of
from trtbuild.precision.searching.floor import Floor
from trtbuild.precision.searching.judging import Judge
from trtbuild.precision.searching.search import Progress, search
from trtbuild.quantization import FORMATS, Fidelity, QuantizedWeight, place
from trtbuild.quantization.names import name_nodes

WEIGHTS = ("weight_clipping", "weight_rounding")
"""Refinements that change nothing but weights."""


def refine_weights(
    model: StoredFile | Path | str,
    table: CalibrationTable,
    samples: Iterable[Sample],
    *,
    fit: Iterable[Sample] = (),
    refinements: Sequence[str] = WEIGHTS,
) -> Refinement:
    """Tries what is done to weights alone, with every node in INT8: what a search then begins from.

    Args:
        model: The rewritten FP32 ONNX.
        table: Its calibration table.
        samples: Feeds that judge.
        fit: Feeds that weights are rounded on.
        refinements: Which of them to try; a bias stays as it is, for a node in FP16 reads it too.
    """
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    proto = onnxfile.load(stored.path)
    name_nodes(proto)
    return refine(proto, place(proto), table, samples, fit=fit, refinements=refinements)


def find_front(
    model: StoredFile | Path | str,
    sensitivity: SensitivityTable,
    table: CalibrationTable,
    samples: Iterable[Sample],
    floor: Floor,
    *,
    targets: Sequence[TargetRates],
    sizes: Mapping[str, int],
    rest: Rest = "fp16",
    overrides: Mapping[str, str] | None = None,
    clip_weights: bool = False,
    rounded: Mapping[str, QuantizedWeight] = MappingProxyType({}),
    journal: Path | None = None,
    time_budget_s: float | None = None,
    on_progress: Progress = lambda _runs, _what: None,
) -> Front:
    """Searches the cheapest precision of each node that holds a floor.

    Args:
        model: The rewritten FP32 ONNX.
        sensitivity: From ``measure``, of this model.
        table: Its calibration table.
        samples: Feeds that judge, ``Samples.part("judge")`` say: none that measured the sensitivity.
        floor: What must hold.
        targets: Figures of the targets.
        sizes: Size of each named axis that times are estimated at: the first profile's opt.
        rest: Precision of everything that is not quantised.
        overrides: Node name pattern to precision.
        clip_weights: Whether weights may be clipped, as for ``write_qdq``.
        rounded: As for ``write_qdq``, for nodes in INT8.
        journal: Where judgements are noted, so that a killed search goes on.
        time_budget_s: Seconds of judging after which the best graph so far is taken.
        on_progress: Told before each run.

    Raises:
        IntegrityError: Sensitivity or table belong to another graph.
        SpecError: An override matches no node, or asks for what cannot be.
        PrecisionError: The model's opset cannot be raised to what a format needs.
        FeedError: There is no judging sample.
    """
    stored = model if isinstance(model, StoredFile) else onnxfile.stored(Path(model))
    for what, graph in (("calibration table", table.graph), ("sensitivity", sensitivity.graph)):
        if graph != stored.digest:
            raise IntegrityError(
                f"the {what} belongs to another graph", place=str(stored.path), hint="make it from this one"
            )
    proto = onnxfile.load(stored.path)
    name_nodes(proto)
    placement = place(proto)
    costs = costs_of(proto, sizes, targets, rest)
    forced = resolve_overrides(overrides or {}, costs.work, placement)
    for kind in sorted({n.format for n in sensitivity.nodes} | set(forced.values())):
        if kind in FORMATS:
            raise_opset(proto, FORMATS[kind].opset, needed_for=kind)
    kept = list(samples)
    judge = Judge(
        lambda formats: (
            write_mixed(
                proto,
                placement,
                table,
                formats,
                rest,
                clip_weights=clip_weights,
                rounded={n: w for n, w in rounded.items() if formats.get(n) == "int8"},
            ).model
        ),
        Fidelity(proto, kept),
        floor,
        rows=sum(s.rows for s in kept),
        about=json_digest(
            [stored.digest, [s.digest for s in kept], rest, clip_weights, to_json(table), rounding_digest(rounded)]
        ),
        journal=journal,
    )
    return search(sensitivity, costs, judge, forced=forced, time_budget_s=time_budget_s, on_progress=on_progress)
