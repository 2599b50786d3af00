"""What changed between two plans, from their descriptions and first bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trtbuild.artifacts import Change, Difference, EnginePlan, OptimizationProfile
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
        compute_capabilities: What it is built for, as far as its first bytes say.
        description: What compile wrote beside it; None where that is gone.
    """

    sha256: str
    size: int
    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    description: EnginePlan | None


def diff_plans(before: PlanFile, after: PlanFile) -> Difference:
    """Compares two plans: what they do, then how, then what they are.

    Args:
        before: The first plan.
        after: The second plan.
    """
    if before.sha256 == after.sha256:
        return Difference("plan", before.sha256, after.sha256, ())
    old, new = before.description, after.description
    changes: list[Change] = []
    notes: tuple[str, ...] = ()
    if old is not None and new is not None:
        changes += _described(old, new)
        if not (old.layers.detailed and new.layers.detailed):
            notes = ("the kernels of one of them are not known: they were not compared",)
    else:
        notes = ("one of them has no description beside it: only the first bytes and the sizes were compared",)
    changes += _header(before, after)
    if before.size != after.size:
        changes.append(Change("bytes", "", before.size, after.size))
    return Difference("plan", before.sha256, after.sha256, tuple(changes), notes)


def _described(old: EnginePlan, new: EnginePlan) -> Iterator[Change]:
    yield from interface_changes(old.inputs, new.inputs, "input")
    yield from interface_changes(old.outputs, new.outputs, "output")
    yield from _precisions(old, new)
    yield from _shares(old, new)
    yield from kernel_changes(old.layers, new.layers)
    yield from _profiles(old.profiles, new.profiles)
    for topic, a, b in (
        ("precision", old.precision, new.precision),
        ("compiled onnx", old.onnx[:16], new.onnx[:16]),
        ("version", f"{old.target.backend} {old.backend_version}", f"{new.target.backend} {new.backend_version}"),
    ):
        if a != b:
            yield Change(topic, "", a, b)
    for name in dict.fromkeys((*old.options, *new.options)):
        if old.options.get(name) != new.options.get(name):
            yield Change("option", name, old.options.get(name), new.options.get(name))


def _precisions(old: EnginePlan, new: EnginePlan) -> Iterator[Change]:
    """Matrix nodes whose kernels run in another precision; those that lost most first."""
    nodes = [
        (old.work.nodes.get(n), new.work.nodes.get(n), n) for n in dict.fromkeys((*old.work.nodes, *new.work.nodes))
    ]
    changed = [Change("node precision", name, a, b) for a, b, name in nodes if a != b]
    yield from sorted(changed, key=lambda c: _finer(c.after) - _finer(c.before))


def _finer(precision: str | None) -> int:
    return _COARSE.index(precision) if precision in _COARSE else -1


def _shares(old: EnginePlan, new: EnginePlan) -> Iterator[Change]:
    for precision in dict.fromkeys((*old.work.shares, *new.work.shares)):
        a, b = (round(plan.work.shares.get(precision, 0.0), 6) for plan in (old, new))
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
    """Target and version by the first bytes; the version where no description has said it."""
    capabilities = [_built_for(side) for side in (before, after)]
    if capabilities[0] != capabilities[1]:
        yield Change("target", "", capabilities[0], capabilities[1])
    versions = [f"{side.backend} {side.version}" for side in (before, after)]
    if versions[0] != versions[1] and (before.description is None or after.description is None):
        yield Change("version", "", versions[0], versions[1])


def _built_for(side: PlanFile) -> str:
    said = side.compute_capabilities
    if not said and side.description is not None:
        said = (side.description.target.compute_capability,)
    return ", ".join(said) or "not known"
