"""``trtbuild inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trtbuild.cli._options import common

if TYPE_CHECKING:
    from trtbuild.artifacts import TensorSpec
    from trtbuild.console import Console
    from trtbuild.engine.inspection import Inspection


_COUNTED = "FLOPs and bytes are counted at opt sizes; nothing was measured"
_UNKNOWN = "inputs, profiles and kernels are in the .json that a build writes beside it"


@click.command("inspect", short_help="Say what a plan or an ONNX file is, without loading it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", "every_layer", is_flag=True, help="List every kernel, in order of execution.")
@click.option("--node", metavar="NAME", help="Say which kernels an ONNX node went into; part of its name will do.")
@click.option(
    "--load", is_flag=True,
    help="Load the plan on this machine's GPU and read its kernels from the engine. A plan is executable code: only "
    "for plans you trust.",
)  # fmt: skip
@common
def command(file: Path, *, every_layer: bool, node: str | None, load: bool, console: Console) -> None:
    """Say what a plan or an ONNX file is, without loading it.

    Of a plan it reads the first bytes, and what its build wrote: <plan>.json beside it, or manifest.json and
    report.json of the folder it lies in. Nothing is run, unless with --load.
    """
    from trtbuild.errors import UsageError

    if file.suffix == ".onnx":
        if every_layer or node or load:
            raise UsageError("an ONNX file has no kernels", place=str(file), hint="give the plan")
        found = _onnx(file)
        console.result(found, _onnx_text(found))
        return
    from trtbuild.engine.inspection import inspect_plan

    plan = inspect_plan(file, load=load)
    if node:
        console.result(*_node(plan, node))
    else:
        console.result(_document(plan), _text(plan, every_layer=every_layer))


def _document(plan: Inspection) -> dict[str, Any]:
    from trtbuild.artifacts import to_json
    from trtbuild.cli import _kernels

    found: dict[str, Any] = {
        "file": str(plan.path),
        "sha256": plan.sha256,
        "size": plan.header.size,
        "backend": plan.header.backend,
        "version": plan.header.version,
        "compute capabilities": list(plan.header.compute_capabilities) or "not in the header",
        "described by": [str(path) for path in plan.described_by],
        "notes": list(plan.notes),
    }
    if plan.described_by:
        found |= {
            "target": plan.target,
            "compute capability": plan.compute_capability,
            "precision": plan.precision,
            "matrix work": dict(plan.work),
            "inputs": [to_json(t) for t in plan.inputs],
            "outputs": [to_json(t) for t in plan.outputs],
            "profiles": [{a: [r.min, r.opt, r.max] for a, r in p.axes.items()} for p in plan.profiles],
        }
    if plan.layers:
        found |= _kernels.summary(plan.layers)
        found["tensors"] = [to_json(tensor) for tensor in plan.layers.tensors]
        found["layers"] = [to_json(layer) for layer in plan.layers]
    return found


def _text(plan: Inspection, *, every_layer: bool) -> str:
    from trtbuild.cli import _kernels

    columns = _kernels.width()
    parts = ["\n".join(_head(plan))]
    if plan.described_by or plan.layers:
        parts.append("\n".join((*_interface(plan), *_kernels.lines(plan.layers, columns))))
    if every_layer:
        parts.append(_kernels.rows(plan.layers, range(len(plan.layers)), columns) if plan.layers else "")
    elif table := _kernels.largest(plan.layers, columns):
        parts.append(f"largest kernels, by their share of the FLOPs or of the bytes\n{table}")
    notes = list(plan.notes)
    if plan.layers.detailed:
        notes.append(_COUNTED)
    elif not plan.described_by:
        notes.append(_UNKNOWN)
    parts.append("\n".join(f"note: {note}" for note in notes))
    return "\n\n".join(part for part in parts if part)


def _head(plan: Inspection) -> list[str]:
    from trtbuild.console import human_size

    header = plan.header
    built_for = ", ".join(header.compute_capabilities)
    if not built_for:
        said = f"{plan.compute_capability} (the build says so; " if plan.compute_capability else "not known ("
        built_for = f"{said}a plan of {header.backend} does not name it)"
    target = f", target {plan.target}" if plan.target else ""
    lines = [
        f"plan       {plan.path}, {human_size(header.size)}",
        f"built by   {header.backend} {header.version}",
        f"built for  compute capability {built_for}{target}",
        f"sha256     {plan.sha256}",
    ]
    if plan.described_by:
        lines.append(f"described  {', '.join(map(str, plan.described_by))}; the digest fits")
    else:
        lines.append("described  by nothing beside it: this is what its first bytes say")
    return lines


def _interface(plan: Inspection) -> list[str]:
    lines = [f"precision  {plan.precision}"] if plan.precision else []
    for name, tensors in (("inputs", plan.inputs), ("outputs", plan.outputs)):
        lines += [f"{name if i == 0 else '':<11}{_tensor(t)}" for i, t in enumerate(tensors)]
    for number, profile in enumerate(plan.profiles):
        sizes = ", ".join(f"{axis} {r.min} {r.opt} {r.max}" for axis, r in profile.axes.items())
        lines.append(f"{'profiles' if number == 0 else '':<11}{number}: {sizes or 'fixed shapes'} (min, opt, max)")
    return lines


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, tensor.shape))}]"


def _node(plan: Inspection, name: str) -> tuple[dict[str, Any], str]:
    import difflib

    from trtbuild.artifacts import to_json
    from trtbuild.cli import _kernels
    from trtbuild.errors import UsageError

    if not plan.layers:
        raise UsageError("nothing says which kernels the plan has", place=str(plan.path), hint="build it again")
    found = _kernels.where_to(plan.layers, name)
    if not found:
        known = [*plan.layers.by_node(), *plan.layers.vanished]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else "--json lists the nodes of every kernel"
        raise UsageError(f"the plan was compiled from no node {name!r}", place="--node", hint=hint)
    document = {node: [to_json(layer) for layer in kernels] for node, kernels in found.items()}
    return document, "\n".join(_kernels.node_lines(found, _kernels.width()))


def _onnx(file: Path) -> dict[str, Any]:
    from collections import Counter

    from trtbuild import onnxfile
    from trtbuild.artifacts import to_json
    from trtbuild.matrixops import node_precisions

    model = onnxfile.load(file, weights=False)
    stored = onnxfile.stored(file)
    operators = Counter(n.op_type for n in model.graph.node)
    return {
        "file": str(file),
        "sha256": stored.digest,
        "size": stored.total_size,
        "opset": onnxfile.opset(model),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "nodes": len(model.graph.node),
        "weights": len(model.graph.initializer),
        "matrix nodes": dict(Counter(node_precisions(model).values()).most_common()),
        "quantize": operators["QuantizeLinear"],
        "dequantize": operators["DequantizeLinear"],
        "operators": dict(operators.most_common()),
        "inputs": [to_json(t) for t in onnxfile.inputs(model)],
        "outputs": [to_json(t) for t in onnxfile.outputs(model)],
    }


def _onnx_text(found: dict[str, Any]) -> str:
    import textwrap

    from trtbuild.artifacts import TensorSpec, from_json
    from trtbuild.cli import _kernels
    from trtbuild.console import human_size

    matrix = ", ".join(f"{count} {precision}" for precision, count in found["matrix nodes"].items())
    lines = [
        f"model      {found['file']}, {human_size(found['size'])}",
        f"sha256     {found['sha256']}",
        f"opset      {found['opset']}" + (f", made by {found['producer']}" if found["producer"] else ""),
        f"nodes      {found['nodes']}, {found['weights']} weights and constants",
        f"matrix     {matrix or 'no matrix nodes'}",
        f"Q/DQ       {found['quantize']} QuantizeLinear, {found['dequantize']} DequantizeLinear",
    ]
    for name in ("inputs", "outputs"):
        specs = [from_json(TensorSpec, value) for value in found[name]]
        lines += [f"{name if i == 0 else '':<11}{_tensor(t)}" for i, t in enumerate(specs)]
    operators = ", ".join(f"{count} {op}" for op, count in found["operators"].items())
    lines += textwrap.wrap(operators, _kernels.width() or 120, initial_indent="operators  ", subsequent_indent=" " * 11)
    return "\n".join(lines)
