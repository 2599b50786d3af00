"""What is wrong at a node: its weights, the order of its inputs, its number format, its scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import Cause
from trtbuild.debugging.alignment import CONVERSIONS, Segment, nodes_between
from trtbuild.debugging.parts import RESULT, Graph, cut, run
from trtbuild.debugging.scales import BAD_SCALE_DB, STEPS, costs, quantised, sqnr_db
from trtbuild.emulation import MADE_UP
from trtbuild.onnxfile import reads, values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Arrays = Mapping[str, NDArray[Any]]

_LARGEST = {"FP16": 65504.0, "BF16": 3.3895e38}
_SAME_WEIGHT_DB = 15.0  # INT4 keeps about 18 dB of a weight


@dataclass(frozen=True)
class Scene:
    """What a cause is looked for in.

    Attributes:
        reference: The reference's graph.
        subject: The subject's, weights in memory.
        segment: The part of the subject that makes the tensor.
        paired: Tensors of the subject to the reference's that they are.
        known: The reference's values of what it begins at and of what it makes, by the subject's names.
        local_nonfinite: NaN and Inf that the part makes of them.
    """

    reference: Graph
    subject: ModelProto
    segment: Segment
    paired: Mapping[str, str]
    known: Arrays
    local_nonfinite: int


def cause_of(scene: Scene) -> tuple[Cause, str]:
    """The first cause that fits, from the surest to the one that is left, and a sentence about it."""
    for look in (_bad_weight, _swapped, _other_weight, _overflow, _other_operators, _bad_scale):
        found = look(scene)
        if found is not None:
            return found
    return "rounding", "its operands and its result are rounded to the number format, and nothing else is wrong"


def _bad_weight(scene: Scene) -> tuple[Cause, str] | None:
    import numpy as np
    from onnx import numpy_helper

    named = {t for n in scene.segment.nodes for t in reads(n)}
    for tensor in scene.subject.graph.initializer:
        if tensor.name in named and tensor.data_type in (1, 10, 11, 16):
            bad = int((~np.isfinite(numpy_helper.to_array(tensor).astype(np.float32))).sum())
            if bad:
                return "bad weight", f"its weight {tensor.name!r} has {bad} NaN or Inf"
    return None


def _twin(scene: Scene) -> NodeProto | None:
    """The reference's node that makes the tensor, where it is of the same operator."""
    main = scene.segment.main
    made = {t: n for n in scene.reference.model.graph.node for t in n.output}
    twin = made.get(scene.segment.reference)
    while twin is not None and twin.op_type in CONVERSIONS and main.op_type not in CONVERSIONS:
        twin = made.get(twin.input[0])  # a reference in FP16 is emulated too: its results are rounded
    return twin if twin is not None and twin.op_type == main.op_type else None


def _swapped(scene: Scene) -> tuple[Cause, str] | None:
    """Whether the main node reads the reference's tensors, but not in the reference's order."""
    twin = _twin(scene)
    if twin is None:
        return None
    maker = {t: n for n in scene.subject.graph.node for t in n.output}
    mine = [_origin(t, maker, scene.segment) for t in scene.segment.main.input]
    theirs = [t.removesuffix(MADE_UP[-1]) for t in twin.input]  # widened where the reference is emulated
    live = [(a, b) for a, b in zip(mine, theirs, strict=False) if a is not None]
    differ = [(a, b) for a, b in live if a != b]
    if not differ:
        return None
    a, b = differ[0]
    if sorted(x for x, _ in live) == sorted(y for _, y in live):
        return "swapped inputs", f"it reads its inputs in another order: {a!r} where the reference reads {b!r}"
    return "swapped inputs", f"it reads {a!r} where the reference reads {b!r}"


def _origin(tensor: str, maker: Mapping[str, NodeProto], segment: Segment) -> str | None:
    """The reference's name of the tensor that an operand is, conversions aside; None where it is none of those."""
    while tensor not in segment.begins:
        node = maker.get(tensor)
        if node is None or node.op_type not in CONVERSIONS:
            return tensor if node is None and tensor in segment.reads and tensor not in segment.weights else None
        tensor = node.input[0]
    return segment.begins[tensor]


def _other_weight(scene: Scene) -> tuple[Cause, str] | None:
    import numpy as np

    twin = _twin(scene)
    if twin is None:
        return None
    for index, (mine, theirs) in enumerate(zip(scene.segment.main.input, twin.input, strict=False)):
        here = _constant(scene.subject, None, mine)
        there = _constant(scene.reference.model, scene.reference.folder, theirs)
        if here is None or there is None or not there.size or there.dtype.kind != "f":
            continue
        if here.shape == there.shape and sqnr_db(there, here) >= _SAME_WEIGHT_DB:
            continue
        what = f"input {index} ({mine!r})"
        turned = here.ndim == 2 and here.T.shape == there.shape and sqnr_db(there, np.ascontiguousarray(here.T)) > 10
        if turned:
            return "other weight", f"its weight, {what}, is the reference's transposed"
        if here.shape != there.shape:
            return "other weight", f"its weight, {what}, is {list(here.shape)}; the reference's is {list(there.shape)}"
        return (
            "other weight",
            f"its weight, {what}, is another one: {sqnr_db(there, here):.1f} dB against the reference's",
        )
    return None


def _constant(model: ModelProto, folder: Path | None, tensor: str) -> NDArray[np.float64] | None:
    """The value of a tensor that depends on no input, dequantised; None for others."""
    import numpy as np

    initial = {t.name: t for t in model.graph.initializer}
    if tensor in initial:
        return values(initial[tensor], folder or Path()).astype(np.float64)
    nodes = nodes_between(model, [tensor], ())
    made = {t for n in nodes for t in n.output}
    if not nodes or any(t not in made and t not in initial for n in nodes for t in reads(n)):
        return None
    return run(cut(model, nodes, {tensor: tensor + RESULT}, ()), {}, folder)[tensor + RESULT].astype(np.float64)


def _overflow(scene: Scene) -> tuple[Cause, str] | None:
    import numpy as np

    if not scene.local_nonfinite:
        return None
    right = scene.known[scene.segment.tensor]
    reach = float(np.abs(right[np.isfinite(right)]).max(initial=0))
    types = _low_types(scene)
    word = "FP16" if "FP16" in types or not types else types[0]
    beyond = "beyond" if reach > _LARGEST[word] else "and on the way to it more than"
    return "overflow", (
        f"{scene.local_nonfinite} values turn NaN or Inf: the reference reaches {reach:.4g} here, {beyond} "
        f"{_LARGEST[word]:g}, the largest that {word} holds"
    )


def _low_types(scene: Scene) -> list[str]:
    from trtbuild.onnxfile import element_types

    kinds = element_types(scene.subject)
    words = {10: "FP16", 16: "BF16"}
    named = [t for n in scene.segment.nodes for t in (*reads(n), *n.output)]
    return list(dict.fromkeys(words[kinds[t]] for t in named if kinds.get(t) in words))


def _other_operators(scene: Scene) -> tuple[Cause, str] | None:
    theirs = nodes_between(
        scene.reference.model,
        [scene.segment.reference],
        [t for t in scene.paired.values() if t != scene.segment.reference],
    )
    mine = Counter(n.op_type for n in scene.segment.nodes if n.op_type not in CONVERSIONS)
    other = Counter(n.op_type for n in theirs if n.op_type not in (*CONVERSIONS, "Constant"))
    mine.pop("Constant", None)
    if mine == other:
        return None
    return "other operators", f"{_listed(mine)} stands where the reference has {_listed(other)}"


def _listed(ops: Counter[str]) -> str:
    return ", ".join(f"{op} x {n}" if n > 1 else op for op, n in sorted(ops.items())) or "nothing"


def _bad_scale(scene: Scene) -> tuple[Cause, str] | None:
    """The scale that costs most against the best of those around it, where that is much more than rounding does."""
    import numpy as np

    found = [
        (costs(x, scale), node, x, scale) for node, x, scale in quantised(scene.subject, scene.segment, scene.known)
    ]
    ((loss, fits), node, x, scale) = max(found, key=lambda f: f[0][0], default=((0.0, 0.0), None, None, 1.0))
    if node is None or x is None or loss < BAD_SCALE_DB:
        return None
    clipped = 100 * float((np.abs(x) > scale * (STEPS + 0.5)).mean())
    used = 100 * min(1.0, float(np.abs(x).max(initial=0)) / (scale * STEPS))
    how = f"clips {clipped:.3g} % of the values" if clipped > 0 else f"uses {used:.3g} % of its range"
    gain = f"{fits:.4g} would keep {loss:.1f} dB more"
    return "bad scale", f"the scale {scale:.4g} of {node.input[0]!r} {how}; {gain}"


__all__: Sequence[str] = ["Scene", "cause_of"]
