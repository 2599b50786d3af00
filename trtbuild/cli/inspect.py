"""``trtbuild inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.console import Console


@click.command("inspect", short_help="Say what a plan or an ONNX file is, without loading it.")
@click.argument("file", type=click.Path(path_type=Path))
@common
def command(file: Path, console: Console) -> None:
    """Say what a plan or an ONNX file is, without loading it.

    Of a plan it reads the first bytes, and <plan>.json beside it where there is one; nothing is run.
    """
    found = _onnx(file) if file.suffix == ".onnx" else _plan(file)
    lines = [f"{key:<22}{value}" for key, value in found.items() if key != "layers"]
    console.result(found, "\n".join(lines))


def _plan(file: Path) -> dict[str, Any]:
    from trtbuild.artifacts import EnginePlan, to_json
    from trtbuild.cli._artifacts import read_artifact
    from trtbuild.content import file_digest
    from trtbuild.engine.header import read_header

    header = read_header(file)
    found: dict[str, Any] = {
        "file": str(file),
        "sha256": file_digest(file),
        "size": header.size,
        "backend": header.backend,
        "version": header.version,
        "compute capabilities": list(header.compute_capabilities) or "not in the header",
    }
    described = file.with_name(f"{file.name}.json")
    if described.is_file():
        plan = read_artifact(EnginePlan, described, "a plan's description")
        found |= {
            "target": plan.target.name,
            "precision": plan.precision,
            "matrix work": dict(plan.work.shares),
            "kernels": len(plan.layers),
            "inputs": [f"{t.name} {t.dtype} {list(t.shape)}" for t in plan.inputs],
            "outputs": [f"{t.name} {t.dtype} {list(t.shape)}" for t in plan.outputs],
            "profiles": [{a: [r.min, r.opt, r.max] for a, r in p.axes.items()} for p in plan.profiles],
            "layers": [to_json(layer) for layer in plan.layers],
        }
    return found


def _onnx(file: Path) -> dict[str, Any]:
    from collections import Counter

    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json

    model = onnxfile.load(file, weights=False)
    stored = onnxfile.stored(file)
    return {
        "file": str(file),
        "sha256": stored.digest,
        "size": stored.total_size,
        "opset": onnxfile.opset(model),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "nodes": len(model.graph.node),
        "operators": dict(Counter(n.op_type for n in model.graph.node).most_common()),
        "inputs": [to_json(t) for t in onnxfile.inputs(model)],
        "outputs": [to_json(t) for t in onnxfile.outputs(model)],
    }
