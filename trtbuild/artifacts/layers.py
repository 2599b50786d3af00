"""The kernels of a finished engine, and what one asks of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["matrix", "attention", "generated", "reformat", "other"]
"""What a kernel does: products of matrices or convolutions; a whole attention; elementwise work, normalisations and
reductions in generated code; nothing but moving or casting; anything else, such as shape arithmetic and waiting."""

BITS: Mapping[str, int] = {
    "fp64": 64, "fp32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "fp4": 4, "int64": 64, "int32": 32, "int8": 8, "uint8": 8,
    "int4": 4, "bool": 8,
}  # fmt: skip
"""Bits of an element by dtype word, as an engine stores it."""


@dataclass(frozen=True)
class LayerTensor:
    """A tensor that a kernel reads or writes.

    Attributes:
        name: TensorRT's name; the model's own for inputs and outputs.
        dtype: A word of ``BITS``; another one in TensorRT's lower case, ``unknown`` where it does not say.
        dims: As TensorRT prints them; -1 is a dynamic axis, and axes may be merged (batch and sequence in one).
        format: TensorRT's words for its layout, for example ``(NHWC) Channel major format``.
        opt_elements: Elements at the opt sizes of the kernel's profile where ``dims`` are dynamic; None: not known.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    format: str = ""
    opt_elements: int | None = None

    @property
    def dynamic(self) -> bool:
        """Whether an axis has no fixed size."""
        return any(d < 0 for d in self.dims)

    @property
    def elements(self) -> int | None:
        """Elements at the profile's opt sizes; None where an axis is dynamic and nothing shows its size."""
        return self.opt_elements if self.dynamic else math.prod(self.dims)

    @property
    def bytes(self) -> int | None:
        """Bytes at the profile's opt sizes, without padding; None where elements or dtype are not known."""
        bits, count = BITS.get(self.dtype), self.elements
        return None if bits is None or count is None else -(-bits * count // 8)

    @property
    def layout(self) -> str:
        """The layout's short name: ``NHWC`` of ``(NHWC) Channel major format``; the whole text where it has none."""
        short = re.match(r"\(([^)]+)\)", self.format)
        return short.group(1) if short else self.format


@dataclass(frozen=True)
class EngineLayer:
    """One kernel of the finished engine.

    Attributes:
        name: TensorRT's name of the layer.
        kind: TensorRT's layer type, for example ``gemm`` or ``correlation``.
        precision: What the layer reads its operands in, by NumPy's or TensorRT's dtype word, lower case.
        onnx_nodes: Names of the ONNX nodes fused into it.
        inputs: What it reads that is computed at run time.
        outputs: What it writes.
        constants: Weights and other constants it reads.
        tactic: TensorRT's name of the kernel's code; empty where it gives none.
        stream: CUDA stream it runs on, counted from 0; None where TensorRT does not say.
        profile: Number of the optimisation profile it runs for: an engine has kernels of its own for each.
        macs: Multiply-accumulates of the ONNX matrix nodes whose work it does, at its profile's opt sizes; 0 where it
            does none, None where that is not known.
    """

    name: str
    kind: str
    precision: str
    onnx_nodes: tuple[str, ...]
    inputs: tuple[LayerTensor, ...] = ()
    outputs: tuple[LayerTensor, ...] = ()
    constants: tuple[LayerTensor, ...] = ()
    tactic: str = ""
    stream: int | None = None
    profile: int = 0
    macs: int | None = None

    @property
    def operations(self) -> tuple[str, ...]:
        """What a generated kernel does, step by step, in the short words of its name: ``("Mul", "Add", "Relu")``."""
        named = _GENERATED_NAME.match(self.tactic) or _GENERATED_NAME.match(self.name)
        return tuple(re.findall(r"[A-Z][a-z0-9]*", named.group(1))) if named else ()

    @property
    def role(self) -> Role:
        """What it does."""
        kind, steps = self.kind.lower(), set(self.operations)
        if _ATTENTION.search(self.tactic or self.name):
            return "attention"
        if kind in _MOVES or (kind in _GENERATED and steps and steps <= _MOVING_STEPS):
            return "reformat"
        if _MATRIX.search(kind) or (kind in _FUSIONS and (steps & _MATRIX_STEPS or _MATRIX.search(self.tactic))):
            return "matrix"
        return "generated" if kind in _GENERATED or kind in _FUSIONS else "other"

    @property
    def flops(self) -> int | None:
        """Floating or integer operations of its matrix work, two a multiply-accumulate; None where not known."""
        return None if self.macs is None else 2 * self.macs

    @property
    def bytes(self) -> int | None:
        """Bytes it reads and writes at its profile's opt sizes, every tensor once; None where one is not known.

        A matrix kernel of one operand has weights that TensorRT does not show, so its bytes are not known. A kernel
        that gathers reads at most as many bytes of each constant as it writes, and not the whole table.
        """
        operands = len(self.inputs) + len(self.constants)
        hidden = (self.role == "matrix" and operands < 2) or (self.role != "other" and not operands + len(self.outputs))
        if not self.kind or hidden:
            return None
        read, held, written = (_sizes(tensors) for tensors in (self.inputs, self.constants, self.outputs))
        if read is None or held is None or written is None:
            return None
        if "Gath" in self.operations or self.kind.lower() == "gather":
            held = [min(size, sum(written)) for size in held]
        return sum(read) + sum(held) + sum(written)

    @property
    def conversion(self) -> str:
        """What a reformat turns into what: ``fp32 Linear -> fp16 NHWC``; empty for any other kernel.

        Where type and layout stay as they are, the dimensions tell what is moved.
        """
        if self.role != "reformat" or not self.inputs or not self.outputs:
            return ""
        sides = [f"{t.dtype} {t.layout}".strip() for t in (self.inputs[0], self.outputs[0])]
        if sides[0] == sides[1]:
            sides = [f"{side} {list(t.dims)}" for side, t in zip(sides, (self.inputs[0], self.outputs[0]), strict=True)]
        return " -> ".join(sides)


def _sizes(tensors: Iterable[LayerTensor]) -> list[int] | None:
    """Bytes of each; None where one is not known."""
    found = [tensor.bytes for tensor in tensors]
    known = [size for size in found if size is not None]
    return known if len(known) == len(found) else None


_GENERATED_NAME = re.compile(r"__myl_([A-Za-z0-9]+?)(?:_|$)")
_ATTENTION = re.compile(r"^_*(?:\w+_)?f?mha(?:_|$)", re.IGNORECASE)
"""How TensorRT calls the code of a fused attention: ``_gemm_mha_v2_0x...``. A node's own name is not looked at where
there is a tactic: models have nodes named ``mha``."""

_GENERATED = ("kgen", "pointwise", "pointwisev2")
_FUSIONS = ("runtime_fusion", "fusion")
_MOVES = ("reformat", "memcpy", "copy", "shuffle", "cast")
_MATRIX = re.compile(r"gemm|conv|correlation|matmul|matrixmultiply|matrix_multiply|fullyconnected", re.IGNORECASE)
_MATRIX_STEPS = {"Fc", "Gemm", "Conv", "Corr", "Matm", "Bmm"}
_MOVING_STEPS = {"Move", "Resh", "Tran", "Cast", "Slic", "Conc", "Repl", "Pad", "Copy"}


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of the engine.

    Attributes:
        name: Tensor name.
        mode: ``input`` or ``output``.
        dtype: As in ``LayerTensor``.
        dims: -1 is a dynamic axis.
        shapes: Smallest, tuned-for and largest shape, one row a profile; empty for outputs.
        format: TensorRT's words for its layout in the first profile.
    """

    name: str
    mode: str
    dtype: str = "unknown"
    dims: tuple[int, ...] = ()
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = ()
    format: str = ""


@dataclass(frozen=True)
class WorkShare:
    """Which share of some work runs in which precision.

    Attributes:
        shares: Precision word to a share between 0 and 1, largest first; they add up to 1, or there are none.
        total: All of it, in FLOPs or bytes, as far as it is known.
        unknown: Kernels whose work is not known, so that they are not in the shares.
    """

    shares: Mapping[str, float]
    total: int
    unknown: int = 0


@dataclass(frozen=True)
class EngineLayers:
    """All kernels of an engine, in order of execution, the profiles one after another.

    Attributes:
        layers: The kernels.
        tensors: The engine's inputs and outputs, as the engine itself has them.
        source: Where this was read: ``build log`` or ``inspector``; empty where nothing was.
        vanished: Nodes of the compiled ONNX that no kernel names: folded, merged or found needless.
    """

    layers: tuple[EngineLayer, ...] = ()
    tensors: tuple[EngineTensor, ...] = ()
    source: str = ""
    vanished: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[EngineLayer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> EngineLayer:
        return self.layers[index]

    @property
    def detailed(self) -> bool:
        """Whether more than names is known: the engine was built with detailed profiling verbosity."""
        return any(layer.kind for layer in self.layers)

    @property
    def profiles(self) -> tuple[int, ...]:
        """Numbers of the optimisation profiles that have kernels."""
        return tuple(sorted({layer.profile for layer in self.layers}))

    def of_profile(self, number: int) -> EngineLayers:
        """The kernels that run for one optimisation profile."""
        return replace(self, layers=self.where(lambda layer: layer.profile == number))

    def where(self, holds: Callable[[EngineLayer], bool]) -> tuple[EngineLayer, ...]:
        """The kernels for which something holds."""
        return tuple(layer for layer in self.layers if holds(layer))

    def with_role(self, role: Role) -> tuple[EngineLayer, ...]:
        """The kernels of a role; ``len(layers.with_role("attention"))`` counts the fused attentions."""
        return self.where(lambda layer: layer.role == role)

    @property
    def fused(self) -> tuple[EngineLayer, ...]:
        """Kernels that do the work of several ONNX nodes."""
        return self.where(lambda layer: len(layer.onnx_nodes) > 1)

    @property
    def without_nodes(self) -> tuple[EngineLayer, ...]:
        """Kernels that name no ONNX node: TensorRT put them in by itself."""
        return self.where(lambda layer: not layer.onnx_nodes)

    def of_node(self, node: str) -> tuple[EngineLayer, ...]:
        """The kernels that an ONNX node's work went into."""
        return self.where(lambda layer: node in layer.onnx_nodes)

    def by_node(self) -> dict[str, tuple[EngineLayer, ...]]:
        """Every ONNX node that a kernel names, to those kernels."""
        found: dict[str, list[EngineLayer]] = {}
        for layer in self.layers:
            for node in dict.fromkeys(layer.onnx_nodes):
                found.setdefault(node, []).append(layer)
        return {node: tuple(kernels) for node, kernels in found.items()}

    def doing(self, step: str) -> tuple[EngineLayer, ...]:
        """Generated kernels with a step by that short name: ``doing("Exp")`` where a softmax stands by itself."""
        return self.where(lambda layer: step in layer.operations)

    def share_by_flops(self) -> WorkShare:
        """Shares of the matrix work by what its kernels run in."""
        return _share(self.layers, lambda layer: layer.flops)

    def share_by_bytes(self) -> WorkShare:
        """Shares of the bytes read and written by what the kernels run in."""
        return _share(self.layers, lambda layer: layer.bytes)


def _share(layers: tuple[EngineLayer, ...], work: Callable[[EngineLayer], int | None]) -> WorkShare:
    sums: dict[str, int] = {}
    unknown = 0
    for layer in layers:
        amount = work(layer)
        if amount is None:
            unknown += 1
        elif amount:
            sums[layer.precision] = sums.get(layer.precision, 0) + amount
    total = sum(sums.values())
    largest_first = sorted(sums.items(), key=lambda item: -item[1])
    return WorkShare({precision: amount / total for precision, amount in largest_first}, total, unknown)
