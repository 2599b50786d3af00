"""What was gained and what it cost, each in a sentence with its figures; only what was measured or counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtbuild.console import human_size


def trade_offs(document: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first."""
    return [*_size(document), *_accuracy(document), *_speed(document), *_kept(document), *_portability(document)]


def _size(document: Mapping[str, Any]) -> Iterator[str]:
    sizes, precision = document["sizes"], document["asked"]["precision"]
    before, graph = sizes["fp32 onnx"], sizes.get(f"{precision} onnx", 0)
    if precision != "fp32" and graph:
        share = f"{graph / before:.2f} of it"
        yield f"Weights: the {precision} ONNX has {human_size(graph)} where FP32 has {human_size(before)}: {share}."
    for plan in document["verdict"]["plans"]:
        if plan["bytes"] > before:
            yield (
                f"The plan for {plan['target']} has {human_size(plan['bytes'])}, more than the FP32 ONNX: kernels are "
                "in it, which weigh more than a small model."
            )


def _accuracy(document: Mapping[str, Any]) -> Iterator[str]:
    for proof in document["verdict"]["proofs"]:
        task, worst = proof["task"], proof["worst"]
        if task:
            sure = "" if task["drop_at_most"] is None else f", at most {task['drop_at_most']:.4f} with 95 % confidence"
            change = f"from {task['reference']:.4f} to {task['subject']:.4f}"
            yield f"{task['metric']} goes {change}: a drop of {task['drop']:+.4f}{sure}."
        elif worst:
            noise = "exact" if worst["sqnr_db"] is None else f"SQNR {worst['sqnr_db']:.1f} dB"
            yield f"The output {worst['output']} keeps a cosine of {worst['cosine']:.6f} to FP32 ({noise})."


def _speed(document: Mapping[str, Any]) -> Iterator[str]:
    for plan in document["verdict"]["plans"]:
        if plan["times_as_fast"] is not None:
            faster = f"{plan['times_as_fast']:.2f} times as fast as the baseline"
            yield f"On {plan['target']} a call takes {plan['p50_ms']:.3f} ms, {faster}."
    if not any(plan["p50_ms"] is not None for plan in document["verdict"]["plans"]):
        yield "What it brings in speed is not known: no plan was run on a GPU."


def _kept(document: Mapping[str, Any]) -> Iterator[str]:
    for reason, count in document["precision"]["kept"].items():
        yield f"{count} nodes stay in float: {reason}."


def _portability(document: Mapping[str, Any]) -> Iterator[str]:
    builders = dict.fromkeys(f"{p['backend']} {p['backend_version']}" for p in document["plans"])
    if builders:
        yield f"A plan is for its compute capability and for {', '.join(builders)}: another one needs another build."
