"""The stages that settle precision: what each one's key is made of, and its call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from trtbuild import calibration, precision, reporting
from trtbuild.artifacts import (
    CALIBRATED,
    CalibrationTable,
    EqualizedOnnx,
    Front,
    OptimizationProfile,
    RewrittenOnnx,
    StoredFile,
    TypedOnnx,
    to_json,
)
from trtbuild.content import json_digest
from trtbuild.errors import AccuracyError
from trtbuild.feeds import Samples
from trtbuild.recipes.keys import as_json
from trtbuild.spec import Spec
from trtbuild.steps import Steps
from trtbuild.store import Recipe, code_digest, toolchain

SENSITIVITY_ROWS = 64
"""Rows that the sensitivity of nodes is measured on: of those that calibrate, not of those that judge."""


@dataclass(frozen=True)
class CalibrationData:
    """The calibration samples, and their digest, which reads them once however many keys it is in."""

    samples: Samples

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the samples."""
        return self.samples.digest()


def calibration_data(
    spec: Spec, rewritten: RewrittenOnnx, profiles: tuple[OptimizationProfile, ...]
) -> CalibrationData | None:
    """The calibration samples; None without a calibration block, or where the precision asks for none."""
    asked = spec.calibration
    if asked is None or spec.precision in ("fp32", "tf32"):
        return None
    return CalibrationData(
        Samples(asked.reader, rewritten.inputs, spec.folder, asked.samples, asked.args, profiles, spec.ranges(), seed=0)
    )


def equalize(steps: Steps, spec: Spec, rewritten: RewrittenOnnx, data: CalibrationData | None) -> EqualizedOnnx | None:
    """Balances channels for INT8; nothing where no transform is asked for."""
    asked = spec.calibration
    wanted = [name for name in asked.transforms if name in calibration.TRANSFORMS.names()] if asked else []
    if data is None or spec.precision not in ("int8", "best") or not wanted or data.samples.synthetic:
        return None
    return steps.take(
        "equalize",
        EqualizedOnnx,
        lambda: Recipe(
            "equalize",
            code_digest(calibration.__name__),
            {"model": rewritten.model.digest, "data": data.digest},
            {"transforms": wanted},
            toolchain(*calibration.PACKAGES),
        ),
        lambda folder: calibration.equalize(
            rewritten.model,
            data.samples,
            folder,
            transforms=wanted,
            on_transform=lambda name: steps.observer.progress("equalize", None, f"trying {name}"),
        ),
        reporting.said.equalize,
    )


def calibrate(steps: Steps, spec: Spec, model: StoredFile, data: CalibrationData | None) -> CalibrationTable | None:
    """Measures ranges: with thresholds where activations are quantised, smallest and largest values of all tensors."""
    asked = spec.calibration
    if asked is None or data is None:
        return None
    quantises = spec.precision in (*CALIBRATED, "best") or any(
        p in CALIBRATED for p in spec.precision_overrides.values()
    )
    method = asked.method if quantises else "minmax"
    apart = bool(asked.transforms) or spec.precision == "best"

    def recipe() -> Recipe:
        steps.observer.progress("calibrate", None, "reading samples")
        return Recipe(
            "calibrate",
            code_digest(calibration.__name__),
            {"model": model.digest, "data": data.digest},
            {"method": method, "synthetic": data.samples.synthetic, "quantises": quantises, "apart": apart},
            toolchain(*calibration.PACKAGES),
        )

    table = steps.take(
        "calibrate",
        CalibrationTable,
        recipe,
        lambda _folder: calibration.calibrate(
            model,
            data.samples,
            method=method,
            tensors=None if quantises else (),
            ranges=calibration.every_float_tensor(model),
            keep_apart=apart,
            budget_mb=asked.budget_mb,
            on_sample=steps.rows("calibrate", asked.samples),
        ),
        reporting.said.calibrate,
    )
    if table.synthetic:
        steps.observer.note("calibrated on random data: the ranges mean nothing for real inputs")
    return table


def search(
    steps: Steps,
    spec: Spec,
    model: StoredFile,
    table: CalibrationTable | None,
    data: CalibrationData | None,
    profiles: tuple[OptimizationProfile, ...],
) -> Front | None:
    """Searches the cheapest precision of each node that holds the accuracy floor; only for precision ``best``."""
    floor = spec.accuracy
    if spec.precision != "best" or table is None or data is None or floor is None or floor.min is None:
        return None
    wanted = [name for name in spec.calibration.transforms if name in precision.WEIGHTS] if spec.calibration else []
    held = precision.Floor("cosine" if floor.metric == "cosine" else "sqnr", floor.min)
    rates = [fields.rates() for fields in spec.targets]
    sizes = {axis: r.opt for axis, r in profiles[0].axes.items()} if profiles else {}
    known = Recipe(
        "search",
        code_digest(precision.__name__),
        {"model": model.digest, "table": json_digest(to_json(table)), "data": data.digest},
        {
            "floor": [held.metric, held.min],
            "targets": as_json(rates),
            "profiles": as_json(profiles),
            "rest": spec.rest,
            "overrides": dict(spec.precision_overrides),
            "exact": spec.search.exact,
            "refinements": wanted,
            "time_budget_s": spec.search.time_budget_s,
        },
        toolchain(*precision.PACKAGES),
    )
    unlimited = {name: value for name, value in known.parameters.items() if name != "time_budget_s"}
    journal = steps.store.journal(replace(known, parameters=unlimited))  # a larger budget goes on from a smaller one

    whole_budget = spec.search.time_budget_s
    budget = whole_budget / 2 if whole_budget and spec.search.exact else whole_budget  # half to measure, half to judge

    def make(_folder: object) -> Front:
        whole = data.samples.part("fit")
        refined = precision.refine_weights(model, table, data.samples.part("judge"), fit=whole, refinements=wanted)
        fit = replace(whole, limit=min(data.samples.limit, SENSITIVITY_ROWS))
        found = precision.measure(
            model,
            table,
            fit,
            how="exact" if spec.search.exact else "fast",
            sizes=sizes,
            clip_weights=refined.clip_weights,
            rounded=refined.rounded,
            journal=journal,
            time_budget_s=budget if spec.search.exact else None,
            on_progress=lambda done, whole, node: steps.observer.progress("search", 0.5 * done / whole, node),
        )
        front = precision.find_front(
            model,
            found,
            table,
            data.samples.part("judge"),
            held,
            targets=rates,
            sizes=sizes,
            rest=spec.rest,
            overrides=spec.precision_overrides,
            clip_weights=refined.clip_weights,
            rounded=refined.rounded,
            journal=journal,
            time_budget_s=budget,
            on_progress=lambda runs, what: steps.observer.progress("search", None, f"run {runs}: {what}"),
        )
        return replace(front, tried=refined.tried, sensitivity=found)

    front = steps.take("search", Front, lambda: known, make, reporting.said.search)
    if front.chosen is None:
        best = front.points[-1] if front.points else None
        reached = f"; the best of {front.runs} graphs came to {best.cosine}" if best and best.cosine is not None else ""
        raise AccuracyError(
            f"no graph in {spec.rest} and lower holds {front.metric} >= {front.min} on {front.judged_on} rows{reached}",
            place="search",
            hint="lower accuracy.min, give calibration more rows, or take rest: fp32",
        )
    return front


def assign_precision(
    steps: Steps,
    spec: Spec,
    model: StoredFile,
    table: CalibrationTable | None,
    front: Front | None,
    data: CalibrationData | None,
    profiles: tuple[OptimizationProfile, ...],
    *,
    name: str = "assign precision",
) -> TypedOnnx:
    """Writes the precision into the graph; ``name`` is what the step is called."""
    fallback = spec.build.allow_precision_fallback
    chosen = precision.assignment_of(front, front.chosen) if front is not None and front.chosen is not None else {}
    wanted = [name for name in spec.calibration.transforms if name in precision.REFINEMENTS] if spec.calibration else []
    judge = data.samples if data is not None and spec.calibration is not None and not data.samples.synthetic else None

    def recipe() -> Recipe:
        inputs = {"model": model.digest}
        if table is not None:
            inputs["table"] = json_digest(to_json(table))
        return Recipe(
            "assign precision",
            code_digest(precision.__name__),
            inputs,
            {
                "precision": spec.precision,
                "rest": spec.rest,
                "io": spec.io,
                "overrides": dict(spec.precision_overrides),
                "assignment": dict(chosen),
                "refinements": wanted,
                "clips": front is not None and front.clips_weights,
                "rounds": front is not None and front.rounds_weights,
                "profiles": as_json(profiles),
                "fallback": fallback,
            },
            toolchain(*precision.PACKAGES),
        )

    return steps.take(
        name,
        TypedOnnx,
        recipe,
        lambda folder: precision.assign_precision(
            model,
            folder,
            precision=spec.precision,
            table=table,
            profiles=profiles,
            rest=spec.rest,
            io=spec.io,
            overrides=spec.precision_overrides,
            assignment=chosen,
            judge=judge.part("judge") if judge is not None else (),
            fitting=judge.part("fit") if judge is not None else (),
            refinements=wanted if front is None else (),
            clip_weights=front is not None and front.clips_weights,
            rounds_weights=front is not None and front.rounds_weights,
            allow_fallback=fallback,
        ),
        reporting.said.assign_precision,
    )
