"""How many of ONNX's own node cases TensorRT-RTX builds: as they are, with constants, and after rewriting.

``onnx.backend.test`` holds one model of one node for each thing an operator can do; the cases that ONNX expands by
itself (``_expanded``) are left out. A case is built for SM89, strongly typed, without a GPU. What was rewritten is also
run, in ONNX Runtime or else in ONNX's reference implementation, and held against the case's own expected outputs: a
case that builds and is wrong does not count. The cases run in worker processes; a crash costs the case that crashed.

Writes ``docs/node-cases.md`` and, with every error word for word, ``node-cases.json`` in the current folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from node_cases_report import TENSOR_TYPES, render
from onnx import ModelProto, TensorProto, numpy_helper

from trtbuild import worker
from trtbuild.errors import TrtbuildError, WorkerCrashedError

TARGET = {"name": "sm89", "backend": "tensorrt_rtx", "compute_capability": "8.9"}
BATCH = 60  # cases a process
BATCH_TIMEOUT_S = 400
SMALL_AXES = 1  # shapes, axes, pads and scales have at most this many
INTEGERS = {
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
}  # fmt: skip
RANDOM = {"Bernoulli", "Dropout", "RandomNormalLike", "RandomUniformLike", "BatchNormalization"}
"""Operators whose expected output is a draw, or is of training mode: not compared."""


def main() -> None:
    """Runs all cases and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", type=Path, default=Path(__file__).parent.parent / "docs" / "node-cases.md")
    parser.add_argument("--json", type=Path, default=Path("node-cases.json"))
    options = parser.parse_args()
    started = time.monotonic()
    names = [name for name in cases() if options.only in name]
    batches = [names[i : i + BATCH] for i in range(0, len(names), BATCH)]
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = []
        for batch in pool.map(run_batch, batches):
            rows += batch
            print(f"{len(rows)} of {len(names)} cases, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    text = render(rows)
    if not options.only:
        options.table.write_text(text, encoding="utf-8")
    print(text.split("\n## ", 1)[0])
    wrong = [row for row in rows if row["wrong"]]
    for row in wrong:
        print(f"WRONG {row['case']}: {row['wrong']}")
    print(f"{len(rows)} cases in {time.monotonic() - started:.0f} s")
    sys.exit(1 if wrong else 0)


def cases() -> dict[str, Any]:
    """Name to case, ONNX's own expansions left out."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows on purpose, in the data of casts
        return {c.name: c for c in collect_testcases(None) if "_expanded" not in c.name}


def run_batch(names: Sequence[str]) -> list[dict[str, Any]]:
    """Tries the cases in one process, and those after a crash in the next one."""
    left, rows = list(names), []
    while left:
        done: list[dict[str, Any]] = []
        reason = "the process ended without an answer"
        try:
            worker.call(
                "node_cases:attempt",
                {"cases": left},
                on_event=done.append,
                timeout_s=BATCH_TIMEOUT_S,
                environment={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])},
            )
        except WorkerCrashedError as error:
            reason = f"crash: {error.message.splitlines()[0]}"
        rows.extend(done)
        left = left[len(done) :]
        if left:  # the first one that did not answer is what killed the process
            rows.append({**_row(left[0], "?"), "as_is": reason, "constants": reason, "rewritten": reason})
            left = left[1:]
    return rows


def _row(name: str, operator: str) -> dict[str, Any]:
    """Of a case: None where it builds, else the error; ``wrong`` where it builds and computes something else."""
    return {
        "case": name, "operator": operator, "as_is": None, "constants": None, "rewritten": None,
        "wrong": None, "checked_by": None, "rules": [], "declined": [], "types": [], "told": [],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- in the worker


def attempt(request: Mapping[str, Any], emit: worker.Emit) -> int:
    """Tries cases, one event each."""
    warnings.simplefilter("ignore")
    all_cases = cases()
    for name in request["cases"]:
        with tempfile.TemporaryDirectory() as folder:
            emit(_attempt_one(all_cases[name], Path(folder)))
    return len(request["cases"])


def _attempt_one(case: Any, folder: Path) -> dict[str, Any]:
    row = _row(case.name, case.model.graph.node[0].op_type)
    row["types"] = sorted(_types(case.model))
    variants = list(_variants(case))
    row["as_is"] = row["constants"] = _build(variants[0], folder)
    for number, variant in enumerate(variants[1:], 1):
        if row["constants"] is None:
            break
        if _build(variant, folder) is None:
            row["constants"] = None
            variants.insert(0, variants.pop(number))
    possible = [v for v in variants if _types(v) <= TENSOR_TYPES]  # no rewrite changes a model's inputs and outputs
    for variant in possible or variants[:1]:
        error = _rewrite_and_build(case, variant, folder, row)
        row["rewritten"] = error if row["rewritten"] is None else row["rewritten"]
        if error is None:
            row["rewritten"] = None
            break
    return row


def _types(model: ModelProto) -> set[str]:
    values = (*model.graph.input, *model.graph.output)
    return {TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in values}


def _variants(case: Any) -> Iterator[ModelProto]:
    """The case, then with ever more of its inputs as constants; one input at least stays what it was."""
    yield case.model
    inputs = list(case.model.graph.input)
    if any(i.type.WhichOneof("value") != "tensor_type" for i in inputs):
        return
    feed = dict(zip([i.name for i in inputs], case.data_sets[0][0], strict=True))
    integers = [i for i in inputs if i.type.tensor_type.elem_type in INTEGERS]
    small = [i for i in integers if len(i.type.tensor_type.shape.dim) <= SMALL_AXES]
    seen: set[tuple[str, ...]] = set()
    tried = (
        [i for i in small if i is not inputs[0]], [i for i in integers if i is not inputs[0]], inputs[1:], small,
        inputs[:-1],
    )  # fmt: skip
    for chosen in tried if len(inputs) > 1 else (small,):
        names = tuple(i.name for i in chosen)
        if names and names not in seen:
            seen.add(names)
            yield _with_constants(case.model, {name: feed[name] for name in names})


def _with_constants(model: ModelProto, values: Mapping[str, Any]) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    del changed.graph.input[:]
    changed.graph.input.extend(i for i in model.graph.input if i.name not in values)
    for name, value in values.items():
        tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        changed.graph.initializer.append(tensor)
        changed.graph.initializer[-1].name = name
    return changed


def _build(model: ModelProto, folder: Path) -> str | None:
    """What TensorRT says against it; None when it builds."""
    from trtbuild.artifacts import BuildOptions, to_json
    from trtbuild.engine.building import build_plan
    from trtbuild.engine.refusals import refusal

    (folder / "m.onnx").write_bytes(model.SerializeToString())
    request = {
        "backend": "tensorrt_rtx", "onnx": str(folder / "m.onnx"), "plan": str(folder / "m.plan"),
        "log": str(folder / "m.log"), "target": TARGET, "profiles": [], "tf32": False,
        "options": to_json(BuildOptions()), "timings": str(folder),
    }  # fmt: skip
    try:
        build_plan(request, lambda _event: None)
    except TrtbuildError as error:
        if isinstance(error.result, dict):  # one line a node, without what to do
            said = error.result["refused"]
            return "\n".join(str(refusal(s["text"], node=s["node"], operator=s["operator"])) for s in said)
        return error.message
    return None


def _rewrite_and_build(case: Any, model: ModelProto, folder: Path, row: dict[str, Any]) -> str | None:
    from trtbuild.rewriter import rewrite
    from trtbuild.rewriter.unbuildable import unbuildable

    onnx.save(model, folder / "in.onnx")  # check: the result is held against the case's own outputs below
    try:
        done = rewrite(folder / "in.onnx", folder, check=False, backend="tensorrt_rtx")
    except TrtbuildError as error:
        return f"{type(error).__name__}: {error.message}"
    except Exception as error:  # noqa: BLE001 - a defect of ours is a row of the table, not the end of the run
        return f"DEFECT {type(error).__name__}: {error}"
    after = onnx.load(done.model.path)
    error = _build(after, folder)
    row["declined"] = row["declined"] or [f"{d.rule}: {d.reason}" for d in done.declined]
    row["told"] = row["told"] or [u.reason for u in unbuildable(after, "tensorrt_rtx")]
    if error is None:
        row["rules"] = sorted({e.rule for e in done.applied})
        if row["rules"] and row["operator"] not in RANDOM:
            row["checked_by"], row["wrong"] = _compare(case, after)
            error = row["wrong"] and f"WRONG: {row['wrong']}"
    return error


def _compare(case: Any, after: ModelProto) -> tuple[str | None, str | None]:
    """Who ran the rewritten model, and what differs from the case's expected outputs."""
    inputs, expected = case.data_sets[0]
    feed = {i.name: _array(v) for i, v in zip(case.model.graph.input, inputs, strict=True)}
    feed = {i.name: feed[i.name] for i in after.graph.input}
    runner, got = _run(after, feed)
    if got is None:
        return None, None
    for output, wanted, mine in zip(case.model.graph.output, expected, got, strict=True):
        right, left = _array(wanted), np.asarray(mine)
        if right.shape != left.shape or right.dtype != left.dtype:
            return runner, f"{output.name}: {left.dtype}{left.shape} for {right.dtype}{right.shape}"
        exact = right.dtype.kind in "biuOSU"
        coarse = right.dtype.itemsize < 4 and not exact
        scale = max(float(np.abs(right.astype(np.float64)).max(initial=0)), 1e-3) if not exact else 0
        limit = 0 if exact else (2e-2 if coarse else max(case.rtol * 0.02, 2e-5)) * scale
        if right.dtype.kind in "OSU":
            same = np.array_equal(left, right)
        else:
            same = np.allclose(left.astype(np.float64), right.astype(np.float64), rtol=0, atol=limit, equal_nan=True)
        if not same:
            return runner, f"{output.name} differs"
    return runner, None


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _run(model: ModelProto, feed: Mapping[str, Any]) -> tuple[str | None, list[Any] | None]:
    """ONNX Runtime; at the newest opset it knows where the model's is newer; else ONNX's reference."""
    from onnx.reference import ReferenceEvaluator

    from trtbuild.onnxrun import session

    for newest in (None, 26):
        older = ModelProto()
        older.CopyFrom(model)
        for entry in older.opset_import:
            entry.version = min(entry.version, newest or entry.version) if entry.domain == "" else entry.version
        older.ir_version = min(older.ir_version, 11) if newest else older.ir_version
        try:
            return f"onnxruntime{' at opset 26' if newest else ''}", session(older).run(None, feed)
        except Exception:  # noqa: BLE001 - an operator or type it has not got: the next one is asked
            continue
    try:
        return "onnx.reference", ReferenceEvaluator(model).run(None, feed)
    except Exception:  # noqa: BLE001 - nobody runs it; the table says so
        return None, None


if __name__ == "__main__":
    main()
