"""How many kernels the finished engine of an ONNX model has: a figure that needs no GPU. It is not latency.

    python bench/kernels.py model.onnx [--precision fp16|int4|...] [--rewrite] [--layers] [--axis seq=8,64,128]

The engine is built by TensorRT-RTX for SM89 from the model as `trtbuild` types it, so that every subject is typed in
the same way. Dynamic axes get the sizes of ``SIZES`` unless ``--axis`` gives others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtbuild.artifacts import CalibrationTable, EngineLayer, EnginePlan, OptimizationProfile, Precision

SIZES = {"batch": (1, 4, 16)}
"""Smallest, tuned-for and largest size of a dynamic axis by name."""

OTHER_SIZES = (8, 64, 128)  # of every other axis: sequences

SYNC = ("signal", "wait")
"""Kinds of layers that compute nothing: they stand between streams that run side by side."""


@dataclass(frozen=True)
class Kernels:
    """The kernels of one engine.

    Attributes:
        count: All layers of the engine, copies and generated code included.
        attention: How many are a fused attention.
        sync: How many only make one stream wait for another.
        nodes: ONNX nodes of the model before it was typed.
    """

    count: int
    attention: int
    sync: int
    nodes: int


def is_attention(layer: EngineLayer) -> bool:
    """Whether a kernel is a fused attention: two products of matrices and the softmax between them."""
    return layer.role == "attention"


def profiles(model: Path, sizes: Mapping[str, tuple[int, int, int]] | None = None) -> tuple[OptimizationProfile, ...]:
    """One profile for the dynamic axes of a model; none where it has none."""
    from trtbuild import onnxfile
    from trtbuild.artifacts import AxisRange, OptimizationProfile

    inputs = onnxfile.inputs(onnxfile.load(model, weights=False))
    names = dict.fromkeys(d for t in inputs for d in t.shape if isinstance(d, str))
    known = SIZES | dict(sizes or {})
    axes = {name: AxisRange(*known.get(name, OTHER_SIZES)) for name in names}
    return (OptimizationProfile(axes),) if axes else ()


def build(
    model: Path,
    folder: Path,
    precision: Precision = "fp16",
    *,
    table: CalibrationTable | None = None,
    sizes: Mapping[str, tuple[int, int, int]] | None = None,
    timeout_s: float = 300,
) -> EnginePlan:
    """Types a model and builds its engine for SM89.

    Args:
        model: An FP32 ONNX.
        folder: For the typed model, the plan and the log.
        precision: What to type it in; matrix work that cannot be is left in FP32.
        table: Ranges for int8.
        sizes: Sizes of dynamic axes, over those of ``SIZES``.
        timeout_s: Seconds after which the build is stopped.
    """
    from trtbuild.artifacts import BuildOptions, Target
    from trtbuild.engine import compile as build_plan
    from trtbuild.precision import assign_precision

    given = profiles(model, sizes)
    typed = assign_precision(model, folder, precision=precision, table=table, profiles=given, allow_fallback=True)
    target = Target("sm89", "tensorrt_rtx", "8.9")
    options = BuildOptions(allow_precision_fallback=True, timeout_s=timeout_s)
    return build_plan(typed, folder, target=target, profiles=given, options=options)


def count(
    model: Path, folder: Path, precision: Precision = "fp16", *, table: CalibrationTable | None = None
) -> Kernels:
    """The figures of one model's engine."""
    from trtbuild import onnxfile

    plan = build(model, folder, precision, table=table)
    nodes = len(onnxfile.load(model, weights=False).graph.node)
    layers = plan.layers
    return Kernels(len(layers), sum(map(is_attention, layers)), sum(x.kind in SYNC for x in layers), nodes)


def _axis(text: str) -> tuple[str, tuple[int, int, int]]:
    name, _, numbers = text.partition("=")
    try:
        low, opt, high = (int(n) for n in numbers.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MIN,OPT,MAX") from error
    return name, (low, opt, high)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="model.onnx")
    parser.add_argument("--precision", choices=("fp16", "fp32", "bf16", "int8_weights", "int4"), default="fp16")
    parser.add_argument("--rewrite", action="store_true", help="count the kernels after `trtbuild rewrite`")
    parser.add_argument("--layers", action="store_true", help="list the kernels")
    parser.add_argument("--axis", type=_axis, action="append", default=[], metavar="NAME=MIN,OPT,MAX")
    return parser.parse_args(words)


def _one(model: Path, asked: argparse.Namespace) -> None:
    from trtbuild import onnxfile
    from trtbuild.rewriter import rewrite

    with tempfile.TemporaryDirectory() as text:
        folder, given = Path(text), model
        if asked.rewrite:
            given = rewrite(model, folder, prove=False).model.path
        plan = build(given, folder, asked.precision, sizes=dict(asked.axis))
        nodes = len(onnxfile.load(given, weights=False).graph.node)
    if asked.layers:
        for layer in plan.layers:
            fused = "MHA" if is_attention(layer) else ""
            print(f"  {layer.kind:<14} {layer.precision:<5} {fused:<3} {layer.name}  <- {', '.join(layer.onnx_nodes)}")
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(layer.kind for layer in plan.layers).most_common())
    attention = sum(map(is_attention, plan.layers))
    print(f"{model.name}: {len(plan.layers)} kernels ({attention} fused MHA), {nodes} ONNX nodes; {kinds}", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Prints one line a model; a model that does not build is a line too."""
    from trtbuild.errors import TrtbuildError

    asked = _arguments(words)
    failed = 0
    for model in asked.models:
        try:
            _one(model, asked)
        except TrtbuildError as error:
            failed += 1
            print(f"{model.name}: {error.message}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
