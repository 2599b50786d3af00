"""Our calibration beside ONNX Runtime's, ModelOpt's and NNCF's, in one run: seconds, peak memory, and what INT8 keeps.

    python bench/calibration.py [--speed] [--models DIR] [--only NAME,...] [--rounds N] [--environment TOOL=PYTHON]

Every tool gets the same rewritten FP32 file and the same feeds, in a process of its own; the tools take turns. ModelOpt
and NNCF have environments of their own, made in the models' folder when none is named. What a tool made is run in ONNX
Runtime, its optimisation off, on data that calibration did not see. Run with `make bench-calibration`; the report is
bench/CALIBRATION.md. A part of the models is printed and not written. With `--speed` only what the time of a
calibration is judged by runs, on MiniLM and the larger CNNs, and bench/CALIBRATION_SPEED.md is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from calibration_contender import feeds
from calibration_models import BATCH, NAMES, ROWS, Prepared, prepare, token_windows

HERE = Path(__file__).parent
REPORT = HERE / "CALIBRATION.md"
SPEED_REPORT = HERE / "CALIBRATION_SPEED.md"
PINS = {
    "modelopt": ("nvidia-modelopt[onnx]==0.47.0", "torch==2.13.0"),
    "nncf": ("nncf==3.4.0", "onnx", "onnxruntime==1.31.1"),
}
SUBJECTS = (
    ("trtbuild", "table"),
    ("trtbuild", "minmax"), ("trtbuild", "mse"), ("trtbuild", "entropy"), ("trtbuild", "auto"), ("trtbuild", "best"),
    ("onnxruntime", "minmax"), ("onnxruntime", "entropy"), ("onnxruntime", "percentile"),
    ("modelopt", "max"), ("modelopt", "entropy"), ("nncf", "default"),
)  # fmt: skip
FORWARD, PEERS = ("onnxruntime", "forward"), (("onnxruntime", "entropy"), ("modelopt", "entropy"), ("nncf", "default"))
SPEED_SUBJECTS = (("trtbuild", "table"), ("trtbuild", "entropy"), FORWARD, *PEERS)
SPEED_NAMES = ("minilm", "cls", "det", "rec")
TIMEOUT_S = 1800
ABOUT = """\
Made by `make bench-calibration`: {rounds} round(s), the tools in turn on one model after the other, in processes of
their own. Seconds go from the call to the quantised file; the ratio is to `trtbuild entropy`, which searches 2,048 bins
and more; `trtbuild table` is its calibration alone, without writing Q/DQ. Memory is the peak of the process. SQNR and
the rest are measured on other data than was calibrated on, in ONNX Runtime on a CPU, its optimisation off: nothing was
run on a GPU. `best` is mse with every transform that helps on calibration rows kept apart; it has not seen the data it
is measured on. What is not quantised is FP32 with every tool."""


SPEED_ABOUT = """\
Made by `python bench/calibration.py --speed`: {rounds} round(s), the tools in turn, each in a process of its own, feeds
in batches of {batch}. `table` is our calibration with the entropy search, `entropy` the same with Q/DQ written and
checked. `forward` is ONNX Runtime running the same feeds, optimisation off, with nothing measured. Seconds are the
median and, in brackets, the least and the most; CPU seconds are what all threads took together, which says more on a
machine that others use too. A ratio is how many times as much as `table` a tool takes. Load is the average over the
last minute, of {cores} cores, before the first and after the last round."""


MEMORY_ABOUT = """\
`allocated` is the process's own memory, `mapped` what it has read of files on disk: the libraries, and of the model's
weights the rows of the embedding that the samples' words need."""

Memory = dict[int, tuple[float, float, float]]
"""Number of samples to peak, allocated and mapped MiB."""


@dataclass
class Row:
    """One subject on one model.

    Attributes:
        seconds: Of each round.
        cpu: CPU seconds of each round.
        mib: Peak memory of each round.
        quality: SQNR in dB, mean cosine, and what else the model has.
        failed: The last line of its error, where it failed.
    """

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)
    quality: dict[str, float] = field(default_factory=dict)
    failed: str = ""


def environment(tool: str, folder: Path, named: dict[str, str]) -> str:
    """The Python that has a tool; its environment is made when none is named."""
    if tool in named:
        return named[tool]
    if tool not in PINS:
        return sys.executable
    place = folder / f"environment-{tool}"
    python = place / "bin" / "python"
    if not (place / "ready").is_file():
        venv.create(place, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS[tool]], check=True)
        (place / "ready").touch()
    return str(python)


def once(python: str, tool: str, method: str, model: Path, data: Path, out: Path) -> dict[str, Any]:
    """One calibration in a process of its own: its figures, or its error."""
    if tool == "nncf" and model.parent.name == "minilm":
        method = "transformer"
    words = [python, str(HERE / "calibration_contender.py"), tool, method, str(model), str(data), str(out)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {TIMEOUT_S} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:200]}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def run(model: Path, given: Sequence[dict[str, Any]]) -> Any:
    """The first output over all feeds, one row a sample."""
    from trtbuild.onnxrun import session

    runner = session(model)
    known = {i.name for i in runner.get_inputs()}
    return np.concatenate([runner.run(None, {k: v for k, v in f.items() if k in known})[0] for f in given])


def legal(model: Path) -> bool:
    """Whether TensorRT takes its Q/DQ: signed INT8, zero points 0."""
    import onnx

    proto = onnx.load(str(model))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants.get(node.input[2]) if len(node.input) > 2 else None
            if zero is None or zero.dtype != np.int8 or zero.any():
                return False
    return True


def quality(prepared: Prepared, quantized: Path) -> dict[str, float]:
    """How near a quantised model is to FP32 on data that calibration did not see."""
    given = feeds(prepared.evaluation)
    exact, got = run(prepared.model, given).astype(np.float64), run(quantized, given).astype(np.float64)
    error = ((exact - got) ** 2).sum()
    rows = exact.reshape(len(exact), -1), got.reshape(len(got), -1)
    cosine = (rows[0] * rows[1]).sum(1) / np.linalg.norm(rows[0], axis=1) / np.linalg.norm(rows[1], axis=1)
    found = {
        "db": float(10 * np.log10((exact**2).sum() / error)),
        "cosine": float(cosine.mean()),
        "legal": float(legal(quantized)),
    }
    if prepared.name == "minilm":
        found["spearman"] = _spearman(*(_similarities(r) for r in rows))
    if prepared.name == "digits":
        labels = np.concatenate([f["labels"] for f in given])
        found["points"] = 100 * float((got.argmax(1) == labels).mean() - (exact.argmax(1) == labels).mean())
    return found


def _similarities(rows: Any) -> Any:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (unit @ unit.T)[np.triu_indices(len(unit), 1)]


def _spearman(left: Any, right: Any) -> float:
    ranks = [values.argsort().argsort() for values in (left, right)]
    return float(np.corrcoef(*ranks)[0, 1])


def memory_by_samples(prepared: Prepared, folder: Path) -> Memory:
    """Our memory in MiB over the number of samples, calibration alone: peak, and the most of its two parts."""
    found = {}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from calibration_contender import feeds, parts_mib, peak_mib; "
        "from pathlib import Path; from trtbuild.calibration import calibrate; seen = []; "
        "calibrate(sys.argv[2], feeds(Path(sys.argv[3])), method='mse', on_sample=lambda _: seen.append(parts_mib())); "
        "print(peak_mib(), *map(max, zip(*seen)))"
    )
    for count in (16, 64, 256, 512):
        data = folder / f"windows-{count}.npz"
        np.savez(data, **{f"{n}.{k}": v for n, feed in enumerate(token_windows(count)) for k, v in feed.items()})
        words = [sys.executable, "-c", code, str(HERE), str(prepared.model), str(data)]
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        found[count] = tuple(map(float, printed))
    return found


def take(
    models: Sequence[Prepared], pythons: dict[str, str], rounds: int, subjects: Sequence[tuple[str, str]] = SUBJECTS
) -> dict[str, dict[tuple[str, str], Row]]:
    """All rows; the subjects take turns on one model after the other."""
    table: dict[str, dict[tuple[str, str], Row]] = {}
    for prepared in models:
        rows = {subject: Row() for subject in subjects}
        for number in range(rounds):
            for (tool, method), row in rows.items():
                if row.failed:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder) / "quantized.onnx"
                    figures = once(pythons[tool], tool, method, prepared.model, prepared.calibration, out)
                    row.failed = figures.get("failed", "")
                    if not row.failed:
                        row.seconds.append(figures["seconds"])
                        row.cpu.append(figures["cpu"])
                        row.mib.append(figures["mib"])
                        if number == 0 and out.is_file() and subjects is SUBJECTS:
                            row.quality = quality(prepared, out)
                print(prepared.name, tool, method, figures, row.quality, file=sys.stderr)
        table[prepared.name] = rows
    return table


def report(table: dict[str, dict[tuple[str, str], Row]], memory: Memory, rounds: int) -> str:
    """The figures as Markdown."""
    lines = [*_head("Calibration beside its peers"), "", ABOUT.format(rounds=rounds)]
    for name, rows in table.items():
        lines += ["", f"## {name}, {ROWS[name]} rows in batches of {BATCH}", ""]
        base = rows["trtbuild", "entropy"]
        extra = [k for k in ("spearman", "points") if any(k in r.quality for r in rows.values())]
        lines.append("| subject | s | ratio | MiB | ratio | SQNR dB | cosine | " + "".join(f"{k} | " for k in extra)
                     + "TensorRT takes it |")  # fmt: skip
        lines.append("|---" * (8 + len(extra)) + "|")
        for (tool, method), row in rows.items():
            if row.failed:
                lines.append(f"| {tool} {method} | failed: {row.failed} |" + " |" * (6 + len(extra)))
                continue
            seconds, mib = statistics.median(row.seconds), statistics.median(row.mib)
            q = row.quality
            if not q:
                cells = [f"{seconds:.2f}", f"{seconds / statistics.median(base.seconds):.2f}", f"{mib:.0f}"]
                cells.append(f"{mib / statistics.median(base.mib):.2f}")
                lines.append(f"| {tool} {method} | " + " | ".join(cells) + " |" + " |" * (3 + len(extra)))
                continue
            cells = [f"{tool} {method}", f"{seconds:.2f}", f"{seconds / statistics.median(base.seconds):.2f}",
                     f"{mib:.0f}", f"{mib / statistics.median(base.mib):.2f}", f"{q['db']:.1f}",
                     f"{q['cosine']:.4f}", *(f"{q[k]:.4f}" if k == "spearman" else f"{q[k]:+.2f}" for k in extra),
                     "yes" if q["legal"] else "no"]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_memory(memory)]) + "\n"


def speed_report(table: dict[str, dict[tuple[str, str], Row]], memory: Memory, about: str) -> str:
    """The seconds and the memory as Markdown, each tool beside ours in the same rounds."""
    lines = [*_head("Calibration: time and memory beside its peers"), "", about]
    for name, rows in table.items():
        base = rows["trtbuild", "table"]
        lines += ["", f"## {name}, {ROWS[name]} rows", "", "| subject | s | ratio | CPU s | ratio | MiB | ratio |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        for (tool, method), row in rows.items():
            if row.failed:
                lines.append(f"| {tool} {method} | failed: {row.failed} |" + " |" * 5)
                continue
            figures = ((row.seconds, base.seconds, 2), (row.cpu, base.cpu, 2), (row.mib, base.mib, 0))
            cells = [cell for own, ours, digits in figures for cell in _beside(own, ours, digits)]
            lines.append(f"| {tool} {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, *_memory(memory)]) + "\n"


def _beside(own: Sequence[float], ours: Sequence[float], digits: int) -> tuple[str, str]:
    """A figure with its spread, and its ratio to ours with that of the rounds."""
    middle = f"{statistics.median(own):.{digits}f}"
    ratios = [theirs / mine for theirs, mine in zip(own, ours, strict=True)]
    ratio = f"{statistics.median(ratios):.1f}"
    if len(own) > 1:
        middle += f" ({min(own):.{digits}f} to {max(own):.{digits}f})"
        ratio += f" ({min(ratios):.1f} to {max(ratios):.1f})"
    return middle, ratio


def _head(title: str) -> list[str]:
    pins = ", ".join(word for words in PINS.values() for word in words)
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("trtbuild", "onnxruntime", "onnx", "numpy"))
    day = time.strftime("%Y-%m-%d")
    return [f"# {title}", "", f"{day}, {platform.machine()}, Python {platform.python_version()}, {versions}; {pins}."]


def _memory(memory: Memory) -> list[str]:
    if not memory:
        return []
    lines = ["", "## Memory over samples: MiniLM, windows of 64 tokens, calibration alone", "", MEMORY_ABOUT, ""]
    lines += ["| samples | peak MiB | allocated | mapped |", "|---|---|---|---|"]
    return lines + [f"| {count} | {' | '.join(f'{mib:.0f}' for mib in parts)} |" for count, parts in memory.items()]


def main() -> None:
    """Takes the rows and writes the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", type=Path, default=HERE / ".calibration", metavar="DIR")
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", action="append", default=[], metavar="TOOL=PYTHON")
    parser.add_argument("--speed", action="store_true", help="time and memory alone")
    asked = parser.parse_args()
    every, subjects = (SPEED_NAMES, SPEED_SUBJECTS) if asked.speed else (NAMES, SUBJECTS)
    names = tuple(filter(None, asked.only.split(","))) or every
    named = dict(word.split("=", 1) for word in asked.environment)
    pythons = {tool: environment(tool, asked.models, named) for tool, _ in subjects}
    models = [prepare(name, asked.models) for name in names]
    before = os.getloadavg()[0]
    memory = memory_by_samples(models[names.index("minilm")], asked.models) if "minilm" in names else {}
    table: dict[str, dict[tuple[str, str], Row]] = {}
    for prepared in models:
        table |= take([prepared], pythons, asked.rounds, subjects)
        if asked.speed:  # after each model: a long run that is cut short has something to show
            about = SPEED_ABOUT.format(rounds=asked.rounds, batch=BATCH, cores=os.cpu_count())
            text = speed_report(table, memory, f"{about} It was {before:.1f} and {os.getloadavg()[0]:.1f}.")
            SPEED_REPORT.write_text(text, encoding="utf-8")
        else:
            text = report(table, memory, asked.rounds)
    print(text)
    if names == every and not asked.speed:
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
