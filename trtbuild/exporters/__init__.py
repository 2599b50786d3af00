"""The export stage: an nn.Module, a Hugging Face folder or an ONNX file becomes the FP32 reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild import onnxfile
from trtbuild.artifacts import ExportedOnnx, OptimizationProfile, ShapeParity, TensorSpec
from trtbuild.errors import ExportError, InvalidOnnxError, ModelError, SpecError
from trtbuild.exporters import fingerprint
from trtbuild.exporters.calling import module_function
from trtbuild.exporters.modules import inference_mode, load_module
from trtbuild.exporters.torch_onnx import Exporter, export_module, trace_sizes
from trtbuild.registry import nearest_hint

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "transformers", "numpy")
PARITY = 2e-4  # of the output's largest magnitude: what FP32 sums in another order may differ by

__all__ = ["PACKAGES", "export", "fingerprint", "load_module", "module_function"]


def export(
    source: torch.nn.Module | Path | str,
    workdir: Path | str,
    *,
    inputs: Sequence[TensorSpec] = (),
    outputs: Sequence[str] | None = None,
    exporter: Literal["auto", "dynamo", "torchscript"] = "auto",
    opset: int = 20,
    profiles: Sequence[OptimizationProfile] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    folder: Path | None = None,
    weights: str | None = None,
    on_note: Callable[[str], None] = lambda _note: None,
) -> ExportedOnnx:
    """Exports a model to ONNX and compares it with torch right away.

    Args:
        source: A module, an ``.onnx`` file, a Hugging Face folder, or ``package.module:callable``.
        workdir: Folder for ``exported.onnx``.
        inputs: Inputs, dynamic axes by name. May be left out for an ONNX file.
        outputs: Names for the outputs.
        exporter: ``auto`` tries dynamo, falls back to TorchScript, and says so.
        opset: ONNX opset.
        profiles: Sizes of the dynamic axes.
        ranges: Smallest and largest value of the example inputs.
        folder: Where a relative ``source`` and ``weights`` start; the current folder when left out.
        weights: A state_dict file for the module.
        on_note: Called with each note when it comes up.

    Returns:
        The ONNX file and how far it is from torch at several shapes.

    Raises:
        ExportError: No exporter can do it, an axis was fixed, or the numbers differ.
        InvalidOnnxError: The ONNX file is not sound.
    """
    base = folder or Path.cwd()
    place = Path(workdir) / "exported.onnx"
    if isinstance(source, (str, Path)) and str(source).endswith(".onnx"):
        return _ready_made(base / source, place, inputs)
    if not inputs:
        raise SpecError("a PyTorch model needs its inputs named", place="model.inputs", hint="see `trtbuild schema`")
    module = load_module(str(source), base, weights) if isinstance(source, (str, Path)) else source
    notes: list[str] = []
    complaints: list[str] = []
    for attempt in _attempts(exporter, opset):
        try:
            return _from_module(module, place, inputs, outputs, attempt, opset, profiles, ranges or {}, notes)
        except ModelError as error:
            complaints.append(f"{attempt}: {error.message}")
            if exporter != "auto" or len(complaints) == len(_attempts(exporter, opset)):
                if len(complaints) == 1:
                    raise
                raise ExportError(
                    "no exporter can do it:\n    " + "\n    ".join(complaints),
                    place="export",
                    hint="mend what the first one names, or bring a ready-made .onnx file",
                ) from error
            notes.append(f"fell back to TorchScript, because {error.message}")
            on_note(notes[-1])
    raise ExportError(
        f"no exporter writes opset {opset}", place="model.opset", hint="dynamo: 18 to 23; torchscript: up to 20"
    )


def _attempts(exporter: str, opset: int) -> list[Exporter]:
    able: list[Exporter] = [*(["dynamo"] if opset >= 18 else []), *(["torchscript"] if opset <= 20 else [])]  # type: ignore[list-item]
    return able if exporter == "auto" else [e for e in able if e == exporter]


def _from_module(
    module: torch.nn.Module,
    place: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[str] | None,
    exporter: Exporter,
    opset: int,
    profiles: Sequence[OptimizationProfile],
    ranges: Mapping[str, tuple[float, float]],
    notes: list[str],
) -> ExportedOnnx:
    import numpy as np

    from trtbuild.feeds import random_feed

    sizes = trace_sizes(inputs, profiles)
    feed = random_feed(inputs, sizes, ranges, np.random.default_rng(0))
    raw = place.with_name("raw.onnx")
    model = export_module(module, raw, inputs=inputs, outputs=outputs, exporter=exporter, opset=opset, feed=feed)
    for left in place.parent.glob("raw.onnx*"):
        left.unlink()
    onnxfile.check(model, f"{exporter} export")
    onnxfile.save(model, place)
    parity = _parity(module, place, inputs, outputs, _parity_sizes(sizes, profiles), ranges, exporter)
    _name_output_axes(model, inputs, parity)
    saved = onnxfile.save(model, place)
    return ExportedOnnx(
        model=saved,
        inputs=tuple(inputs),
        outputs=onnxfile.outputs(model),
        opset=onnxfile.opset(model),
        exporter=exporter,
        parity=tuple(row for row, _shapes in parity),
        notes=tuple(notes),
    )


def _parity_sizes(sizes: dict[str, int], profiles: Sequence[OptimizationProfile]) -> list[dict[str, int]]:
    """The sizes traced with, the profiles' smallest, and ones no exporter has seen."""
    if not sizes:
        return [sizes]
    other = {a: s + 1 + n for n, (a, s) in enumerate(sizes.items())}
    if profiles:
        axes = profiles[0].axes
        other = {a: max(axes[a].min, min(s, axes[a].max)) if a in axes else s for a, s in other.items()}
    smallest = [{a: p.axes[a].min if a in p.axes else s for a, s in sizes.items()} for p in profiles]
    return [dict(items) for items in dict.fromkeys(tuple(s.items()) for s in (sizes, other, *smallest))]


def _parity(
    module: Any,
    onnx: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[str] | None,
    shapes: Sequence[dict[str, int]],
    ranges: Mapping[str, tuple[float, float]],
    exporter: str,
) -> list[tuple[ShapeParity, dict[str, tuple[int, ...]]]]:
    """Runs torch and ONNX Runtime on the same inputs at each set of sizes; returns the outputs' shapes beside."""
    import numpy as np
    import torch

    from trtbuild.exporters.modules import adapt
    from trtbuild.feeds import random_feed
    from trtbuild.onnxrun import run, session

    ready = session(onnx)
    random = np.random.default_rng(1)
    adapter = adapt(module, [t.name for t in inputs], outputs)
    rows = []
    with inference_mode(adapter), torch.no_grad():
        for sizes in shapes:
            feed = random_feed(inputs, sizes, ranges, random)
            wanted = _run_torch(adapter, inputs, feed)
            got = run(ready, feed)
            worst_abs = worst_rel = 0.0
            for name, reference, mine in zip(got, wanted, got.values(), strict=True):
                if reference.shape != mine.shape:
                    raise ExportError(
                        f"the {exporter} export gives {name!r} the shape {mine.shape}, torch gives {reference.shape}",
                        place="export",
                        hint="the model's code fixes a size while it is traced",
                    )
                difference = _difference(reference, mine)
                worst_abs = max(worst_abs, difference)
                worst_rel = max(worst_rel, difference / max(float(np.abs(reference).max(initial=0)), 1e-6))
            row = ShapeParity({n: tuple(a.shape) for n, a in feed.items()}, worst_abs, worst_rel)
            rows.append((row, {n: tuple(a.shape) for n, a in got.items()}))
            if not worst_rel <= PARITY:
                raise ExportError(
                    f"the {exporter} export differs from torch by {worst_rel:.2g} of the output's largest value "
                    f"at {row.shapes}",
                    place="export",
                    hint="the other exporter may do better: --exporter",
                )
    return rows


def _run_torch(adapter: Any, inputs: Sequence[TensorSpec], feed: Mapping[str, Any]) -> list[Any]:
    """What torch computes, as arrays."""
    import torch

    try:
        return [t.numpy() for t in adapter(*(torch.from_numpy(feed[t.name]) for t in inputs))]
    except Exception as error:
        at = ", ".join(f"{t.name}:{'x'.join(map(str, feed[t.name].shape))}" for t in inputs)
        first = str(error).strip().split("\n", 1)[0]
        raise ExportError(
            f"the module does not run at {at}: {first}",
            place="export",
            hint="its dynamic axes must take every size of the profiles; give a fixed axis its number",
        ) from error


def _name_output_axes(
    model: ModelProto, inputs: Sequence[TensorSpec], rows: Sequence[tuple[ShapeParity, Mapping[str, tuple[int, ...]]]]
) -> None:
    """Calls an output's dynamic axis by the input axis whose size it had in every run, where there is just one."""
    sizes: dict[str, list[int]] = {}
    for tensor in inputs:
        for index, axis in enumerate(tensor.shape):
            if isinstance(axis, str):
                sizes[axis] = [row.shapes[tensor.name][index] for row, _outputs in rows]
    for value in model.graph.output:
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and dim.dim_param not in sizes:
                seen = [outputs[value.name][index] for _row, outputs in rows]
                same = [axis for axis, taken in sizes.items() if taken == seen]
                dim.dim_param = same[0] if len(same) == 1 else dim.dim_param


def _difference(reference: Any, mine: Any) -> float:
    """Largest absolute difference; NaN and infinities on both sides count as equal, on one side as infinite."""
    import numpy as np

    a, b = np.asarray(reference, np.float64), np.asarray(mine, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))


def _ready_made(source: Path, place: Path, inputs: Sequence[TensorSpec]) -> ExportedOnnx:
    """Takes an ONNX file as it is, with the spec's names for its dynamic axes."""
    model = onnxfile.load(source)
    notes = []
    if onnxfile.opset(model) < onnxfile.OLDEST_OPSET:
        before = onnxfile.opset(model)
        model = _upgraded(model, source)
        notes.append(f"brought from opset {before} to {onnxfile.OLDEST_OPSET}")
    onnxfile.check(model, str(source))
    _name_axes(model, inputs, source)
    saved = onnxfile.save(model, place)
    return ExportedOnnx(
        model=saved,
        inputs=onnxfile.inputs(model),
        outputs=onnxfile.outputs(model),
        opset=onnxfile.opset(model),
        exporter="onnx",
        notes=tuple(notes),
    )


def _upgraded(model: ModelProto, source: Path) -> ModelProto:
    import onnx

    try:
        return onnx.version_converter.convert_version(model, onnxfile.OLDEST_OPSET)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise InvalidOnnxError(
            f"opset {onnxfile.opset(model)} cannot be brought to {onnxfile.OLDEST_OPSET}: {first}",
            place=str(source),
            hint="export the model again with opset 17 or later",
        ) from error


def _name_axes(model: ModelProto, inputs: Sequence[TensorSpec], source: Path) -> None:
    present = {t.name: t for t in onnxfile.inputs(model)}
    for tensor in inputs:
        if tensor.name not in present:
            raise SpecError(
                f"the model has no input {tensor.name!r}", place=str(source), hint=nearest_hint(tensor.name, present)
            )
        found = present[tensor.name]
        if len(found.shape) != len(tensor.shape) or found.dtype != tensor.dtype:
            raise SpecError(
                f"input {tensor.name!r} is {found.dtype} {list(found.shape)}, the spec says {tensor.dtype} "
                f"{list(tensor.shape)}",
                place=str(source),
                hint="write what the model has",
            )
        for asked, got in zip(tensor.shape, found.shape, strict=True):
            if isinstance(got, int) and got != asked:
                raise SpecError(
                    f"input {tensor.name!r} has {got} where the spec says {asked!r}",
                    place=str(source),
                    hint="a fixed axis of an ONNX file stays fixed; export it again with a dynamic one",
                )
    shapes = {t.name: t.shape for t in (*onnxfile.inputs(model), *inputs)}
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
