"""The first spec of a model, with a comment on every block; valid as it stands where the model's inputs are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import UsageError

_HEAD = """\
# trtbuild.yaml; `trtbuild schema` prints every key, `trtbuild build` takes it the whole way.
model:
  name: {name}
  source: {source}
"""

_TAIL = """
# fp32, tf32, fp16, bf16; int8 or fp8, which need the calibration block; int8_weights or int4, for weights only.
precision: fp16

# calibration:
#   reader: calibration_data.py:batches   # a function that yields {{{feed}}}, with the batch axis
#   samples: 512                          # rows at most
#   method: auto                          # measures the methods on rows kept apart; `trtbuild methods` lists them

# What the result is held to, on data that calibration does not see.
# accuracy:
#   data: eval_data.py:pairs              # yields feeds, or (feed, labels)
#   metric: cosine                        # cosine, sqnr, top1, or metrics.py:function
#   min: 0.995                            # or max_drop: 0.005 for a task metric

# `trtbuild targets` lists them; sm89 works too.
targets: [rtx4090]

triton:
  release: "26.04"
  max_queue_delay_us: 500
  instances: 1
"""


def starter(model: str, folder: Path) -> str:
    """The text of a starter spec.

    Args:
        model: An ``.onnx`` file, a Hugging Face folder, or a callable's reference.
        folder: Where the spec will lie; the model's path is written relative to it.
    """
    inputs: tuple[TensorSpec, ...] = ()
    source = model
    if model.endswith(".onnx"):
        from trtbuild import onnxfile

        path = Path(model)
        inputs = _plain_axes(onnxfile.inputs(onnxfile.load(path, weights=False)))
        source = _relative(path, folder)
    elif Path(model, "config.json").is_file():
        source = _relative(Path(model), folder)
        inputs = (
            TensorSpec("input_ids", "int64", ("batch", "seq")),
            TensorSpec("attention_mask", "int64", ("batch", "seq")),
        )
    elif ":" not in model:
        raise UsageError(
            "neither an .onnx file, a Hugging Face folder, nor a callable",
            place=model,
            hint="a callable is written file.py:function or package.module:function",
        )
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(model.partition(":")[0]).stem) or "model"
    feed = ", ".join(f'"{t.name}": array' for t in inputs) or '"input": array'
    return (
        _HEAD.format(name=name, source=json.dumps(source))
        + _inputs(inputs)
        + _profiles(inputs)
        + _TAIL.format(feed=feed)
    )


def _plain_axes(inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The inputs with their dynamic axes called by plain names, one each: exporters write things like ``batch*2``."""
    names: dict[str, str] = {}
    for axis in dict.fromkeys(d for t in inputs for d in t.shape if isinstance(d, str)):
        plain = re.sub(r"\W+|^(?=\d)", "_", axis)
        while plain in names.values():
            plain += "_"
        names[axis] = plain
    return tuple(
        TensorSpec(t.name, t.dtype, tuple(d if isinstance(d, int) else names[d] for d in t.shape)) for t in inputs
    )


def _relative(path: Path, folder: Path) -> str:
    resolved, base = path.resolve(), folder.resolve()
    return resolved.relative_to(base).as_posix() if resolved.is_relative_to(base) else str(resolved)


def _inputs(inputs: tuple[TensorSpec, ...]) -> str:
    if not inputs:
        return (
            "  # Name the inputs of forward(), in order; a word is a dynamic axis.\n"
            "  inputs:\n"
            "    x: {dtype: float32, shape: [batch, 3, 224, 224]}\n"
        )
    lines = ["  # A word is a dynamic axis.", "  inputs:"]
    for tensor in inputs:
        dims = ", ".join(str(d) for d in tensor.shape)
        lines.append(f"    {json.dumps(tensor.name)}: {{dtype: {tensor.dtype}, shape: [{dims}]}}")
    return "\n".join(lines) + "\n"


def _profiles(inputs: tuple[TensorSpec, ...]) -> str:
    axes = list(dict.fromkeys(d for t in inputs for d in t.shape if isinstance(d, str))) if inputs else ["batch"]
    if not axes:
        return ""
    sizes = ", ".join(f"{a}: {'[1, 8, 32]' if n == 0 else '[8, 128, 256]'}" for n, a in enumerate(axes))
    head = "\n# Optimisation profiles: min, opt and max of each dynamic axis, once for all inputs.\nprofiles:\n"
    return f"{head}  - {{{sizes}}}\n"
