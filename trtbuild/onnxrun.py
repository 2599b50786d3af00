"""Runs ONNX models in ONNX Runtime: the graph as it is written, but where optimisation is asked for."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.errors import InvalidOnnxError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

ORT_PACKAGES = ("onnxruntime", "onnx", "numpy")
"""Packages whose versions belong in the key of a stage that runs ONNX."""


def session(
    model: Path | ModelProto,
    *,
    optimise: bool = False,
    folder: Path | None = None,
    lean: bool = False,
    shared: bool = False,
    threads: int = 0,
    profile: Path | None = None,
) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        model: A file, or a model in memory; one above protobuf's limit goes through a temporary file.
        optimise: Whether ONNX Runtime may rewrite the graph: results differ by rounding then.
        folder: Where weights lie that a model in memory leaves on disk.
        lean: Whether memory is given back after each run; for models that are run beside others.
        shared: Whether it takes its memory from an arena that all such sessions of this process share: what one of
            them gives back, the next one uses. The process keeps it.
        threads: Threads of one run, which wait without spinning; 0 for as many as there are cores.
        profile: How the file begins that ONNX Runtime's profiler writes; it does not run when left out.

    Raises:
        InvalidOnnxError: ONNX Runtime cannot load it.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = not lean
    if threads:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if shared:
        _make_shared_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    source = str(model) if isinstance(model, os.PathLike) else _serialised(model)
    try:
        return ort.InferenceSession(source, options, providers=providers())
    except Exception as error:
        place = source if isinstance(source, str) else "model in memory"
        first = str(error).strip().split("\n", 1)[0]
        raise InvalidOnnxError(
            f"ONNX Runtime cannot load it: {first}", place=place, hint="check it with onnx.checker, or export it again"
        ) from error


@lru_cache(maxsize=1)
def _make_shared_arena() -> None:
    import onnxruntime as ort

    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with suppress(Exception):  # the process has one already: it does as well
        ort.create_and_register_allocator(memory, None)


def _serialised(model: ModelProto) -> bytes | str:
    """Bytes for ONNX Runtime; the name of a temporary file for a model that bytes cannot hold."""
    from trtbuild import onnxfile

    if onnxfile.weight_bytes(model) <= onnxfile.EXTERNAL_DATA_ABOVE:
        return bytes(model.SerializeToString())
    folder = tempfile.mkdtemp(prefix="trtbuild-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(onnxfile.save(model, Path(folder) / "model.onnx").path)


def providers() -> list[str]:
    """The execution providers to use: CUDA where this build of ONNX Runtime has it, the CPU after it."""
    import onnxruntime as ort

    return [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in ort.get_available_providers()]


def run(
    session: Any, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Runs one feed.

    Returns:
        Output name to array.

    Raises:
        InvalidOnnxError: A node fails at these shapes or values.
    """
    names = list(outputs) if outputs is not None else [o.name for o in session.get_outputs()]
    known = {i.name for i in session.get_inputs()}
    try:
        values = session.run(names, {k: v for k, v in feed.items() if k in known})
    except Exception as error:
        shapes = ", ".join(f"{k}:{list(v.shape)}" for k, v in feed.items())
        first = str(error).strip().split("\n", 1)[0]
        raise InvalidOnnxError(
            f"ONNX Runtime fails at {shapes}: {first}", place="model", hint="is the shape one the model can take?"
        ) from error
    return dict(zip(names, values, strict=True))


def node_seconds(
    model: Path, feed: Mapping[str, NDArray[Any]], *, runs: int, folder: Path
) -> tuple[str, dict[str, list[float]]]:
    """The time of every node, run by run, from ONNX Runtime's own profiler; optimisation off.

    Args:
        model: An ONNX file.
        feed: One feed.
        runs: How often to run it.
        folder: Where the profile is written.

    Returns:
        The execution provider that was asked first, and node name to seconds of each run, the first one too. A node
        inside a loop has the sum of a run.
    """
    import json

    ready = session(model, profile=folder / "profile")
    for _ in range(runs):
        run(ready, feed)
    events = json.loads(Path(ready.end_profiling()).read_text(encoding="utf-8"))
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    found: dict[str, list[float]] = {}
    for event in sorted(kernels, key=lambda e: e["ts"]):
        found.setdefault(event["name"].removesuffix("_kernel_time"), []).append(event["dur"] * 1e-6)
    per_run = {name: max(1, len(times) // runs) for name, times in found.items()}
    return str(ready.get_providers()[0]), {
        name: [sum(times[i : i + per_run[name]]) for i in range(0, len(times), per_run[name])]
        for name, times in found.items()
    }
