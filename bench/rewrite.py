"""Our rewrite beside its peers, on the corpus of ``models.py``: what becomes of the engine.

    python bench/rewrite.py [--models DIR] [--only NAME,...] [--precision fp16|fp32] [--quick]

Each row is taken in a process of its own, the tools in turn on one model after the other. Rows are kept in a JSON file
beside the report, by the digest of their ONNX and the tool's code, so a run that was stopped goes on where it was.
Run with `make bench-rewrite`; the report is bench/REWRITE.md. A part of the corpus is printed and not written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from contenders import OURS, TOOLS, judge_version, version
from models import FOLDER, HERE, Model, corpus

REPORT = HERE / "REWRITE.md"
QUICK = ("bert.dynamo23", "vit.dynamo20", "t5_encoder.ts17", "resnet.dynamo20")
TIMEOUT_S = 600  # of one row
WITH_INT8 = ("original", "onnxslim", OURS)


@dataclass(frozen=True)
class Row:
    """What one tool made of one model.

    Attributes:
        model: ``name.export``.
        tool: A key of ``TOOLS``.
        key: What the row was made from.
        found: Stage name to its figures, or to ``error``.
        taken: The day.
    """

    model: str
    tool: str
    key: str
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    taken: str = ""

    def figure(self, stage: str, name: str) -> Any:
        """One figure; None where its stage failed or did not run."""
        return self.found.get(stage, {}).get(name)

    def error(self, stage: str) -> str:
        """Why a stage has no figures: its own error, else that of the stage it needs."""
        said = self.found.get(stage, {}).get("error") or self.found.get("simplify", {}).get("error")
        return str(said or "")


def stages_of(model: Model, tool: str) -> tuple[str, ...]:
    """The stages a row goes through."""
    names = ["simplify", "check", "build"]
    if tool in ("original", OURS):
        names.append("fp32")
    if tool == OURS:
        names.append("prove")
    if model.name == "minilm" and tool in WITH_INT8:
        names.append("int8")
    return tuple(names)


def take(model: Model, tool: str, precision: str, key: str) -> Row:
    """Takes one row in a process of its own."""
    names = stages_of(model, tool)
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable,
            str(HERE / "contenders.py"),
            tool,
            str(model.onnx),
            str(model.feeds),
            precision,
            folder,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [*words, ",".join(names)],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
                env=environment,
            )
            said, ended = done.stdout, _end(done.returncode)
        except subprocess.TimeoutExpired as error:
            said = error.stdout.decode() if isinstance(error.stdout, bytes) else (error.stdout or "")
            ended = f"no end within {TIMEOUT_S} s"
    found = {}
    for line in said.splitlines():
        if line.startswith('{"stage"'):
            figures = json.loads(line)
            found[figures.pop("stage")] = figures
    if "error" not in found.get("simplify", {}):
        found |= {name: {"error": ended or "it stopped without a word"} for name in names if name not in found}
    return Row(f"{model.name}.{model.export}", tool, key, found, time.strftime("%Y-%m-%d"))


def _end(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with {code}" if code else ""


def rows(models: Sequence[Model], precision: str, cache: Path) -> Iterator[Row]:
    """One row a model and tool, from the cache where nothing has changed."""
    from trtbuild.content import file_digest, json_digest

    kept = {}
    if cache.is_file():
        kept = {(r["model"], r["tool"]): Row(**r) for r in json.loads(cache.read_text(encoding="utf-8"))}
    judge, versions = judge_version(), {tool: _version(tool) for tool in TOOLS}
    for model in models:
        digest = file_digest(model.onnx)
        for tool in TOOLS:
            key = json_digest([digest, tool, versions[tool], judge, precision, *stages_of(model, tool)])
            row = kept.get((f"{model.name}.{model.export}", tool))
            if row is None or row.key != key:
                row = take(model, tool, precision, key)
                kept[row.model, row.tool] = row
                _write(cache, [asdict(r) for r in kept.values()])
                print(f"{row.model} {tool}: {_said(row)}", file=sys.stderr, flush=True)
            yield row


def _version(tool: str) -> str:
    try:
        return version(tool)
    except metadata.PackageNotFoundError:  # its rows say so: onnxsim has nothing for Python 3.10
        return "not installed"


def _said(row: Row) -> str:
    count = row.figure("build", "kernels")
    return f"{count} kernels, {row.figure('simplify', 'nodes')} nodes" if count else row.error("build")


def _write(path: Path, value: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value, indent=1), encoding="utf-8")
    new.replace(path)


def main(words: Sequence[str] | None = None) -> int:
    """Takes the rows that are missing and writes the report."""
    from rewrite_report import render

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--only", default="", metavar="NAME,...", help="models, or exports as bert.dynamo23")
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help="that kernels are counted in")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="where rows are kept; beside the models if left out"
    )
    parser.add_argument("--fresh", action="store_true", help="take all rows anew: times from one run")
    parser.add_argument("--quick", action="store_true", help="four models")
    asked = parser.parse_args(words)
    only = QUICK if asked.quick else tuple(n for n in asked.only.split(",") if n)
    found = list(corpus(asked.models, only))
    cache = asked.results or asked.models / f"rewrite.{asked.precision}.json"
    if asked.fresh:
        cache.unlink(missing_ok=True)
    taken = list(rows([m for m in found if not m.error], asked.precision, cache))
    text = render(taken, [m for m in found if m.error], asked.precision)
    print(text)
    if not only and asked.precision == "fp16":
        REPORT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
