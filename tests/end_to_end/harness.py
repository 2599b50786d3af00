"""What the end-to-end tests share: the tool as a subprocess, a tiny CNN as ONNX, its readers, and its spec."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 300  # seconds after which a subprocess counts as hung; no test is about speed

READERS = """\
import numpy as np


def _feeds(seed, count, name="x"):
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield {name: random.normal(size=(4, 1, 8, 8)).astype(np.float32)}


def calibration(count=8):
    yield from _feeds(1, count)


def held_out(count=4):
    yield from _feeds(2, count)


def nothing():
    yield from ()


def nan():
    for feed in _feeds(1, 2):
        feed["x"][0, 0, 3, 3] = np.nan
        yield feed


def wrong_name():
    yield from _feeds(1, 1, "image")


def wrong_rank():
    for feed in _feeds(1, 1):
        yield {"x": feed["x"][0]}


def raises():
    yield from _feeds(1, 1)
    raise RuntimeError("the disk with the images went away")


def leaves():
    raise SystemExit(0)


def talks():
    print("reading the samples")
    yield from _feeds(1, 2)


def too_many_rows():
    yield {"x": np.zeros((64, 1, 8, 8), np.float32)}
"""


@dataclass(frozen=True)
class Tool:
    """The command line in a folder, with a cache of its own.

    Attributes:
        folder: Where commands run.
        cache: TRTBUILD_CACHE.
    """

    folder: Path
    cache: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The process's variables without trtbuild's own, with this tool's cache and one thread a library."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TRTBUILD_")}
        path = os.pathsep.join(p for p in (str(ROOT), kept.get("PYTHONPATH", "")) if p)
        return {
            **kept, "PYTHONPATH": path, "TRTBUILD_CACHE": str(self.cache), "OMP_NUM_THREADS": "1", **(extra or {})
        }  # fmt: skip

    def command(self, *words: object) -> list[str]:
        """The command line of a call."""
        return [sys.executable, "-m", "trtbuild", *map(str, words)]

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        environment = self.environment(options.pop("env", None))
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            **options,
        )

    def start(self, *words: object, **options: Any) -> subprocess.Popen[str]:
        """Starts a command and leaves it running; Ctrl-C reaches it even where a shell in the background ignores it."""
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        environment = self.environment(options.pop("env", None))
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, **options,
        )  # fmt: skip

    def succeeds(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command that has to end with 0."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: object, **options: Any) -> Any:
        """Runs a command with ``--json`` that has to end with 0; its one JSON object."""
        return one_json(self.succeeds(*words, "--json", **options).stdout)

    def fails(
        self, code: int, *words: object, says: Sequence[str] = (), **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command that has to end with ``code``, a whole error on standard error, and nothing lost."""
        before = tree(self.folder)
        done = self.run(*words, **options)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert_error(done.stderr, says)
        assert not done.stdout
        assert tree(self.folder) == before, "a failed command leaves the folder as it was"
        assert_store_sound(self.cache)
        return done


def assert_error(text: str, says: Sequence[str] = ()) -> None:
    """An error for a person: what is wrong and what to do, without a traceback."""
    assert "error: " in text, text
    assert "hint: " in text, text
    assert "Traceback" not in text, text
    for words in says:
        assert words in text, f"{words!r} is not in: {text}"


def one_json(text: str) -> Any:
    """The one JSON document that a text is; fails when there is more or less than one."""
    return json.loads(text)


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder by its relative path; links are their targets."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if "__pycache__" in file.parts:
            continue
        if file.is_symlink():
            found[name] = f"-> {file.readlink()}"
        elif file.is_file():
            found[name] = sha256(file)
    return found


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, worked out without trtbuild."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def store_entries(cache: Path) -> list[Path]:
    """The finished entries of a store."""
    return sorted(file.parent for file in cache.rglob("result.json") if not file.parent.name.endswith(".partial"))


def assert_store_sound(cache: Path, *, killed: bool = False) -> None:
    """Every entry a reader can see is whole; a run that was not killed leaves no unfinished one either."""
    for entry in store_entries(cache):
        document = json.loads((entry / "result.json").read_text(encoding="utf-8"))
        body = json.dumps(document["body"], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(body.encode()).hexdigest() == document["sha256"], entry
        for name, (digest, size) in document["body"]["files"].items():
            assert (entry / name).stat().st_size == size, entry / name
            assert sha256(entry / name) == digest, entry / name
    folders = [p for p in cache.rglob("*") if p.is_dir() and len(p.name) >= 64]
    for folder in folders:
        if not killed:
            assert not folder.name.endswith(".partial"), folder
        assert folder.name.endswith(".partial") or (folder / "result.json").is_file(), folder


def assert_manifest_fits(folder: Path) -> None:
    """Every file the manifest names is there with its digest and size."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["outputs"]
    for name, known in manifest["outputs"].items():
        assert sha256(folder / name) == known["sha256"], name
        assert (folder / name).stat().st_size == known["size"], name


def processes(marker: str) -> list[int]:
    """Processes, by id, that have ``marker`` among their environment variables' text and are not zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if marker.encode() in (folder / "environ").read_bytes():
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    found.append(int(folder.name))
        except OSError:
            continue
    return found


def worker_of(process: subprocess.Popen[str]) -> int:
    """The id of a running tool's worker process, as soon as there is one."""
    while process.poll() is None:
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == process.pid and any(w.endswith(b"trtbuild/worker/child.py") for w in words):
                return int(folder.name)
        time.sleep(0.002)
    raise AssertionError(f"the tool ended before it had a worker: {process.communicate()}")


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Waits for a condition; ``seconds`` bounds a hang and says nothing about speed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def cnn(path: Path, *, seed: int = 0, blocks: int = 1, channels: int = 16, nan: bool = False) -> Path:
    """Writes a small CNN: input ``x`` [batch, 1, 8, 8], output ``y`` [batch, 10]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> Any:
        fan_in = int(np.prod(shape[1:])) or 1
        values = random.normal(size=shape, scale=fan_in**-0.5).astype(np.float32)
        if nan and name == "w0":
            values.flat[7] = np.nan
        return numpy_helper.from_array(values, name)

    nodes, weights, last, width = [], [], "x", 1
    for n in range(blocks):
        weights += [weight(f"w{n}", channels, width, 3, 3), weight(f"b{n}", channels)]
        nodes += [
            helper.make_node("Conv", [last, f"w{n}", f"b{n}"], [f"c{n}"], f"conv{n}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{n}"], [f"r{n}"], f"relu{n}"),
        ]
        last, width = f"r{n}", channels
    weights += [weight("wf", 10, channels), weight("bf", 10)]
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "wf", "bf"], ["y"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(path))
    return path


SPEC: dict[str, Any] = {
    "model": {"name": "tiny", "source": "tiny.onnx"},
    "profiles": [{"batch": [1, 4, 8]}],
    "precision": "int8",
    "calibration": {"reader": "readers.py:calibration", "samples": 32, "method": "minmax"},
    "accuracy": {"data": "readers.py:held_out", "samples": 16, "metric": "cosine", "min": 0.9},
    "targets": ["rtx4090"],
    "output": "out",
}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with changes: blocks are merged, None takes a key away."""
    found = dict(base)
    for key, value in changes.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found


def write_spec(folder: Path, **changes: Any) -> Path:
    """Writes the small spec with changes; JSON is YAML."""
    place = folder / "trtbuild.yaml"
    place.write_text(json.dumps(merged(SPEC, changes), indent=2) + "\n", encoding="utf-8")
    return place


def populate(folder: Path) -> Path:
    """Puts the small model, its readers and its spec into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cnn(folder / "tiny.onnx")
    (folder / "readers.py").write_text(READERS, encoding="utf-8")
    write_spec(folder)
    return folder


def write(file: Path, text: str) -> Path:
    """Writes dedented text."""
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


@dataclass(frozen=True)
class Built:
    """A finished build that several tests look at; none of them changes it."""

    tool: Tool
    output: Path
    done: subprocess.CompletedProcess[str]
    seconds: float  # the build took

    @property
    def report(self) -> Any:
        """report.json."""
        return json.loads((self.output / "report.json").read_text(encoding="utf-8"))

    def copy(self, folder: Path) -> Tool:
        """A copy of its work folder and cache that a test may damage."""
        shutil.copytree(self.tool.folder, folder / "work", symlinks=True)
        shutil.copytree(self.tool.cache, folder / "cache", symlinks=True)
        return Tool(folder / "work", folder / "cache")
