"""The model's matrix nodes from its input to its output: precision of each, and its error where that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbuild import onnxfile
from trtbuild.artifacts import Build, NodeSensitivity


def depth(done: Build) -> dict[str, Any]:
    """A row a matrix node, in the graph's order, and how its error is known.

    A row has ``node``, ``precision`` in the graph, ``runs_in`` (target to what its kernel runs in), ``macs`` at the
    first profile's opt sizes (None: not known), ``why`` it stayed in float, and ``sqnr_db``: of the model's worst
    output with this node alone in that precision, dB (None: not measured).
    """
    measured = done.front.sensitivity if done.front else None
    noises = {(n.node, n.format): n for n in measured.nodes} if measured else {}
    return {
        "error": {"how": measured.how, "samples": measured.samples} if measured else None,
        "nodes": [_node(done, noises, node) for node in _in_order(done)],
    }


def _in_order(done: Build) -> list[str]:
    """Names of the matrix nodes as the graph has them: the store gives a mapping sorted by name."""
    graph = onnxfile.load(done.typed.model.path, weights=False).graph
    places = {node.name: place for place, node in enumerate(graph.node)}
    return sorted(done.typed.assignment, key=lambda name: places.get(name, len(places)))


def _node(done: Build, noises: Mapping[tuple[str, str], NodeSensitivity], node: str) -> dict[str, Any]:
    precision = done.typed.assignment[node]
    noise = noises.get((node, precision))
    return {
        "node": node,
        "precision": precision,
        "runs_in": {p.target.name: p.work.nodes.get(node, "unknown") for p in done.plans},
        "macs": done.typed.macs.get(node),
        "why": done.typed.kept.get(node, ""),
        "sqnr_db": noise.sqnr_db if noise else None,
    }
