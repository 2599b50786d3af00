"""Real TensorRT-RTX builds of real models for every compute capability it serves: what comes out, or why nothing does.

    python bench/engines.py [--only NAME,...] [--precision fp16,...] [--capability 8.9,...] [--keep ROWS.jsonl]

The demo's digits and MiniLM go the whole way, as `trtbuild build` takes them; the nine light models of the onnx
package, with seeded noise for weights, are rewritten, calibrated on four random images, typed and compiled. Nothing is
run: this needs no GPU and gives no time. Run with `make bench-engines`; the report is bench/ENGINES.md. A part is
printed and not written. Rows that ``--keep`` names are not built again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engines_report import render
from light_models import light_models, with_noise

if TYPE_CHECKING:
    from trtbuild.artifacts import CalibrationTable, EnginePlan, Precision

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "bench" / "ENGINES.md"
PRECISIONS = ("fp32", "fp16", "int8")
IMAGES = 4  # calibration images of a light model
MINILM = ROOT / "tests" / "end_to_end" / "minilm" / "trtbuild.yaml"


@dataclass(frozen=True)
class Row:
    """One build.

    Attributes:
        model: Its name.
        precision: What was asked for.
        capability: Compute capability it was built for.
        refused: Why there is no engine, and by whom it was refused; empty where there is one.
        kernels: Layers of the engine.
        attention: Those that are a whole attention.
        attention_in: Precision words of those.
        softmax: Generated kernels that compute an exponential: a softmax that stands by itself.
        reformats: Kernels that do nothing but move or cast.
        megabytes: Of the plan.
        matrix_nodes: Nodes that carry matrix work.
        shares: Precision word to its share of the multiply-accumulates.
        nodes: Precision word to how many matrix nodes run in it.
    """

    model: str
    precision: str
    capability: str
    refused: str = ""
    kernels: int = 0
    attention: int = 0
    attention_in: tuple[str, ...] = ()
    softmax: int = 0
    reformats: int = 0
    megabytes: float = 0.0
    matrix_nodes: int = 0
    shares: tuple[tuple[str, float], ...] = ()
    nodes: tuple[tuple[str, int], ...] = ()


Compile = Callable[[str, str], "EnginePlan"]
"""Takes a precision and a compute capability."""


def row_of(model: str, precision: str, capability: str, compile_plan: Compile) -> Row:
    """Builds one engine, or says why there is none."""
    from trtbuild.errors import BuildError, TrtbuildError

    try:
        plan = compile_plan(precision, capability)
    except TrtbuildError as error:
        by = "TensorRT-RTX" if isinstance(error, BuildError) else "trtbuild"
        return Row(model, precision, capability, f"{by}: {error.message}")
    attention = plan.layers.with_role("attention")
    ran = list(plan.work.nodes.values())
    return Row(
        model=model,
        precision=precision,
        capability=capability,
        kernels=len(plan.layers),
        attention=len(attention),
        attention_in=tuple(sorted({layer.precision for layer in attention})),
        softmax=len(plan.layers.doing("Exp")),
        reformats=len(plan.layers.with_role("reformat")),
        megabytes=plan.plan.size / 1e6,
        matrix_nodes=len(ran),
        shares=tuple(plan.work.shares.items()),
        nodes=tuple((word, ran.count(word)) for word in dict.fromkeys(ran)),
    )


# ------------------------------------------------------------------------------------------- the whole way


def whole_way(spec_file: Path, store: Path, *changes: str) -> Compile:
    """Compiles by ``trtbuild.build``: one target a call, the stages before it from the store.

    Args:
        spec_file: The spec.
        store: Where results are kept.
        changes: Words as ``--set`` takes them.
    """
    from trtbuild import Store, build, load_spec

    def compile_plan(precision: str, capability: str) -> EnginePlan:
        words = [*changes, f"precision={precision}", f"targets=[sm{capability.replace('.', '')}]"]
        with tempfile.TemporaryDirectory() as output:
            return build(load_spec(spec_file, overrides=words), store=Store(store), output=Path(output)).build.plans[0]

    return compile_plan


def digits(folder: Path) -> Compile:
    """The demo's model, trained here."""
    from trtbuild.demo import prepare

    spec, _trained = prepare(folder / "digits")
    return whole_way(spec, folder / "store")


def minilm(folder: Path, *changes: str) -> Compile:
    """all-MiniLM-L6-v2 with its own weights."""
    return whole_way(MINILM, folder / "store", *changes)


# ------------------------------------------------------------------------------------------- light models


def light(path: Path, folder: Path) -> Compile:
    """A light model, rewritten once and calibrated once; typed once a precision."""
    from trtbuild.artifacts import Target, TypedOnnx
    from trtbuild.engine import compile as build_plan
    from trtbuild.precision import assign_precision
    from trtbuild.rewriter import rewrite

    work = folder / path.stem
    work.mkdir(exist_ok=True)
    rewritten = rewrite(with_noise(path, work / "noise.onnx"), work, backend="tensorrt_rtx").model.path
    tables: list[CalibrationTable] = []
    typed: dict[str, TypedOnnx] = {}

    def compile_plan(precision: str, capability: str) -> EnginePlan:
        if precision == "int8" and not tables:
            tables.append(_table(rewritten))
        if precision not in typed:
            place = work / precision
            place.mkdir(exist_ok=True)
            typed[precision] = assign_precision(
                rewritten, place, precision=cast("Precision", precision), table=tables[0] if tables else None
            )
        target = Target(f"sm{capability.replace('.', '')}", "tensorrt_rtx", capability)
        with tempfile.TemporaryDirectory() as place:
            return build_plan(typed[precision], place, target=target)

    return compile_plan


def _table(model: Path) -> CalibrationTable:
    """Ranges from random images, one after the other: the models' batch is fixed at 1."""
    import numpy as np

    from trtbuild import onnxfile
    from trtbuild.calibration import calibrate

    (image,) = onnxfile.inputs(onnxfile.load(model, weights=False))
    random = np.random.default_rng(1)
    feeds = ({image.name: random.normal(size=image.shape).astype(np.float32)} for _ in range(IMAGES))
    return calibrate(model, feeds, method="minmax")


# ------------------------------------------------------------------------------------------- all of it


def subjects(folder: Path) -> dict[str, Callable[[], Compile]]:
    """Name to what prepares the model."""
    found: dict[str, Callable[[], Compile]] = {
        "digits": lambda: digits(folder),
        "minilm": lambda: minilm(folder),
        "minilm_apart": lambda: minilm(folder, "rewrite.skip=[qkv_merge]"),
    }
    for name, path in light_models().items():
        found[name] = lambda path=path: light(path, folder)  # type: ignore[misc]
    return found


def rows(
    only: Sequence[str], precisions: Sequence[str], capabilities: Sequence[str], kept: Sequence[Row] = ()
) -> Iterator[Row]:
    """Builds what is asked for and not kept, one after the other."""
    known = {(r.model, r.precision, r.capability): r for r in kept}
    with tempfile.TemporaryDirectory() as text:
        for name, prepare in subjects(Path(text)).items():
            asked = [(name, p, c) for p in precisions for c in capabilities]
            if only and name not in only:
                continue
            compile_plan = prepare() if not known.keys() >= set(asked) else None
            for key in asked:
                if key in known:
                    yield known[key]
                elif compile_plan is not None:
                    yield _told(row_of(*key, compile_plan))


def _told(row: Row) -> Row:
    said = row.refused.splitlines()[0] if row.refused else f"{row.kernels} kernels"
    print(f"{row.model} {row.precision} {row.capability}: {said}", file=sys.stderr, flush=True)
    return row


def _read(file: Path | None) -> list[Row]:
    if file is None or not file.exists():
        return []
    return [
        Row(**{k: _frozen(v) for k, v in json.loads(line).items()})
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _collect(asked: Any) -> list[Row]:
    """All rows; each is written to ``--keep`` as soon as it is there."""
    kept, found = _read(asked.keep), []
    for row in rows(asked.only, asked.precision, asked.capability, kept):
        found.append(row)
        if asked.keep is not None and row not in kept:
            with asked.keep.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def main(words: Sequence[str] | None = None) -> int:
    """Builds, and writes the report."""
    from trtbuild.backends.tensorrt_rtx import CAPABILITIES

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", type=_words, default=(), help="names, separated by commas")
    parser.add_argument("--precision", type=_words, default=PRECISIONS)
    parser.add_argument("--capability", type=_words, default=CAPABILITIES)
    parser.add_argument("--keep", type=Path, help="file of rows: read, and added to")
    asked: Any = parser.parse_args(words)
    text = render(_collect(asked))
    if (asked.only, asked.precision, asked.capability) == ((), PRECISIONS, CAPABILITIES):
        REPORT.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
