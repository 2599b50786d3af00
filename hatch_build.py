"""Compiles ``trtbuild/calibration/counting.c`` when a wheel or an editable installation is made.

Without a C compiler the package is the same, but numpy counts: the same thresholds, more time.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("trtbuild") / "calibration" / "counting.c"


class CompileCounting(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the shared library beside its source, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Called before the wheel is put together."""
        source = Path(self.root) / SOURCE
        library = source.with_name("libcounting.so")  # counting.so would be taken for a module of Python's
        library.unlink(missing_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        words = [*compiler, "-O3", "-shared", "-fPIC", "-o", str(library), str(source)]
        try:
            subprocess.run(words, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = str(getattr(error, "stderr", None) or error).strip().splitlines()[0]
            self.app.display_warning(f"{SOURCE} is not compiled ({why}): calibration counts in numpy, which is slower")
            return
        build_data["artifacts"].append(str(library.relative_to(self.root)))
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"  # ctypes loads it: one for all versions of Python
