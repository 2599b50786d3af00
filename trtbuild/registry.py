"""Rules, calibration methods and backends are found by name: one file each, read without importing it.

A plug-in file is a module whose docstring's first line says what it does. Listing them parses the source only, so
that ``trtbuild rules``, ``methods`` and ``backends`` need none of the packages that the files import.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from trtbuild.errors import UsageError


@dataclass(frozen=True)
class Registry:
    """The plug-in files of one package.

    Attributes:
        package: Dotted name of the package whose modules are the plug-ins.
        noun: What one of them is called in messages: "rule", "calibration method", "backend".
    """

    package: str
    noun: str

    def summaries(self) -> dict[str, str]:
        """Name to the first line of its docstring, sorted by name; imports nothing."""
        found = {}
        for file in self._files():
            doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            found[file.stem] = doc.split("\n", 1)[0].rstrip(".")
        return found

    def names(self) -> tuple[str, ...]:
        """The plug-ins' names, sorted; reads no file."""
        return tuple(file.stem for file in self._files())

    def _files(self) -> list[Path]:
        folder = Path(__file__).resolve().parent.joinpath(*self.package.split(".")[1:])
        return sorted(file for file in folder.glob("*.py") if not file.stem.startswith("_"))

    def load(self, name: str) -> ModuleType:
        """Imports the plug-in ``name``; an unknown one is an error with the nearest known name."""
        if name not in self.names():
            raise UsageError(f"there is no {self.noun} {name!r}", hint=nearest_hint(name, self.names()))
        return importlib.import_module(f"{self.package}.{name}")


def nearest_hint(word: str, known: Iterable[object]) -> str:
    """A hint that names the nearest of the known words, or lists them all."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
