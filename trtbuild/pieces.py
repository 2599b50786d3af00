"""A model cut into consecutive pieces, so that the tensors asked of each fit a budget together.

ONNX Runtime keeps every tensor that is asked for until a run ends. Each piece is a model of its own; what later pieces
read is handed on. So no node runs twice, and the results are those of the whole graph. The weights stay in one file
that all pieces map.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild import onnxfile, onnxrun
from trtbuild.matrixops import tensor_bytes
from trtbuild.onnxfile import reads

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Array = NDArray[Any]


@dataclass(frozen=True)
class _Piece:
    """Some consecutive nodes as a model of its own.

    Attributes:
        session: Runs it.
        reads: What it reads.
        gives: What is asked of it: what is yielded, and what later pieces read.
        yields: What is yielded.
    """

    session: Any
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    yields: tuple[str, ...]


class Pieces:
    """Runs a model and yields some of its tensors, a few at a time. Several threads may run feeds at once.

    Args:
        model: The model; its large weights lie on disk.
        folder: Where they lie; None where all are in memory.
        tensors: Which tensors to yield.
        budget: Bytes that those of one piece may take together; at least one tensor is held.
        threads: Threads that one run uses; 0 for all there are.
        optimise: Whether ONNX Runtime may rewrite the pieces: results differ by rounding then.
        each: Whether each tensor has a piece of its own that ends with it: what the caller changes in a yielded array,
            all nodes read that come after it. Not so where the graph cannot be cut: then there is one piece.
    """

    def __init__(
        self,
        model: ModelProto,
        folder: Path | None,
        tensors: Sequence[str],
        budget: float,
        *,
        threads: int = 0,
        optimise: bool = False,
        each: bool = False,
    ) -> None:
        self._model, self._folder, self._budget = model, folder, budget
        self._threads, self._optimise, self._each = threads, optimise, each
        self._weights = {t.name: t for t in model.graph.initializer}
        self._types = onnxfile.element_types(model)
        self._fed = {v.name for v in model.graph.input}
        self._known = self._fed | set(self._weights) | {t for n in model.graph.node for t in n.output}
        self._inputs = tuple(t for t in tensors if t in self._fed)
        self._tensors = frozenset(t for t in tensors if t not in self._fed)
        self._expected: dict[tuple[tuple[str, tuple[int, ...]], ...], Mapping[str, int]] = {}
        self._bytes: dict[str, int] = dict.fromkeys(self._tensors, 0)  # the most that each has been expected to take
        self._pieces: list[_Piece] = []
        self._cutting = threading.Lock()

    def __len__(self) -> int:
        return len(self._pieces)

    def run(self, feed: Mapping[str, Array], expected: Mapping[str, int] | None = None) -> Iterator[tuple[str, Array]]:
        """Runs one feed and yields each tensor with its name, in the graph's order.

        Args:
            feed: Input name to array.
            expected: Bytes of each tensor, where they are known; else they are inferred from the feed's shapes.
        """
        pieces = self._cut_for(feed, expected)
        for name in self._inputs:
            yield name, feed[name]
        live = dict(feed)
        for number, piece in enumerate(pieces):
            made = onnxrun.run(piece.session, {n: live[n] for n in piece.reads}, piece.gives)
            later = {n for p in pieces[number + 1 :] for n in p.reads}
            live = {n: a for n, a in {**live, **made}.items() if n in later}
            for name in piece.yields:
                yield name, made.pop(name)

    def expected(self, feed: Mapping[str, Array]) -> Mapping[str, int]:
        """Bytes of each tensor at a feed's shapes; 0 where ONNX cannot infer it."""
        shapes = tuple((n, a.shape) for n, a in feed.items())
        if shapes not in self._expected:
            inferred = tensor_bytes(self._model, dict(shapes))
            self._expected[shapes] = {n: inferred.get(n, 0) for n in self._tensors}
        return self._expected[shapes]

    def _cut_for(self, feed: Mapping[str, Array], expected: Mapping[str, int] | None) -> list[_Piece]:
        """Cuts anew where this feed needs more than the cut allows for; one for a larger feed serves a smaller one."""
        with self._cutting:
            sizes = self.expected(feed) if expected is None else expected
            grown = {n: max(size, sizes[n]) for n, size in self._bytes.items()}
            fits = all(len(p.yields) <= 1 or sum(grown[n] for n in p.yields) <= self._budget for p in self._pieces)
            self._bytes = grown
            if not self._pieces or not fits:
                self._pieces = self._cut() if self._tensors else []
            return self._pieces

    def _cut(self) -> list[_Piece]:
        nodes: list[list[NodeProto]] = [[]]
        yields: list[list[str]] = [[]]
        held = 0
        left = set(self._tensors)
        for node in self._model.graph.node:
            if not left:
                break  # nothing behind the last one needs to run
            mine = [t for t in node.output if t in left]
            size = sum(self._bytes[t] for t in mine)
            if yields[-1] and (self._each or (mine and held + size > self._budget)):
                nodes.append([])
                yields.append([])
                held = 0
            nodes[-1].append(node)
            yields[-1] += mine
            left -= set(mine)
            held += size
        pieces = self._sessions(nodes, yields)
        if pieces is None:  # a type that ONNX cannot infer would have to be declared where the cut goes through
            self._budget, self._each = float("inf"), False
            return self._cut()
        return pieces

    def _sessions(self, nodes: Sequence[Sequence[NodeProto]], yields: Sequence[Sequence[str]]) -> list[_Piece] | None:
        """From the last to the first, for what later pieces read has to be known; None where a cut is not possible."""
        asked: set[str] = set()
        pieces: list[_Piece] = []
        for mine, wanted in zip(reversed(nodes), reversed(yields), strict=True):
            made = {t for n in mine for t in n.output if t}
            gives = tuple(t for n in mine for t in n.output if t in asked or t in wanted)
            kept = _needed(mine, gives)
            outer = dict.fromkeys(t for n in kept for t in reads(n) if t in self._known and t not in made)
            needs = tuple(t for t in outer if t not in self._weights)
            if not all(self._types.get(t) for t in needs):
                return None
            asked = (asked - made) | set(needs)
            model = self._as_model(kept, needs, gives, [self._weights[t] for t in outer if t in self._weights])
            session = onnxrun.session(
                model, optimise=self._optimise, folder=self._folder, shared=True, threads=self._threads
            )
            pieces.append(_Piece(session, needs, gives, tuple(wanted)))
        return pieces[::-1]

    def _as_model(
        self, nodes: Sequence[NodeProto], needs: Sequence[str], gives: Sequence[str], weights: Sequence[Any]
    ) -> ModelProto:
        import onnx

        model = onnx.ModelProto(ir_version=self._model.ir_version, opset_import=self._model.opset_import)
        model.functions.extend(self._model.functions)
        model.graph.name = "piece"
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(weights)
        model.graph.input.extend(onnx.helper.make_tensor_value_info(n, self._types[n], None) for n in needs)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in gives)
        return model


def _needed(nodes: Sequence[NodeProto], wanted: Sequence[str]) -> list[NodeProto]:
    """The nodes that what is wanted comes from, in order."""
    asked = set(wanted)
    kept = []
    for node in reversed(nodes):
        if any(t in asked for t in node.output):
            asked |= set(reads(node))
            kept.append(node)
    return kept[::-1]
