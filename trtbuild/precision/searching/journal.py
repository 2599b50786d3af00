"""A journal of measurements: what a run that was killed has measured is not measured again.

One JSON object a line, appended and synced to disk before the next measurement begins. A line that was cut short by a
kill or a full disk is taken off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from trtbuild.errors import as_output_error


class Journal:
    """Measurements by key.

    Args:
        path: The file; made with the first measurement.

    Raises:
        OutputError: It cannot be read or mended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, dict[str, Any]] = {}
        try:
            self._read()
        except OSError as error:
            raise as_output_error(error, str(path)) from error

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> dict[str, Any] | None:
        """What was measured under a key; None where nothing was."""
        return self._known.get(key)

    def add(self, key: str, measured: dict[str, Any]) -> None:
        """Appends a measurement; it is on disk when this returns.

        Raises:
            OutputError: The file cannot be written.
        """
        line = json.dumps({"key": key, "measured": measured}, sort_keys=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as stream:
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise as_output_error(error, str(self.path)) from error
        self._known[key] = measured

    def _read(self) -> None:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        sound = 0  # bytes up to the end of the last line that can be read
        for line in content.splitlines(keepends=True):
            entry = _entry(line)
            if entry is None:
                break
            self._known[entry[0]] = entry[1]
            sound += len(line)
        if sound < len(content):
            with self.path.open("r+b") as stream:  # else the next line would be glued to the cut one
                stream.truncate(sound)


def _entry(line: bytes) -> tuple[str, dict[str, Any]] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
        key, measured = entry["key"], entry["measured"]
    except (ValueError, KeyError, TypeError):
        return None
    return (key, measured) if isinstance(key, str) and isinstance(measured, dict) else None
