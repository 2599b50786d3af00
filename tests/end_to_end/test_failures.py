"""How the tool fails: its exit codes, what it says, and that nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness import Built, Tool, assert_error, assert_store_sound, cnn, one_json, tree, worker_of, write, write_spec

MODEL_INPUT = {"x": {"dtype": "float32", "shape": ["batch", 1, 8, 8]}}


@dataclass(frozen=True)
class Failure:
    """A build that has to fail.

    Attributes:
        code: Its exit code.
        says: What the error has to name.
        spec: Changes to the spec.
        make: Called with the work folder before the build.
    """

    code: int
    says: tuple[str, ...]
    spec: dict[str, Any] = field(default_factory=dict)
    make: Callable[[Path], object] = lambda _folder: None


def reader(name: str) -> dict[str, Any]:
    return {"calibration": {"reader": f"readers.py:{name}"}}


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        file = folder / "tiny.onnx"
        file.write_bytes(change(file.read_bytes()))

    return make


def module(text: str) -> tuple[dict[str, Any], Callable[[Path], object]]:
    """A spec whose model is ``net.py:load``, and the writer of that file."""
    return {"model": {"source": "net.py:load", "inputs": MODEL_INPUT}}, lambda folder: write(folder / "net.py", text)


def external(location: str) -> Callable[[Path], object]:
    """Makes a model whose weights lie in a file named ``location``; the file itself lies outside the folder."""

    def make(folder: Path) -> None:
        import onnx
        from onnx.external_data_helper import set_external_data

        outside = folder.parent / "outside.bin"
        model = onnx.load(str(folder / "tiny.onnx"))
        tensor = next(t for t in model.graph.initializer if t.name == "w0")
        outside.write_bytes(tensor.raw_data)
        set_external_data(tensor, location)
        tensor.ClearField("raw_data")
        (folder / "tiny.onnx").write_bytes(model.SerializeToString())
        if location == "link.bin":
            (folder / location).symlink_to(outside)

    return make


RAISES = module("def load():\n    raise RuntimeError('no such checkpoint')\n")
LEAVES = module("import sys\ndef load():\n    sys.exit(0)\n")
NO_MODULE = module("def load():\n    return 'not a module'\n")
NO_FUNCTION = module("def laod():\n    return None\n")

BUILDS = {
    "missing model": Failure(3, ("gone.onnx", "no such file"), {"model": {"source": "gone.onnx"}}),
    "not ONNX": Failure(3, ("tiny.onnx", "not an ONNX file"), make=damaged(lambda _b: b"<html>404 Not Found</html>\n")),
    "truncated ONNX": Failure(3, ("tiny.onnx", "truncated"), make=damaged(lambda b: b[: len(b) // 2])),
    "empty file": Failure(3, ("tiny.onnx", "empty"), make=damaged(lambda _b: b"")),
    "NaN weights": Failure(3, ("'w0'", "NaN"), make=lambda f: cnn(f / "tiny.onnx", nan=True)),
    "external data in the parent": Failure(3, ("../outside.bin", "outside"), make=external("../outside.bin")),
    "external data by a link": Failure(3, ("link.bin", "outside"), make=external("link.bin")),
    "external data missing": Failure(3, ("gone.bin", "missing"), make=external("gone.bin")),
    "unknown input in the spec": Failure(
        2, ("no input 'image'",), {"model": {"inputs": {"image": {"dtype": "float32", "shape": ["batch", 1, 8, 8]}}}}
    ),
    "rank in the spec": Failure(
        2, ("input 'x'", "tiny.onnx"), {"model": {"inputs": {"x": {"dtype": "float32", "shape": ["batch", 8, 8]}}}}
    ),
    "size in the spec": Failure(
        2, ("input 'x'", "tiny.onnx"), {"model": {"inputs": {"x": {"dtype": "float32", "shape": ["batch", 3, 8, 8]}}}}
    ),
    "min above opt": Failure(2, ("trtbuild.yaml:", "min <= opt <= max"), {"profiles": [{"batch": [8, 4, 2]}]}),
    "no profile": Failure(2, ("dynamic axes (batch)", "profiles: [{batch: [1, 8, 32]}]"), {"profiles": []}),
    "unknown axis": Failure(2, ("'bach'", "did you mean 'batch'"), {"profiles": [{"bach": [1, 4, 8]}]}),
    "unknown key": Failure(2, ("trtbuild.yaml:", "'calibration.methd'", "'method'"), {"calibration": {"methd": "mse"}}),
    "unknown method": Failure(2, ("'entropi'", "'entropy'"), {"calibration": {"method": "entropi"}}),
    "unknown precision": Failure(2, ("trtbuild.yaml:", "'int9'"), {"precision": "int9"}),
    "unknown target": Failure(2, ("trtbuild.yaml:", "'rtx4091'", "'rtx4090'"), {"targets": ["rtx4091"]}),
    "int8 without calibration": Failure(2, ("trtbuild.yaml:", "int8", "calibration"), {"calibration": None}),
    "reader yields nothing": Failure(2, ("readers.py:nothing", "yielded nothing"), reader("nothing")),
    "reader yields NaN": Failure(2, ("readers.py:nan, sample 0", "'x' holds NaN"), reader("nan")),
    "reader yields a wrong name": Failure(2, ("readers.py:wrong_name, sample 0", "'image'"), reader("wrong_name")),
    "reader yields a wrong rank": Failure(2, ("readers.py:wrong_rank, sample 0", "axes"), reader("wrong_rank")),
    "reader raises": Failure(2, ("readers.py:raises", "RuntimeError", "the disk with the images"), reader("raises")),
    "reader leaves": Failure(2, ("readers.py:leaves", "SystemExit"), reader("leaves")),
    "reader file not there": Failure(2, ("other.py",), {"calibration": {"reader": "other.py:calibration"}}),
    "reader function not there": Failure(2, ("readers.py", "'calibraton'", "'calibration'"), reader("calibraton")),
    "verified on calibration samples": Failure(
        2, ("used for calibration", "accuracy.data"), {"accuracy": {"data": "readers.py:calibration"}}
    ),
    "held-out data outside the profile": Failure(
        2, ("axis 'batch' is 16", "1 to 8"), {"accuracy": {"data": "readers.py:too_many_rows"}}
    ),
    "bf16 on Turing": Failure(2, ("rtx2080", "7.5", "bf16"), {"targets": ["rtx2080"], "precision": "bf16"}),
    "Hopper with TensorRT-RTX": Failure(
        2, ("9.0", "tensorrt_rtx"), {"targets": [{"backend": "tensorrt_rtx", "compute_capability": "9.0"}]}
    ),
    "model callable raises": Failure(3, ("net.py:load", "RuntimeError: no such checkpoint", "net.py:2"), *RAISES),
    "model callable leaves": Failure(3, ("net.py:load", "SystemExit"), *LEAVES),
    "model callable returns no module": Failure(3, ("net.py:load", "returned str"), *NO_MODULE),
    "model callable not there": Failure(2, ("net.py:load", "'load'", "'laod'"), *NO_FUNCTION),
}


@pytest.mark.parametrize("failure", BUILDS.values(), ids=BUILDS)
def test_a_failing_build_names_place_cause_and_remedy_and_loses_nothing(tool: Tool, failure: Failure) -> None:
    failure.make(tool.folder)
    write_spec(tool.folder, **failure.spec)
    tool.fails(failure.code, "build", says=failure.says)


@pytest.mark.parametrize(
    ("name", "words"),
    [("not ONNX", ["-vv"]), ("reader raises", ["-v", "-v"]), ("unknown key", ["--verbose", "--verbose"])],
    ids=["-vv", "-v -v", "--verbose twice"],
)
def test_asked_twice_for_words_it_shows_the_traceback(tool: Tool, name: str, words: list[str]) -> None:
    failure = BUILDS[name]
    failure.make(tool.folder)
    write_spec(tool.folder, **failure.spec)
    done = tool.run("build", *words)
    assert done.returncode == failure.code
    assert "Traceback (most recent call last)" in done.stderr
    assert "hint: " in done.stderr


def test_asked_once_for_words_it_shows_no_traceback(tool: Tool) -> None:
    write_spec(tool.folder, calibration={"reader": "readers.py:raises"})
    assert "Traceback" not in tool.run("build", "-v").stderr


@pytest.mark.parametrize("name", ["missing model", "unknown key", "reader raises"])
def test_an_error_as_json_is_one_object_with_its_parts(tool: Tool, name: str) -> None:
    failure = BUILDS[name]
    failure.make(tool.folder)
    write_spec(tool.folder, **failure.spec)
    done = tool.run("build", "--json")
    error = one_json(done.stdout)["error"]
    assert error["exit_code"] == done.returncode == failure.code
    assert error["place"]
    assert error["message"]
    assert error["hint"]


def test_a_wrong_option_is_a_usage_error_and_answers_json_too(tool: Tool) -> None:
    done = tool.run("build", "--frobnicate", "--json")
    assert done.returncode == 2
    assert "--frobnicate" in done.stderr
    assert "--help" in done.stderr
    assert one_json(done.stdout)["error"]["exit_code"] == 2


def test_a_wrong_command_names_the_nearest(tool: Tool) -> None:
    done = tool.run("biuld")
    assert done.returncode == 2
    assert "'build'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_spec(tool: Tool) -> None:
    tool.fails(2, "build", "gone.yaml", says=["gone.yaml", "no such file"])


def test_a_folder_as_spec(tool: Tool) -> None:
    tool.fails(2, "build", "out", says=["out"])


def test_yaml_that_is_none(tool: Tool) -> None:
    write(tool.folder / "trtbuild.yaml", "model: {name: tiny\nprecision: [\n")
    tool.fails(2, "build", says=["trtbuild.yaml:", "not YAML"])


def test_an_error_names_the_line_of_the_spec(tool: Tool) -> None:
    write(tool.folder / "trtbuild.yaml", "model:\n  name: tiny\n  source: tiny.onnx\n\ntargest: [rtx4090]\n")
    tool.fails(2, "build", says=["trtbuild.yaml:5", "'targest'", "'targets'"])


def test_an_error_names_the_environment_variable(tool: Tool) -> None:
    tool.fails(2, "build", env={"TRTBUILD_PRECISION": "int9"}, says=["TRTBUILD_PRECISION", "int9"])


def test_an_error_names_the_option(tool: Tool) -> None:
    tool.fails(2, "build", "--set", "calibration.samples=0", says=["--set calibration.samples=0"])


def test_words_of_a_reader_do_not_reach_standard_output(tool: Tool) -> None:
    done = tool.succeeds("build", "--set", "calibration.reader=readers.py:talks", "--json")
    assert one_json(done.stdout)["passed"] is True
    assert "reading the samples" in done.stderr


# ------------------------------------------------------------------------------------------- single commands


COMMANDS = {
    "rewrite a missing file": (3, ["rewrite", "gone.onnx", "new.onnx"], ["gone.onnx"]),
    "rewrite text": (3, ["rewrite", "readers.py", "new.onnx"], ["readers.py", "not an ONNX file"]),
    "rewrite into a folder": (2, ["rewrite", "tiny.onnx", "out"], ["out", "folder"]),
    "rewrite below a file": (2, ["rewrite", "tiny.onnx", "readers.py/new.onnx"], ["readers.py"]),
    "unknown rule": (2, ["rewrite", "tiny.onnx", "new.onnx", "--only", "conv_batchnom"], ["conv_batchnorm"]),
    "calibrate without samples": (2, ["calibrate", "tiny.onnx", "--reader", "readers.py:nothing"], ["yielded nothing"]),
    "calibrate into a folder": (2, ["calibrate", "tiny.onnx", "--reader", "random", "-o", "out"], ["out"]),
    "quantize without table": (2, ["quantize", "tiny.onnx", "new.onnx"], ["int8", "table"]),
    "quantize with a table that is none": (
        2, ["quantize", "tiny.onnx", "new.onnx", "--table", "trtbuild.yaml"], ["trtbuild.yaml"]
    ),
    "quantize with a missing table": (2, ["quantize", "tiny.onnx", "new.onnx", "--table", "gone.json"], ["gone.json"]),
    "compile into a folder": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "-o", "out"], ["out", "folder"]
    ),
    "compile without profile": (2, ["compile", "tiny.onnx", "--target", "rtx4090"], ["dynamic axes", "batch"]),
    "compile min above opt": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--min-shapes", "x:8x1x8x8", "--opt-shapes", "x:4x1x8x8",
            "--max-shapes", "x:8x1x8x8"], ["min <= opt <= max", "--min-shapes"],
    ),
    "compile for no such target": (2, ["compile", "tiny.onnx", "--target", "rtx409"], ["rtx4090"]),
    "compile a rank mismatch": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--min-shapes", "x:1x8x8", "--opt-shapes", "x:1x8x8",
            "--max-shapes", "x:1x8x8"], ["'x'", "4 axes"],
    ),
    "compile an unknown input": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--min-shapes", "y:1x1x8x8", "--opt-shapes", "y:1x1x8x8",
            "--max-shapes", "y:1x1x8x8"], ["no input 'y'"],
    ),
    "compile with no such option": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "--option", "refits=any"],
        ["--option refits", "unknown key 'refits'", "refit"],
    ),
    "compile with options that need others": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "--option", "strip_weights=true"],
        ["strip_weights", "refit: identical"],
    ),
    "compile for an accelerator": (
        4, ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=4:4:4", "--option", "dla_core=0"],
        ["build.dla_core", "keeps -1", "another TensorRT"],
    ),
    "compile for an accelerator with dynamic axes": (
        2, ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "--option", "dla_core=0"],
        ["build.dla_core", "batch 1..8", "min, opt and max alike"],
    ),
    "build a plan without weights": (
        2, ["build", "--set", "build={strip_weights: true, refit: any}"], ["build.strip_weights", "trtbuild compile"],
    ),
    "a shape that is none": (2, ["bench", "tiny.onnx", "--shapes", "x:1xax8"], ["x:1x3x224x224"]),
    "verify with no such metric": (2, ["verify", "tiny.onnx", "tiny.onnx", "--metric", "cosin"], ["'cosin'"]),
    "verify what is no model": (3, ["verify", "tiny.onnx", "trtbuild.yaml"], ["trtbuild.yaml", "not an ONNX file"]),
    "inspect text": (7, ["inspect", "readers.py"], ["readers.py", "not a TensorRT plan"]),
    "inspect a folder": (7, ["inspect", "out"], ["out"]),
    "inspect a missing plan": (7, ["inspect", "gone.plan"], ["gone.plan"]),
    "report of no build": (2, ["report", "nowhere"], ["nowhere", "no finished build"]),
    "init over a spec": (2, ["init", "tiny.onnx"], ["trtbuild.yaml", "--force"]),
    "init of nothing": (2, ["init", "nothing", "-o", "new.yaml"], ["nothing"]),
    "package what was not compiled": (
        2, ["package", "gone.plan.json", "--name", "m", "--verification", "gone.json"], ["gone.plan.json"]
    ),
    "export without inputs": (2, ["export", "readers.py:nothing", "new.onnx"], ["inputs"]),
}  # fmt: skip


@pytest.mark.parametrize(("code", "words", "says"), COMMANDS.values(), ids=COMMANDS)
def test_a_failing_command_names_place_cause_and_remedy_and_leaves_nothing(
    tool: Tool, code: int, words: list[str], says: list[str]
) -> None:
    tool.fails(code, *words, says=says)


def test_a_failing_command_leaves_the_file_that_was_there(tool: Tool) -> None:
    kept = write(tool.folder / "kept.onnx", "an earlier result")
    cnn(tool.folder / "bad.onnx", nan=True)
    tool.fails(3, "rewrite", "bad.onnx", "kept.onnx", says=["bad.onnx", "NaN"])
    tool.fails(2, "quantize", "tiny.onnx", "kept.onnx")
    assert kept.read_text() == "an earlier result"


def test_a_table_of_another_graph_is_refused(tool: Tool) -> None:
    tool.succeeds("calibrate", "tiny.onnx", "--reader", "readers.py:calibration", "-o", "table.json")
    cnn(tool.folder / "other.onnx", seed=9)
    tool.fails(
        7, "quantize", "other.onnx", "new.onnx", "--table", "table.json", says=["other.onnx", "calibrate this graph"]
    )


def test_a_verification_that_does_not_pass_ends_with_5_and_one_json_object(tool: Tool) -> None:
    cnn(tool.folder / "other.onnx", seed=9)
    done = tool.run("verify", "tiny.onnx", "other.onnx", "--json")
    assert done.returncode == 5
    assert_error(done.stderr, ["other.onnx", "cosine >= 0.99"])
    document = one_json(done.stdout)
    assert document["passed"] is False
    assert document["outputs"][0]["cosine"] < 0.99
    assert document["error"]["exit_code"] == 5


# ------------------------------------------------------------------------------------------- weights


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tool: Tool) -> None:
    proof = tool.folder / "it-ran"
    write(
        tool.folder / "net.py",
        """
        import torch

        def load():
            return torch.nn.Conv2d(1, 4, 3)
        """,
    )
    write(
        tool.folder.parent / "make_payload.py",
        f"""
        import pathlib, torch

        class Payload:
            def __reduce__(self):
                return (pathlib.Path.touch, (pathlib.Path({str(proof)!r}),))

        torch.save({{"weight": Payload()}}, {str(tool.folder / "weights.pt")!r})
        torch.load({str(tool.folder / "weights.pt")!r}, weights_only=False)
        """,
    )
    python = tool.command()[0]
    subprocess.run([python, str(tool.folder.parent / "make_payload.py")], env=tool.environment(), check=True)
    assert proof.exists(), "the payload does nothing, so the test would prove nothing"
    proof.unlink()
    write_spec(tool.folder, model={"source": "net.py:load", "weights": "weights.pt", "inputs": MODEL_INPUT})
    tool.fails(3, "build", says=["weights.pt", "state_dict"])
    assert not proof.exists()


# ------------------------------------------------------------------------------------------- gates


def test_a_gate_that_does_not_pass_writes_the_report_packages_nothing_and_keeps_the_last_good_build(tool: Tool) -> None:
    good = tree(tool.folder / "out")
    write_spec(tool.folder, accuracy={"min": 0.9999999})
    done = tool.run("build", "--json")
    assert done.returncode == 5
    assert_error(done.stderr, ["cosine >= 1", "report.md"])
    assert one_json(done.stdout)["error"]["kind"] == "AccuracyError"
    stopped = tool.folder / "out" / "not-passed"
    report = json.loads((stopped / "report.json").read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert any(not gate["passed"] for proof in report["verifications"] for gate in proof["gates"])
    assert report["packages"] == []
    assert (stopped / "report.md").is_file()
    assert not list(stopped.rglob("*.plan"))
    assert not (stopped / "model_repository").exists()
    shutil.rmtree(stopped)
    assert tree(tool.folder / "out") == good
    assert_store_sound(tool.cache)


# ------------------------------------------------------------------------------------------- devices and builders


def has_gpu() -> bool:
    return Path("/dev/nvidiactl").exists()


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_backend_that_needs_a_gpu_says_so(tool: Tool) -> None:
    tool.fails(8, "build", "--target", "h100", says=["h100", "trtbuild[gpu]"])
    tool.fails(8, "compile", "tiny.onnx", "--target", "h100", "--axis", "batch=1:4:8", says=["h100"])


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT], ids=lambda n: signal.Signals(n).name
)
def test_a_tensorrt_that_dies_is_an_error_that_names_the_signal(tool: Tool, number: int) -> None:
    before = tree(tool.folder)
    process = tool.start("compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8")
    os.kill(worker_of(process), number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors
    assert_error(errors, [signal.Signals(number).name])
    assert not output
    assert tree(tool.folder) == before


def test_a_build_whose_tensorrt_dies_goes_on_from_there(tool: Tool) -> None:
    process = tool.start("build")
    os.kill(worker_of(process), signal.SIGSEGV)
    _output, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors
    assert_error(errors, ["SIGSEGV"])
    assert_store_sound(tool.cache)
    assert (tool.folder / "out" / "manifest.json").read_text() == '{"of": "an earlier build"}\n'
    stages = tool.json("build")["stages"]
    assert {s["stage"] for s in stages if s["hit"]} == {
        "export",
        "rewrite",
        "equalize",
        "calibrate",
        "assign precision",
    }


def test_an_option_that_the_backend_cannot_do_ends_the_build_before_its_first_stage(tool: Tool) -> None:
    tool.fails(4, "build", "--set", "build.runtime_platform=windows_amd64", says=["build.runtime_platform", "keeps"])
    assert not list(tool.cache.rglob("result.json"))


def test_a_time_out_stops_the_build(tool: Tool) -> None:
    tool.fails(4, "build", "--set", "build.timeout_s=0.01", says=["0.01 s", "build.timeout_s"])
    tool.fails(
        4, "compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "--timeout", "0.01", says=["0.01 s"]
    )


# ------------------------------------------------------------------------------------------- places to write


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A tmpfs on a folder; skips where this process may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_size_limit_ends_the_build_and_what_was_done_is_kept(tool: Tool) -> None:
    tool.fails(2, "build", preexec_fn=limited(100_000), says=["cannot write"])  # the plan is larger, the rest is not
    stages = tool.json("build")["stages"]
    assert {s["stage"] for s in stages if s["hit"]} == {
        "export",
        "rewrite",
        "equalize",
        "calibrate",
        "assign precision",
    }


def test_a_file_size_limit_on_the_output_leaves_the_folder_as_it_was(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    before = tree(tool.folder)
    done = tool.run("build", preexec_fn=limited(100_000))  # every stage is in the cache: only the copies are written
    assert done.returncode == 2, done.stderr
    assert_error(done.stderr, ["cannot write"])
    assert tree(tool.folder) == before


def test_a_file_size_limit_on_a_single_command_leaves_no_file(tool: Tool) -> None:
    words = ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8"]
    tool.fails(2, *words, preexec_fn=limited(100_000), says=["cannot write"])


def test_a_full_cache_disk_ends_the_build_and_says_so(tool: Tool) -> None:
    with mounted(tool.cache, "-o", "size=256k"):
        done = tool.fails(2, "build", says=["the disk is full"])
        assert "kept" in done.stderr


def test_a_full_output_disk_leaves_the_folder_as_it_was(built: Built, tmp_path: Path) -> None:
    tool = built.copy(tmp_path)
    with mounted(tool.folder / "full", "-o", "size=256k") as place:
        (place / "manifest.json").write_text("an earlier build", encoding="utf-8")
        tool.fails(2, "build", "-o", place, says=["the disk is full"])
        assert list(tree(place)) == ["manifest.json"]
    tool.succeeds("build", "-o", "elsewhere")


def test_a_full_disk_leaves_no_part_of_a_plan(tool: Tool) -> None:
    with mounted(tool.folder / "full", "-o", "size=256k") as place:
        words = ["compile", "tiny.onnx", "--target", "rtx4090", "--axis", "batch=1:4:8", "-o", place / "model.plan"]
        tool.fails(2, *words, says=["the disk is full"])
        assert not list(place.iterdir())


def test_a_read_only_output_folder_is_refused_before_any_work(tool: Tool) -> None:
    with mounted(tool.folder / "frozen", "-o", "ro") as place:
        tool.fails(2, "build", "-o", place / "results", says=["frozen", "read-only", "--output"])
        tool.fails(2, "rewrite", "tiny.onnx", place / "new.onnx", says=["frozen", "read-only"])
    assert not tool.cache.exists(), "the output is tried before the first stage"


def test_a_read_only_cache_is_refused(tool: Tool) -> None:
    with mounted(tool.cache, "-o", "ro"):
        tool.fails(2, "build", says=["read-only", "TRTBUILD_CACHE"])


def test_an_output_below_a_file_is_refused_before_any_work(tool: Tool) -> None:
    tool.fails(2, "build", "-o", "readers.py/results", says=["readers.py", "--output"])
    assert not tool.cache.exists()


def test_a_cache_below_a_file_is_refused(tool: Tool) -> None:
    tool.fails(2, "build", env={"TRTBUILD_CACHE": str(tool.folder / "readers.py" / "cache")}, says=["readers.py"])
