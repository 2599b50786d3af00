"""What a config is held against, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from trtbuild.artifacts import EnginePlan


class Problem(NamedTuple):
    """One fault: the field, what is wrong, what to do."""

    field: str
    message: str
    hint: str


@dataclass(frozen=True)
class Premises:
    """What is known around a config.

    Attributes:
        folder: Name of the model's folder; None where it has none yet.
        files: Paths inside the folder, such as ``1/model.plan``; None where they are not known.
        plan: The plan that it serves; None where nothing describes one.
    """

    folder: str | None = None
    files: frozenset[str] | None = None
    plan: EnginePlan | None = None

    @property
    def versions(self) -> frozenset[int]:
        """The version folders that there are."""
        tops = {file.partition("/")[0] for file in self.files or () if "/" in file}
        return frozenset(int(top) for top in tops if top.isdigit())
