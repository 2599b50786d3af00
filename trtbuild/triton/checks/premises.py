"""What a config is held against, and what is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trtbuild.artifacts import EnginePlan
from trtbuild.triton.messages import ModelConfig


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
        others: Name of every model of the repository to its config; None where they are not known.
    """

    folder: str | None = None
    files: frozenset[str] | None = None
    plan: EnginePlan | None = None
    others: Mapping[str, ModelConfig] | None = None

    @property
    def versions(self) -> frozenset[int]:
        """The version folders that there are."""
        tops = {file.partition("/")[0] for file in self.files or () if "/" in file}
        return frozenset(int(top) for top in tops if top.isdigit())
