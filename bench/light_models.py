"""The nine "light" models of the onnx package: real architectures, with seeded noise for their constant weights.

onnx 1.x ships them under ``onnx/backend/test/data/light``: a ``ConstantOfShape`` stands for every weight, all of 0.02.
A quantiser has nothing to do on such weights, and a builder may fold them away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

SEED = 20261121
OPSET = 17
NEAR_ONE = {("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)}
"""Operators' operands that scale: around one, so that signals keep their size through a hundred of them."""


def light_models() -> dict[str, Path]:
    """Name, such as ``light_vgg19``, to the file in the onnx package."""
    import onnx

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return {file.stem: file for file in sorted(folder.glob("light_*.onnx"))}


def with_noise(path: Path, place: Path) -> Path:
    """Writes a copy of a light model whose ConstantOfShape weights are seeded noise.

    ONNX's own converter raises it from opset 9 to 17 first: Q/DQ needs that, and a Softmax of opset 9 means something
    else. Matrices and filters have He's deviation, sqrt(2 / fan-in); scales and variances lie in [0.8, 1.2]; biases
    and means have a deviation of 0.05. The batch stays fixed at 1: the models reshape to it.

    Args:
        path: The light model.
        place: File to write.
    """
    import onnx
    from onnx import numpy_helper, version_converter

    model = version_converter.convert_version(onnx.load(path), OPSET)
    sizes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kept, made = [], {}
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in sizes:
            made[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    random = np.random.default_rng(SEED)
    uses = _uses(model)
    for weight, shape in made.items():
        values = _noise(tuple(int(s) for s in sizes[shape]), uses.get(weight, ()), random)
        model.graph.initializer.append(numpy_helper.from_array(values, weight))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    _drop(model, {*made.values(), *(t.name for t in model.graph.initializer)} - {r for n in kept for r in n.input})
    held = {t.name for t in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in held and i.name in {r for n in kept for r in n.input}]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for number, node in enumerate(model.graph.node):  # the files name none, and a report does
        node.name = node.name or f"{node.op_type}_{number}"
    model.ir_version = max(model.ir_version, 8)
    onnx.save(model, place)
    return place


def _uses(model: ModelProto) -> dict[str, tuple[tuple[str, int], ...]]:
    """Tensor to the operators that read it and as which operand; an Unsqueeze is looked through."""
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    for node in reversed(model.graph.node):
        for position, name in enumerate(node.input):
            through = found.get(node.output[0], ()) if node.op_type == "Unsqueeze" else ((node.op_type, position),)
            found[name] = (*found.get(name, ()), *through)
    return found


def _noise(shape: tuple[int, ...], uses: tuple[tuple[str, int], ...], random: np.random.Generator) -> Any:
    if NEAR_ONE & set(uses):
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) < 2:
        return random.normal(0, 0.05, shape).astype(np.float32)
    fan_in = int(np.prod(shape[1:]))
    return random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)


def _drop(model: ModelProto, names: set[str]) -> None:
    """Takes initialisers away that nothing reads."""
    left = [t for t in model.graph.initializer if t.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend(left)
