"""The many forms in which exporters write one and the same arithmetic, read back to one.

Only what is equal for every value is taken as equal: (x^2)^(1/2) is |x|, so a root ends the reading of a product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trtbuild.rewriter.graph import GraphView

_DEEPEST = 6  # products inside each other that are looked into


@dataclass(frozen=True)
class Product:
    """A tensor as ``coefficient`` times the product of ``tensor ** exponent``."""

    coefficient: float
    powers: tuple[tuple[Any, float], ...]

    def exponent(self, tensor: Any) -> float:
        """The exponent of a tensor; 0 where it is no factor."""
        return sum(exponent for factor, exponent in self.powers if factor is tensor)

    def is_of(self, coefficient: float, *powers: tuple[Any, float], like: float = 1e-5) -> bool:
        """Whether it is that coefficient, but for a relative error of ``like``, and those powers, and no more."""
        return (
            math.isclose(self.coefficient, coefficient, rel_tol=like)
            and all(any(factor is t for t, _ in powers) for factor, _ in self.powers)
            and all(math.isclose(self.exponent(t), e) for t, e in powers)
        )


def product(graph: GraphView, tensor: Any, stop: Sequence[Any] = ()) -> Product:
    """Reads Mul, Div, Sqrt, Reciprocal and Pow back to one product.

    Args:
        graph: The graph.
        tensor: What they compute.
        stop: Tensors that are factors, whatever made them.
    """
    found: list[tuple[Any, float]] = []
    coefficient = _collect(graph, tensor, 1.0, [uncast(graph, t) for t in stop], found, 0)
    merged: list[tuple[Any, float]] = []
    for factor, _ in found:
        if not any(factor is t for t, _ in merged):
            merged.append((factor, sum(e for t, e in found if t is factor)))
    return Product(coefficient, tuple(merged))


def _collect(
    graph: GraphView, tensor: Any, power: float, stop: Sequence[Any], found: list[tuple[Any, float]], depth: int
) -> float:
    """Adds the factors of ``tensor ** power`` to ``found`` and gives back the coefficient."""
    tensor = uncast(graph, tensor)
    node = graph.producer(tensor, "Mul", "Div", "Sqrt", "Reciprocal", "Pow")
    if node is None or depth > _DEEPEST or any(tensor is t for t in stop):
        found.append((tensor, power))
        return 1.0
    exponent = {"Sqrt": 0.5, "Reciprocal": -1.0}.get(node.op)
    if node.op == "Pow":
        exponent = scalar_beside(graph, node, 1)
    if node.op in ("Mul", "Div"):
        coefficient = 1.0
        for index, sign in ((0, 1.0), (1, 1.0 if node.op == "Mul" else -1.0)):
            value = scalar_beside(graph, node, index)
            if value is None:
                coefficient *= _collect(graph, node.inputs[index], sign * power, stop, found, depth + 1)
            elif value > 0 or (value < 0 and power == int(power)):
                coefficient *= value ** (sign * power)
            else:
                found.append((node.inputs[index], sign * power))
        return coefficient
    if exponent is None:
        found.append((tensor, power))
        return 1.0
    if exponent != int(exponent):
        found.append((uncast(graph, node.inputs[0]), exponent * power))
        return 1.0
    return _collect(graph, node.inputs[0], exponent * power, stop, found, depth + 1)


def scalar_beside(graph: GraphView, node: Any, index: int) -> float | None:
    """The operand of a node with two, where it is one number that adds no axis to the other operand's."""
    tensor, other = node.inputs[index], node.inputs[1 - index]
    value = graph.scalar(tensor)
    rank = graph.rank(other)
    return value if value is not None and (len(tensor.shape) <= (rank or 0)) else None


def plus_scalar(graph: GraphView, tensor: Any) -> tuple[Any, float] | None:
    """The computed operand and the number of a sum."""
    node = graph.producer(uncast(graph, tensor), "Add")
    if node is not None:
        for index in (0, 1):
            value = scalar_beside(graph, node, index)
            if value is not None:
                return node.inputs[1 - index], value
    return None


def uncast(graph: GraphView, tensor: Any) -> Any:
    """The tensor before Casts that change none of its values: to a type at least as wide."""
    while (node := graph.producer(tensor, "Cast")) is not None:
        source, target = graph.dtype(node.inputs[0]), graph.dtype(tensor)
        if source is None or target is None or {source.kind, target.kind} != {"f"} or source.itemsize > target.itemsize:
            return tensor
        tensor = node.inputs[0]
    return tensor


def mean(graph: GraphView, tensor: Any) -> tuple[Any, tuple[int, ...]] | None:
    """What a tensor is the mean of, and over which axes, counted from the back; None unless it keeps them."""
    node = graph.producer(uncast(graph, tensor), "ReduceMean")
    if node is None or not node.attrs.get("keepdims", 1):
        return None
    axes = node.attrs.get("axes", [])
    if len(node.inputs) > 1 and node.inputs[1].name:
        axes = graph.constant(node.inputs[1])
    rank = graph.rank(node.inputs[0])
    if axes is None or len(axes) == 0 or (rank is None and any(a >= 0 for a in axes)):
        return None
    return node.inputs[0], tuple(sorted(int(a) if a < 0 else int(a) - (rank or 0) for a in axes))


@dataclass(frozen=True)
class Normalized:
    """``base / sqrt(mean(base ** 2) + epsilon)``, times constants.

    Attributes:
        base: What is divided by its root mean square.
        axes: The axes of the mean, counted from the back, in order.
        epsilon: Stands below the root.
        constants: Further factors.
    """

    base: Any
    axes: tuple[int, ...]
    epsilon: float
    constants: tuple[Any, ...]


def normalized(graph: GraphView, tensor: Any) -> Normalized | None:
    """Reads a tensor as something divided by its root mean square."""
    for inside in (t for t, exponent in product(graph, tensor).powers if exponent == -0.5):
        total = plus_scalar(graph, inside)
        squares = mean(graph, total[0]) if total else None
        base = _base_of_square(graph, squares[0]) if squares else None
        if total is None or squares is None or base is None:
            continue
        whole = product(graph, tensor, (base,))
        rest = tuple(t for t, _ in whole.powers if t is not inside and t is not uncast(graph, base))
        fits = whole.is_of(1.0, (uncast(graph, base), 1.0), (inside, -0.5), *((t, 1.0) for t in rest))
        if fits and all(graph.is_constant(t) for t in rest) and graph.dtype(base) == graph.dtype(tensor) is not None:
            return None if rest and _operand_is_it(graph, tensor) else Normalized(base, squares[1], total[1], rest)
    return None


def _operand_is_it(graph: GraphView, tensor: Any) -> bool:
    """Whether what is normalised is an operand already, and the constants come after it."""
    node = graph.producer(uncast(graph, tensor))
    return node is not None and any(normalized(graph, t) for t in node.inputs if not graph.is_constant(t))


def _base_of_square(graph: GraphView, tensor: Any) -> Any | None:
    node = graph.producer(uncast(graph, tensor), "Mul", "Pow")
    if node is None:
        return None
    square = node.inputs[0] is node.inputs[1] if node.op == "Mul" else scalar_beside(graph, node, 1) == 2
    return node.inputs[0] if square else None


def nodes_between(graph: GraphView, node: Any, *sources: Any) -> tuple[str, ...]:
    """Names of the nodes that ``node`` is computed by, itself left out, from ``sources`` and constants on."""
    ends = {id(t) for s in sources for t in (s, uncast(graph, s))}
    seen: list[Any] = [node]
    for each in seen:
        for tensor in each.inputs:
            producer = graph.producer(tensor) if id(tensor) not in ends else None
            if producer is not None and not any(producer is n for n in seen):
                seen.append(producer)
    return tuple(n.name for n in seen[1:])


def ones(graph: GraphView, tensor: Any, count: int) -> np.ndarray[Any, Any] | None:
    """A factor of ones over a tensor's last ``count`` axes, in its type; None where a size is not known."""
    shape, dtype = graph.shape(tensor), graph.dtype(tensor)
    if shape is None or dtype is None or not all(isinstance(d, int) for d in shape[len(shape) - count :]):
        return None
    return np.ones([int(d) for d in shape[len(shape) - count :] if isinstance(d, int)], dtype)


Polynomial = dict[tuple[int, ...], float]
"""Coefficient by the exponents of the variables."""

_POLYNOMIAL = ("Mul", "Div", "Add", "Sub", "Neg", "Pow")


def polynomial(graph: GraphView, tensor: Any, *variables: Any, depth: int = 0) -> Polynomial | None:
    """Reads a tensor as a polynomial of ``variables``; None where it is made of anything else."""
    tensor = uncast(graph, tensor)
    for index, variable in enumerate(variables):
        if tensor is uncast(graph, variable):
            return {tuple(int(i == index) for i in range(len(variables))): 1.0}
    node = graph.producer(tensor, *_POLYNOMIAL)
    if node is None or depth > _DEEPEST:
        return None
    if node.op in ("Neg", "Pow"):
        power = scalar_beside(graph, node, 1) if node.op == "Pow" else None
        base = polynomial(graph, node.inputs[0], *variables, depth=depth + 1)
        if base is None or node.op == "Neg":
            return base and {k: -v for k, v in base.items()}
        return _times(*[base] * int(power)) if power in (1, 2, 3, 4) else None
    sides: list[Polynomial] = []
    for index in (0, 1):
        value = scalar_beside(graph, node, index)
        constant = None if value is None else {(0,) * len(variables): value}
        side = constant or polynomial(graph, node.inputs[index], *variables, depth=depth + 1)
        if side is None or (node.op == "Div" and index == 1 and not value):
            return None
        sides.append(side)
    if node.op == "Div":
        return {k: v / next(iter(sides[1].values())) for k, v in sides[0].items()}
    if node.op == "Mul":
        return _times(*sides)
    sign = 1 if node.op == "Add" else -1
    return {k: sides[0].get(k, 0) + sign * sides[1].get(k, 0) for k in (*sides[0], *sides[1])}


def _times(*sides: Polynomial) -> Polynomial:
    result = sides[0]
    for side in sides[1:]:
        product: Polynomial = {}
        for (a, x), (b, y) in ((left, right) for left in result.items() for right in side.items()):
            key = tuple(i + j for i, j in zip(a, b, strict=True))
            product[key] = product.get(key, 0) + x * y
        result = product
    return result


def is_polynomial(found: Polynomial | None, wanted: Polynomial, like: float = 1e-5) -> bool:
    """Whether two polynomials are the same, but for a relative error of ``like`` in each coefficient."""
    left = {k: v for k, v in (found or {}).items() if v}
    return left.keys() == wanted.keys() and all(math.isclose(left[k], v, rel_tol=like) for k, v in wanted.items())


def operands(graph: GraphView, tensor: Any, most: int = 16) -> list[Any]:
    """The tensors that a polynomial may be one of, nearest first: the tensor itself and what its nodes read."""
    found = [tensor]
    for each in found:
        node = graph.producer(each, *_POLYNOMIAL, "Cast")
        read = node.inputs if node is not None and len(found) < most else ()
        found += [t for t in read if not graph.is_constant(t) and not any(t is f for f in found)]
    return found
