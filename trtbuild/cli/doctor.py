"""``trtbuild doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console

_ABILITIES = (
    ("rewrite, calibrate, quantize, verify ONNX", ("onnx", "onnx-graphsurgeon", "onnxruntime", "polygraphy"), None),
    ("export PyTorch models", ("torch", "onnxscript"), "torch"),
    ("export Hugging Face folders", ("transformers", "safetensors"), "torch"),
    ("build plans for RTX GPUs, without a GPU", ("tensorrt-rtx",), "rtx"),
    ("build plans for data-centre GPUs", ("tensorrt",), "gpu"),
    ("feed and time plans on a GPU, with CUDA graphs", ("pycuda", "cuda-bindings"), "gpu"),
    ("write Triton configs", ("tritonclient",), "triton"),
    ("read images and text", ("pillow", "tokenizers"), "readers"),
    ("sign builds", ("cryptography",), "sign"),
    ("ship to stores of objects", ("fsspec",), "remote"),
    ("run the demo", ("torch", "scikit-learn", "tensorrt-rtx", "tritonclient"), "all"),
)


@click.command("doctor", short_help="Say what this machine can do, and what to install for the rest.")
@common
def command(console: Console) -> None:
    """Say what this machine can do, and what to install for the rest."""
    from trtbuild.calibration.counting import is_compiled
    from trtbuild.console import human_size
    from trtbuild.device import gpus
    from trtbuild.store import default_root

    present = gpus()
    root = default_root()
    there = root
    while not there.exists():
        there = there.parent
    abilities = [_ability(*row) for row in _ABILITIES]
    abilities.append(
        {
            "ability": "run plans",
            "able": bool(present) and any(_version(p) for p in ("tensorrt", "tensorrt-rtx")),
            "packages": {},
            "install": None if present else "needs an NVIDIA GPU and its driver: run it on the target machine",
        }
    )
    abilities.append(
        {
            "ability": "calibrate in compiled code",
            "able": is_compiled(),
            "packages": {},
            "install": None if is_compiled() else "numpy counts, slower: install a C compiler, then trtbuild",
        }
    )
    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "gpus": [vars(g) if hasattr(g, "__dict__") else str(g) for g in present],
        "cache": {"folder": str(root), "writable": os.access(there, os.W_OK), "free": shutil.disk_usage(there).free},
        "abilities": abilities,
    }
    lines = [f"python    {found['python']}", f"platform  {found['platform']}"]
    lines += [f"gpu       {g.name}, compute capability {g.compute_capability}, driver {g.driver}" for g in present]
    lines += [] if present else ["gpu       none: plans are built, and verified through their ONNX, not run"]
    free = human_size(shutil.disk_usage(there).free)
    lines.append(f"cache     {root} ({free} free{'' if os.access(there, os.W_OK) else ', NOT WRITABLE'})")
    for row in abilities:
        versions = ", ".join(f"{p} {v or 'missing'}" for p, v in row["packages"].items())
        lines.append(f"{'yes' if row['able'] else 'no ':<4} {row['ability']:<48}{versions}")
        if row["install"]:
            lines.append(f"     {row['install']}")
    console.result(found, "\n".join(lines))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ability(ability: str, packages: tuple[str, ...], extra: str | None) -> dict[str, Any]:
    versions = {p: _version(p) for p in packages}
    able = all(versions.values())
    install = None if able else f"pip install 'trtbuild[{extra}]'" if extra else "pip install trtbuild"
    if not able and extra == "gpu":
        install += ", with NVIDIA's package index and a CUDA toolkit"  # type: ignore[operator]
    return {"ability": ability, "able": able, "packages": versions, "install": install}
