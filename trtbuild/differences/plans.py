"""What changed between two plans, from their descriptions and first bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtbuild.artifacts import Change, Difference, EngineLayers, OptimizationProfile, TensorSpec
from trtbuild.differences.graphs import interface_changes
from trtbuild.differences.kernels import kernel_changes

_COARSE = ("fp32", "bf16", "fp16", "int8_weights", "fp8", "int8", "int4", "fp4")
"""Precisions from the coarse to the fine: a node that goes back in it has lost something."""


@dataclass(frozen=True)
class PlanFile:
    """What is known of a plan without loading it.

    Attributes:
        sha256: Digest of its bytes.
        size: Bytes.
        backend: The TensorRT flavour that its first bytes name.
        version: Its version.
        compute_capabilities: What it is built for.
        described: Whether more than that is known: what its build wrote is still there.
        precision: What was asked for.
        inputs: Inputs, dynamic axes by name.
        outputs: Outputs.
        profiles: Optimisation profiles in the plan's order.
        layers: The kernels.
        work: Shares of the matrix work by precision.
        nodes: Matrix node to the precision its kernel runs in; None where only the kernels say it.
        onnx: Digest of the ONNX it was compiled from; empty where nothing says it.
        options: Build options that were asked for; None where nothing says them.
    """

    sha256: str
    size: int
    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    described: bool = False
    precision: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    profiles: tuple[OptimizationProfile, ...] = ()
    layers: EngineLayers = EngineLayers()  # noqa: RUF009  frozen
    work: Mapping[str, float] = field(default_factory=dict)
    nodes: Mapping[str, str] | None = None
    onnx: str = ""
    options: Mapping[str, Any] | None = None


def diff_plans(before: PlanFile, after: PlanFile) -> Difference:
    """Compares two plans: what they do, then how, then what they are.

    Args:
        before: The first plan.
        after: The second plan.
    """
    if before.sha256 == after.sha256:
        return Difference("plan", before.sha256, after.sha256, ())
    changes: list[Change] = []
    notes: tuple[str, ...] = ()
    if before.described and after.described:
        changes += _described(before, after)
        if not (before.layers.detailed and after.layers.detailed):
            notes = ("the kernels of one of them are not known: they were not compared",)
    else:
        notes = ("one of them has no description: only the first bytes and the sizes were compared",)
    changes += _header(before, after)
    if before.size != after.size:
        changes.append(Change("bytes", "", before.size, after.size))
    return Difference("plan", before.sha256, after.sha256, tuple(changes), notes)


def _described(old: PlanFile, new: PlanFile) -> Iterator[Change]:
    yield from interface_changes(old.inputs, new.inputs, "input")
    yield from interface_changes(old.outputs, new.outputs, "output")
    by_node = old.nodes is not None and new.nodes is not None
    yield from _precisions(old.nodes or {}, new.nodes or {}) if by_node else ()
    yield from _shares(old.work, new.work)
    yield from kernel_changes(old.layers, new.layers, typed=not by_node)
    yield from _profiles(old.profiles, new.profiles)
    if old.precision != new.precision:
        yield Change("precision", "", old.precision, new.precision)
    if old.onnx and new.onnx and old.onnx != new.onnx:
        yield Change("compiled onnx", "", old.onnx[:16], new.onnx[:16])
    if old.options is not None and new.options is not None:
        for name in dict.fromkeys((*old.options, *new.options)):
            if old.options.get(name) != new.options.get(name):
                yield Change("option", name, old.options.get(name), new.options.get(name))


def _precisions(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """Matrix nodes whose kernels run in another precision; those that lost most first."""
    every = [Change("node precision", name, old.get(name), new.get(name)) for name in dict.fromkeys((*old, *new))]
    changed = [change for change in every if change.before != change.after]
    yield from sorted(changed, key=lambda c: _finer(c.after) - _finer(c.before))


def _finer(precision: str | None) -> int:
    return _COARSE.index(precision) if precision in _COARSE else -1


def _shares(old: Mapping[str, float], new: Mapping[str, float]) -> Iterator[Change]:
    for precision in dict.fromkeys((*old, *new)):
        a, b = (round(shares.get(precision, 0.0), 6) for shares in (old, new))
        if a != b:
            yield Change("matrix work", precision, a, b)


def _profiles(old: Sequence[OptimizationProfile], new: Sequence[OptimizationProfile]) -> Iterator[Change]:
    for number in range(max(len(old), len(new))):
        a, b = (_ranges(side[number]) if number < len(side) else None for side in (old, new))
        if a != b:
            yield Change("profile", f"profile {number}", a, b)


def _ranges(profile: OptimizationProfile) -> dict[str, list[int]]:
    return {axis: [r.min, r.opt, r.max] for axis, r in sorted(profile.axes.items())}


def _header(before: PlanFile, after: PlanFile) -> Iterator[Change]:
    """Target and version, by the first bytes."""
    capabilities = [", ".join(side.compute_capabilities) or "not known" for side in (before, after)]
    if capabilities[0] != capabilities[1]:
        yield Change("target", "", capabilities[0], capabilities[1])
    versions = [f"{side.backend} {side.version}" for side in (before, after)]
    if versions[0] != versions[1]:
        yield Change("version", "", versions[0], versions[1])
