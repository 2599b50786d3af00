"""Optimisation profiles by axis name: reading them, and holding them against a model's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.errors import SpecError
from trtbuild.registry import nearest_hint
from trtbuild.shipped import shipped_folder


def _sizes(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value, value, value]
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(v, int) for v in value):
        raise ValueError("give three whole numbers, [min, opt, max], or one for an axis that never changes")
    low, opt, high = value
    if not 1 <= low <= opt <= high:
        ordered = ", ".join(str(v) for v in sorted(max(v, 1) for v in value))
        raise ValueError(f"min <= opt <= max does not hold for [{low}, {opt}, {high}]; write [{ordered}]")
    return tuple(value)


Sizes = Annotated[tuple[int, int, int], BeforeValidator(_sizes)]
Profile = dict[str, Sizes]
"""Axis name to [min, opt, max]."""


def shipped_profile(name: str) -> dict[str, tuple[int, int, int]]:
    """A profile that ships with trtbuild, by name."""
    from trtbuild.spec.yamlfile import read_yaml

    folder = shipped_folder("profiles") / "shapes"
    names = sorted(f.stem for f in folder.glob("*.yaml"))
    if name not in names:
        raise SpecError(f"there is no shipped profile {name!r}", place="profiles", hint=nearest_hint(name, names))
    document = read_yaml(folder / f"{name}.yaml")
    return {axis: _sizes(list(sizes)) for axis, sizes in document["axes"].items()}


def check_profiles(inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile], place: str) -> None:
    """Every dynamic axis has sizes in every profile, and no profile names an axis that does not exist.

    Raises:
        SpecError: With the line to paste.
    """
    axes = sorted({d for t in inputs for d in t.shape if isinstance(d, str)})
    if axes and not profiles:
        line = "profiles: [{" + ", ".join(f"{a}: [1, 8, 32]" for a in axes) + "}]"
        raise SpecError(
            f"the model has dynamic axes ({', '.join(axes)}) and the spec no optimisation profile",
            place=place,
            hint=f"add a line such as   {line}",
        )
    for number, profile in enumerate(profiles):
        for axis in profile.axes:
            if axis not in axes:
                raise SpecError(
                    f"profile {number} gives sizes to {axis!r}, which is no axis of the inputs",
                    place=place,
                    hint=nearest_hint(axis, axes) if axes else "no input has a dynamic axis: leave profiles out",
                )
        missing = [axis for axis in axes if axis not in profile.axes]
        if missing:
            raise SpecError(
                f"profile {number} has no sizes for axis {missing[0]!r}",
                place=place,
                hint=f"add   {missing[0]}: [1, 8, 32]   to it: min, opt, max",
            )
