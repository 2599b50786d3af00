"""What can be compared: an ONNX file, a plan on a GPU, or a callable such as a PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtbuild import onnxfile
from trtbuild.artifacts import EnginePlan, StoredFile, TypedOnnx
from trtbuild.emulation import emulate, uses_low_precision
from trtbuild.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[Any]]
    Feed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class CallableModel:
    """A function that is a model, for example a PyTorch module in evaluation mode.

    Attributes:
        name: What reports call it.
        digest: What stands for it: of its weights and code, or its name where nothing better is known.
        call: Takes input name to array, returns output name to array.
    """

    name: str
    digest: str
    call: Callable[[Feed], Outputs]


Comparable = StoredFile | Path | str | TypedOnnx | EnginePlan | CallableModel
"""What ``verify`` takes on either side."""


@dataclass(frozen=True)
class Subject:
    """One side of a comparison, ready to run.

    Attributes:
        kind: What runs.
        digest: What stands for it.
        run: Takes feeds, returns the outputs of each.
        notes: What a reader should know of how it runs.
        file: The ONNX file; None for others.
        plan: The plan; None for others.
    """

    kind: Literal["engine", "typed onnx", "callable"]
    digest: str
    run: Callable[[Sequence[Feed]], Sequence[Outputs]]
    notes: tuple[str, ...] = ()
    file: Path | None = None
    plan: EnginePlan | None = None


def subject_of(given: Comparable) -> Subject:
    """Makes one side of a comparison ready to run.

    Raises:
        UsageError: A file that is no ONNX.
        InvalidOnnxError: ONNX Runtime cannot load it.
    """
    if isinstance(given, EnginePlan):
        return _plan(given)
    if isinstance(given, CallableModel):
        return Subject("callable", given.digest, lambda feeds: [given.call(f) for f in feeds], (f"ran {given.name}",))
    stored = given.model if isinstance(given, TypedOnnx) else given
    return _onnx(stored if isinstance(stored, StoredFile) else onnxfile.stored(Path(stored)))


def _plan(plan: EnginePlan) -> Subject:
    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        from trtbuild.enginerun import run_plan

        return run_plan(plan, feeds)

    note = f"the plan ran on this machine's GPU ({plan.target.compute_capability})"
    return Subject("engine", plan.plan.digest, run, (note,), plan=plan)


def _onnx(file: StoredFile) -> Subject:
    """In ONNX Runtime, through Polygraphy's comparator; FP16 and BF16 emulated where the graph uses them."""
    from polygraphy.backend.onnxrt import OnnxrtRunner
    from polygraphy.comparator import Comparator
    from polygraphy.logger import G_LOGGER

    from trtbuild.onnxrun import session

    if file.path.suffix != ".onnx":
        raise UsageError(
            "this is not an ONNX file", place=str(file.path), hint="a plan is verified on the machine that has its GPU"
        )
    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    model = onnxfile.load(file.path)
    emulated = uses_low_precision(model)
    runner = OnnxrtRunner(session(emulate(model)) if emulated else session(file.path), name="model")

    def run(feeds: Sequence[Feed]) -> Sequence[Outputs]:
        results = Comparator.run([runner], data_loader=[dict(f) for f in feeds])
        return [dict(iteration.items()) for iteration in results["model"]]

    notes = ["not run on a GPU: the exact ONNX that was compiled ran in ONNX Runtime instead of the plan"]
    if emulated:
        notes.append("FP16 and BF16 were emulated: every result rounded to its type")
    return Subject("typed onnx", file.digest, run, tuple(notes), file=file.path)
