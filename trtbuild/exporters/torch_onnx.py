"""From a module to an ONNX file, by the dynamo exporter (torch.export) or by TorchScript."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild import onnxfile
from trtbuild.artifacts import OptimizationProfile, TensorSpec
from trtbuild.errors import ExportError
from trtbuild.exporters.modules import adapt, flatten, import_torch, inference_mode

if TYPE_CHECKING:
    import torch
    from onnx import GraphProto, ModelProto, NodeProto

Exporter = Literal["dynamo", "torchscript"]

_KEPT_METADATA = ("pkg.torch.onnx.class_hierarchy", "pkg.torch.onnx.name_scopes")
"""Node metadata that survives: the rest holds paths and traces that change from machine to machine."""


def trace_sizes(inputs: Sequence[TensorSpec], profiles: Sequence[OptimizationProfile]) -> dict[str, int]:
    """Sizes to trace with, near the first profile's opt.

    None is below 2 and no two are alike: an exporter takes a 1 for a constant, and equal sizes for one axis.
    """
    sizes: dict[str, int] = {}
    for axis in dict.fromkeys(d for t in inputs for d in t.shape if isinstance(d, str)):
        bounds = profiles[0].axes[axis] if profiles and axis in profiles[0].axes else None
        size = max(2, min(bounds.opt, 64) if bounds else 2)
        while size in sizes.values():
            size += 1
        if bounds and size > bounds.max >= 2:
            size = next((s for s in range(bounds.max, 1, -1) if s not in sizes.values()), size)
        sizes[axis] = size
    return sizes


def export_module(
    module: torch.nn.Module,
    path: Path,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[str] | None,
    exporter: Exporter,
    opset: int,
    feed: Mapping[str, Any],
) -> ModelProto:
    """Exports a module and brings the result to our form.

    Args:
        module: The module; its training flags are restored after.
        path: A file to write to on the way.
        inputs: Its inputs, dynamic axes by name.
        outputs: Names for the outputs.
        exporter: Which exporter.
        opset: ONNX opset.
        feed: Example inputs, input name to array.

    Raises:
        ExportError: The exporter fails, or fixes an axis that should be dynamic.
    """
    torch = import_torch()
    names = [t.name for t in inputs]
    tensors = tuple(torch.from_numpy(feed[name]) for name in names)
    adapter = adapt(module, names, outputs)
    with inference_mode(adapter), torch.no_grad():
        result_names = list(outputs) if outputs else _output_names(module, names, tensors)
        call = _dynamo if exporter == "dynamo" else _torchscript
        with _quiet() as said:
            try:
                call(adapter, tensors, path, inputs, len(result_names), opset)
            except Exception as error:
                raise ExportError(
                    f"the {exporter} exporter fails: {_cause(error, said.getvalue())}",
                    place="export",
                    hint="try the other one: --exporter " + ("torchscript" if exporter == "dynamo" else "dynamo"),
                ) from error
    model = onnxfile.load(path)
    _rename_tensors(model, {**_placeholders(_IN, names), **_placeholders(_OUT, result_names)})
    _hold_inputs(model, inputs, exporter)
    _rename_axes(model, inputs)
    _name_by_module(model)
    return model


_IN, _OUT = "trtbuild_in_", "trtbuild_out_"
"""Names given to an exporter for inputs and outputs: the user's own may be those of tensors inside ("embedding")."""


def _placeholders(stem: str, names: Sequence[str]) -> dict[str, str]:
    return {f"{stem}{number}": name for number, name in enumerate(names)}


def _rename_tensors(model: ModelProto, names: Mapping[str, str]) -> None:
    """Gives inputs and outputs the user's names; an inner tensor that has one of them steps aside."""
    nodes = list(_all_nodes(model.graph))
    taken = {name for node in nodes for name in (*node.input, *node.output)}
    taken |= {t.name for t in model.graph.initializer}
    renamed = {name: f"{name}_inner" for name in names.values() if name in taken} | dict(names)
    for node in nodes:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = renamed.get(name, name)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.name = renamed.get(value.name, value.name)


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _dynamo(adapter: Any, tensors: Any, path: Path, inputs: Sequence[TensorSpec], outputs: int, opset: int) -> None:
    torch = import_torch()
    dynamic = torch.export.Dim.DYNAMIC
    axes = tuple({i: dynamic for i, d in enumerate(t.shape) if isinstance(d, str)} for t in inputs)
    torch.onnx.export(
        adapter, tensors, str(path), input_names=list(_placeholders(_IN, [""] * len(inputs))),
        output_names=list(_placeholders(_OUT, [""] * outputs)), opset_version=opset,
        dynamo=True, dynamic_shapes=(axes,), verbose=False, external_data=True,
    )  # fmt: skip


def _torchscript(
    adapter: Any, tensors: Any, path: Path, inputs: Sequence[TensorSpec], outputs: int, opset: int
) -> None:
    torch = import_torch()
    axes = {f"{_IN}{n}": {i: d for i, d in enumerate(t.shape) if isinstance(d, str)} for n, t in enumerate(inputs)}
    torch.onnx.export(
        adapter, tensors, str(path), input_names=list(_placeholders(_IN, [""] * len(inputs))),
        output_names=list(_placeholders(_OUT, [""] * outputs)), opset_version=opset,
        dynamo=False, dynamic_axes={k: v for k, v in axes.items() if v},
    )  # fmt: skip


def _output_names(module: Any, names: list[str], tensors: Any) -> list[str]:
    """Names of the outputs from the module's own result."""
    by_name = all(name in inspect.signature(module.forward).parameters for name in names)
    try:
        result = module(**dict(zip(names, tensors, strict=True))) if by_name else module(*tensors)
    except Exception as error:
        shapes = ", ".join(f"{n}:{list(t.shape)}" for n, t in zip(names, tensors, strict=True))
        raise ExportError(
            f"the module does not run at {shapes}: {_cause(error, '')}",
            place="export",
            hint="check model.inputs: names, dtypes, shapes, and range for token ids",
        ) from error
    return list(flatten(result, None))


def _cause(error: BaseException, said: str) -> str:
    """The first telling line: of the root cause where the exporter wraps it."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines() if line.strip()] or [said.strip().split("\n")[-1]]
    return f"{type(root).__name__}: {lines[0]}"


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keeps what exporters print, warn and log off the screen."""
    said = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        logging.disable(before)


def _hold_inputs(model: ModelProto, inputs: Sequence[TensorSpec], exporter: str) -> None:
    """Every input is there, and every axis that should be dynamic is."""
    present = {t.name: t for t in onnxfile.inputs(model)}
    for tensor in inputs:
        if tensor.name not in present:
            raise ExportError(
                f"the {exporter} exporter dropped input {tensor.name!r}: the model does not use it",
                place="model.inputs",
                hint="leave it out of the spec",
            )
        for index, (asked, got) in enumerate(zip(tensor.shape, present[tensor.name].shape, strict=True)):
            if isinstance(asked, str) and isinstance(got, int):
                raise ExportError(
                    f"the {exporter} exporter fixed axis {asked!r} of {tensor.name!r} (axis {index}) to {got}",
                    place="export",
                    hint="the model's code depends on that size; make it follow the input's shape, or give it a number",
                )


def _rename_axes(model: ModelProto, inputs: Sequence[TensorSpec]) -> None:
    """Calls the dynamic axes by the spec's names, wherever the exporter used its own symbols."""
    asked = {t.name: t.shape for t in inputs}
    symbols: dict[str, str] = {}
    for value in model.graph.input:
        for dim, name in zip(value.type.tensor_type.shape.dim, asked.get(value.name, ()), strict=False):
            if isinstance(name, str):
                if dim.dim_param and dim.dim_param != name:
                    symbols[dim.dim_param] = name
                dim.dim_param = name
    for value in (*model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda m: symbols.get(m[0], m[0]), dim.dim_param)


def _name_by_module(model: ModelProto) -> None:
    """Puts the PyTorch module path in front of each node's name, and drops metadata that no other machine repeats."""
    for node in model.graph.node:
        scope = _module_path(node)
        if scope and not node.name.startswith("/"):
            node.name = f"/{scope}/{node.name}"
        elif node.name.startswith("/model/"):
            node.name = node.name.removeprefix("/model")  # TorchScript names the adapter
        kept = [p for p in node.metadata_props if p.key in _KEPT_METADATA]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    for tensor in (*model.graph.initializer, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del tensor.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]


def _module_path(node: NodeProto) -> str:
    """The innermost module a dynamo node came from, as ``encoder.layer.0.attention``."""
    scopes = next((p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"), "")
    try:
        names = [str(s) for s in ast.literal_eval(scopes)] if scopes else []
    except (ValueError, SyntaxError):
        return ""
    path = names[-2] if len(names) > 1 and not names[-2].startswith("_") else ""
    return path.removeprefix("model.").removeprefix("model") if path.startswith("model") else path
