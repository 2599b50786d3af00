"""Holds what the kernels read against what each matrix node was asked to compute in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trtbuild.artifacts import EngineLayer, EngineLayers, NodePrecision, PrecisionShare
from trtbuild.engine.layers.words import FINEST_FIRST, NOT_MATRIX


def precision_share(
    layers: EngineLayers | Iterable[EngineLayer], assignment: Mapping[str, NodePrecision], macs: Mapping[str, int]
) -> PrecisionShare:
    """Holds the kernels against what each matrix node was asked to compute in.

    Args:
        layers: The engine's kernels. Each optimisation profile has its own, and a node has to run as asked in all.
        assignment: Matrix node to the precision its graph gives it.
        macs: Matrix node to its multiply-accumulates; a node without weighs as much as the median of the others.

    Returns:
        Shares by work. A node no kernel names is not honoured either: nothing shows what it runs in. One exception:
        TensorRT-RTX names no node for some products that it fuses with a sum (``__myl_FcAdd_...``, a 1x1 convolution).
        Where a profile has as many matrix kernels without a node as matrix nodes without a kernel, and the kernels are
        all of one precision, the nodes run in that.
    """
    profiles: dict[int, dict[str, list[EngineLayer]]] = {}
    nameless: dict[int, list[EngineLayer]] = {}
    for layer in layers:
        kernels = profiles.setdefault(layer.profile, {})
        for node in layer.onnx_nodes:
            kernels.setdefault(node, []).append(layer)
        if layer.role == "matrix" and not layer.onnx_nodes:
            nameless.setdefault(layer.profile, []).append(layer)
    for number, kernels in profiles.items():
        kernels.update(_by_elimination(nameless.get(number, []), [n for n in assignment if n not in kernels]))
    ran: dict[str, str] = {}
    for node, asked in assignment.items():
        seen = [_runs_in(kernels.get(node, [])) for kernels in profiles.values()] or ["unknown"]
        ran[node] = next((precision for precision in seen if precision != asked), asked)
    known = sorted(macs[n] for n in assignment if n in macs)
    usual = known[len(known) // 2] if known else 1
    work: dict[str, int] = {}
    for node, precision in ran.items():
        work[precision] = work.get(precision, 0) + macs.get(node, usual)
    total = sum(work.values()) or 1
    return PrecisionShare(
        shares={p: w / total for p, w in sorted(work.items(), key=lambda item: -item[1])},
        nodes=ran,
        not_honoured={n: (assignment[n], got) for n, got in ran.items() if got != assignment[n]},
    )


def _by_elimination(kernels: Sequence[EngineLayer], nodes: Sequence[str]) -> dict[str, list[EngineLayer]]:
    """Nodes without a kernel to the kernels without a node, where there are as many and all are alike."""
    if len(kernels) != len(nodes) or len({kernel.precision for kernel in kernels}) != 1:
        return {}
    return {node: [kernel] for node, kernel in zip(nodes, kernels, strict=True)}


def _runs_in(candidates: Sequence[EngineLayer]) -> str:
    """What a node runs in by the kernels that name it; one of elementwise work does not speak for a matrix node."""
    matrix = [k for k in candidates if k.kind.lower() not in NOT_MATRIX] or candidates
    return next((w for w in FINEST_FIRST if any(k.precision == w for k in matrix)), "unknown")
