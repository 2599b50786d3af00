"""Runs a lowered graph on samples as a GPU would, finds where it goes wrong, and keeps that in FP32.

Both graphs run in ONNX Runtime: FP32 as it is, the lowered one emulated, with the sums of means rounded too. A tensor
is at fault where it turns NaN or Inf and the FP32 one does not, or where its error is large and several times that of
its inputs. The node at fault stays in FP32, and so does what made its inputs when it is the error that grew: a
difference of two nearly equal numbers is lost before it is taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from trtbuild import onnxfile
from trtbuild.precision.lowering.float_graph import FloatGraph, Range, without_constant_nodes
from trtbuild.precision.lowering.fragile import LowPrecision
from trtbuild.precision.lowering.half_ranges import MASK_FLOOR, masks
from trtbuild.precision.lowering.lower import Lowered, low_suffix, lower

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Feed = Mapping[str, NDArray[Any]]

LIMIT: Mapping[str, float] = MappingProxyType({"fp16": 0.1, "bf16": 0.3})
"""Root mean square error over that of the FP32 tensor, above which a node is at fault."""

_GROWTH = 4.0
"""How much larger than its inputs' errors a tensor's error is where its node is at fault: roundings to INT8 that fall
the other way add up through a network, and that is no node's fault."""

_AT_ONCE = 64  # tensors read in one run: all of them would take the memory of every activation


@dataclass(frozen=True)
class Fault:
    """One node that the lower precision makes wrong.

    Attributes:
        node: Its name.
        tensor: Its result.
        reason: What is wrong with it.
        also: Nodes that made its inputs and share the fault.
        range: Smallest and largest value of the result in FP32.
    """

    node: str
    tensor: str
    reason: str
    also: tuple[str, ...]
    range: Range


@dataclass
class _Seen:
    """One tensor over all samples."""

    signal: float = 0.0
    noise: float = 0.0
    broken: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, reference: NDArray[Any], subject: NDArray[Any], floor: float) -> None:
        """Takes one sample's tensor from both sides; below the floor, both mean the same."""
        import numpy as np

        a, b = np.asarray(reference, np.float64), np.asarray(subject, np.float64)
        finite = np.isfinite(a)
        counts = finite & (a > floor)
        self.broken += int(((counts & np.isinf(b)) | (finite & np.isnan(b))).sum())
        both = counts & np.isfinite(b)
        whole = a[finite]
        a, b = a[both], b[both]
        self.signal += float((a * a).sum())
        self.noise += float(((a - b) ** 2).sum())
        if whole.size:
            self.low, self.high = min(self.low, float(whole.min())), max(self.high, float(whole.max()))

    @property
    def error(self) -> float:
        return math.sqrt(self.noise / self.signal) if self.signal else (math.inf if self.noise else 0.0)


def check_half(
    typed: ModelProto,
    reference: ModelProto,
    samples: Iterable[Feed],
    *,
    precision: LowPrecision,
    limit: float | None = None,
) -> tuple[Fault, ...]:
    """Finds the nodes that the lower precision makes wrong.

    Args:
        typed: What ``lower`` made of the reference.
        reference: The FP32 model, with Q/DQ where the typed one has it; its nodes have names.
        samples: Feeds of the reference's inputs.
        precision: What it was lowered to.
        limit: Error of a tensor, relative to its root mean square, that is a fault; by default ``LIMIT``.

    Returns:
        The faults, in the graph's order. Inputs and outputs of nodes that are past a fault are not reported again.
    """
    feeds = list(samples)
    graph = FloatGraph(without_constant_nodes(reference))
    forms = _forms(typed, graph, low_suffix(graph.model, precision))
    seen = _run(typed, graph, forms, feeds)
    return _faults(graph, seen, LIMIT[precision] if limit is None else limit)


def _forms(typed: ModelProto, graph: FloatGraph, suffix: str) -> dict[str, str]:
    """FP32 tensor to the form of it that the typed graph makes first."""
    made = {name for node in typed.graph.node if node.op_type != "Cast" for name in node.output}
    casts = {name for node in typed.graph.node if node.op_type == "Cast" for name in node.output}
    found = {}
    for node in graph.model.graph.node:
        for name in node.output:
            lower_form = next((n for n in (name + suffix, name) if n in made), None)
            lower_form = lower_form or next((n for n in (name + suffix, name) if n in casts), None)
            if name and graph.is_float(name) and lower_form is not None:
                found[name] = lower_form
    return found


def _run(typed: ModelProto, graph: FloatGraph, forms: Mapping[str, str], feeds: Sequence[Feed]) -> dict[str, _Seen]:
    from trtbuild.emulation import emulate
    from trtbuild.onnxrun import run, session

    emulated = emulate(typed, low_sums=True)
    kinds = {v.name: v.type.tensor_type.elem_type for v in typed.graph.input}
    seen = {name: _Seen() for name in forms}
    made = {name for node in emulated.graph.node for name in node.output}
    read = {n: f"{f}/wide" if f"{f}/wide" in made else f for n, f in forms.items()}  # NumPy has no BF16
    names = list(forms)
    floors = {name: MASK_FLOOR if masks(graph, name) else -math.inf for name in names}
    left = session(_handing_out(graph.model, names))
    right = session(_handing_out(emulated, [read[n] for n in names]))
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        for feed in feeds:
            reference = run(left, feed, some)
            subject = run(right, _as_typed(feed, kinds), [read[n] for n in some])
            for name in some:
                seen[name].add(reference[name], subject[read[name]], floors[name])
    return seen


def _as_typed(feed: Feed, kinds: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """A feed in the types that the typed graph takes."""
    from onnx import helper

    return {n: v.astype(helper.tensor_dtype_to_np_dtype(kinds[n])) for n, v in feed.items() if n in kinds}


def _handing_out(model: ModelProto, names: Sequence[str]) -> ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy


def _faults(graph: FloatGraph, seen: Mapping[str, _Seen], limit: float) -> tuple[Fault, ...]:
    found = []
    broken, before = set[str](), dict[str, float]()  # of every tensor: whether, and how far, it is off
    for node in graph.model.graph.node:
        inputs = [n for n in onnxfile.reads(node) if n in before]
        came = max((before[n] for n in inputs), default=0.0)
        for name in filter(None, node.output):
            tensor = seen.get(name)
            before[name] = came if tensor is None else tensor.error
            if any(n in broken for n in inputs):
                broken.add(name)  # it only hands on what went wrong before it
            elif tensor is not None and tensor.broken:
                broken.add(name)
                reason = f"{tensor.broken} of its results turn NaN or Inf; in FP32 they reach {_reach(tensor):.3g}"
                found.append(Fault(node.name, name, reason, (), (tensor.low, tensor.high)))
            elif tensor is not None and tensor.error > max(limit, _GROWTH * came):
                reason = f"its error is {tensor.error:.0%} of its result"
                found.append(Fault(node.name, name, reason, _makers(graph, node), (tensor.low, tensor.high)))
    return tuple(found)


def _reach(tensor: _Seen) -> float:
    return max(-tensor.low, tensor.high)


def _makers(graph: FloatGraph, node: NodeProto) -> tuple[str, ...]:
    makers = (graph.producers.get(name) for name in node.input if graph.is_float(name))
    return tuple(dict.fromkeys(m.name for m in makers if m is not None))


@dataclass(frozen=True)
class Checked:
    """What ``lower_checked`` came to.

    Attributes:
        lowered: The last lowering.
        faults: What is still wrong with it; empty where all holds.
        rounds: How many times it was lowered.
        found: What was wrong in the rounds before.
    """

    lowered: Lowered
    faults: tuple[Fault, ...]
    rounds: int
    found: tuple[Fault, ...]


def lower_checked(
    model: ModelProto,
    precision: LowPrecision,
    samples: Iterable[Feed],
    *,
    ranges: Mapping[str, Range] | None = None,
    keep: Mapping[str, str] = MappingProxyType({}),
    io: Literal["keep", "low"] = "keep",
    rounds: int = 4,
    limit: float | None = None,
) -> Checked:
    """Lowers, runs the result on samples, keeps in FP32 what goes wrong, and does so again until nothing does.

    Args:
        model: The FP32 model; its nodes have names.
        precision: What to lower it to.
        samples: Feeds; a handful is enough, for each is run twice for every 64 tensors of the graph.
        ranges: As for ``lower``. What the samples show is added to it.
        keep: As for ``lower``.
        io: As for ``lower``.
        rounds: How often it may be lowered.
        limit: As for ``check_half``.
    """
    feeds = list(samples)
    known, kept = dict(ranges or {}), dict(keep)
    found: list[Fault] = []
    for number in itertools.count(1):
        done = lower(model, precision, ranges=known, keep=kept, io=io)
        faults = check_half(done.model, model, feeds, precision=precision, limit=limit)
        if not faults or number >= rounds:
            break
        found += faults
        for fault in faults:
            low, high = known.get(fault.tensor, fault.range)
            known[fault.tensor] = (min(low, fault.range[0]), max(high, fault.range[1]))
            for name in (fault.node, *fault.also):
                kept.setdefault(name, f"on samples: {fault.node}: {fault.reason}")
    return Checked(done, faults, number, tuple(found))
