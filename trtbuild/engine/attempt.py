"""One build in a worker process, or two to see whether they give the same bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trtbuild import onnxfile, worker
from trtbuild.artifacts import EngineLayer, TypedOnnx
from trtbuild.backends import BACKENDS
from trtbuild.content import file_digest
from trtbuild.engine.probing import Probe, probe
from trtbuild.engine.refusals import first_hint, listed, refusal
from trtbuild.errors import InvalidOnnxError

_GENERATED = re.compile(r"__mye\d+")
"""Names that TensorRT makes up, by a number."""

Progress = Callable[[str, float], None]
"""Takes the builder's phase and the share done, 0 to 1."""


@dataclass(frozen=True)
class Attempt:
    """A build that can be made as often as one likes.

    Attributes:
        typed: What is built.
        request: What ``building.build_plan`` takes.
        python: The interpreter that builds; empty for this process's own.
        timeout_s: Seconds after which a build is stopped.
        memory_limit_mib: MiB above which it is stopped; None for no limit.
    """

    typed: TypedOnnx
    request: Mapping[str, Any]
    python: str
    timeout_s: float
    memory_limit_mib: int | None

    def build(self, on_progress: Progress, *, plan: Path, log: Path) -> Any:
        """Builds into two files.

        Returns:
            As ``building.build_plan``.

        Raises:
            InvalidOnnxError: TensorRT cannot parse it; everything it refuses is named.
            BuildError: It did not build.
        """
        try:
            return worker.call(
                "trtbuild.engine.building:build_plan",
                {**self.request, "plan": str(plan), "log": str(log)},
                on_event=lambda event: on_progress(event["phase"], event["share"]),
                timeout_s=self.timeout_s,
                memory_limit_mib=self.memory_limit_mib,
                python=self.python,
            )
        except InvalidOnnxError as error:
            if not isinstance(error.result, dict) or "refused" not in error.result:
                raise
            raise self._all_refused(plan.parent, error.result["refused"]) from error

    def again(self, plan: Path, on_progress: Progress) -> tuple[bool, Any]:
        """A second build, in another process; its files are gone afterwards.

        Returns:
            Whether it gave the bytes of the plan, and its answer.
        """
        other = plan.with_name("again.plan")
        try:
            answer = self.build(on_progress, plan=other, log=other.with_suffix(".log"))
            return file_digest(other) == file_digest(plan), answer
        finally:
            for file in plan.parent.glob("again.*"):
                file.unlink()

    def _all_refused(self, folder: Path, said: list[dict[str, str]]) -> InvalidOnnxError:
        """The error that names everything the parser refuses; for large weights, what it met first."""
        known = Probe([refusal(s["text"], node=s["node"], operator=s["operator"]) for s in said])
        if self.typed.model.total_size <= onnxfile.EXTERNAL_DATA_ABOVE:
            known = probe(self.typed.model.path, folder, self._ask)
        rest = f"\n    not judged, for they hang on these: {known.not_judged} more" if known.not_judged else ""
        error = InvalidOnnxError(
            f"TensorRT cannot parse it:\n{listed(known.refusals)}{rest}",
            place=str(self.typed.model.path),
            hint=first_hint(known.refusals),
        )
        error.result = {"refused": [asdict(r) for r in known.refusals], "not_judged": known.not_judged}
        return error

    def _ask(self, file: Path) -> Any:
        request = {"backend": self.request["backend"], "onnx": str(file)}
        return worker.call("trtbuild.engine.parsing:refused", request, python=self.python, timeout_s=self.timeout_s)


def why_not_the_same(backend: str, *, same_kernels: bool) -> str:
    """A warning for a plan whose second build gave other bytes.

    TensorRT-RTX 1.7.1 gives the same bytes where sizes are fixed, and with dynamic axes for most models; for some it
    numbers its own arithmetic on sizes differently from run to run, and the kernels are the same.
    """
    if BACKENDS.load(backend).NEEDS_GPU_TO_BUILD:
        why = (
            "TensorRT times kernels on the GPU and takes the fastest, and noise decides between near equals; a timing "
            "cache that both builds read pins the choice: build.timing_cache"
        )
    elif same_kernels:
        why = f"their kernels are the same; {backend} numbers names for arithmetic on dynamic axes anew in each run"
    else:
        why = f"{backend} times nothing and gave the same kernels wherever we looked, so please report it"
    return f"built twice, and the two plans differ: {why}"


def kernels_alike(one: Iterable[EngineLayer], other: Iterable[EngineLayer]) -> bool:
    """Whether two engines are the same kernels on the same tensors, whatever their generated names are."""
    return Counter(map(_kernel, one)) == Counter(map(_kernel, other))


def _kernel(layer: EngineLayer) -> tuple[Any, ...]:
    tensors = tuple((t.dtype, t.dims, t.format) for t in (*layer.inputs, *layer.outputs, *layer.constants))
    return layer.kind, layer.precision, layer.onnx_nodes, _GENERATED.sub("", layer.tactic), layer.profile, tensors


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """Progress of one of several builds as a share of them all."""
    return lambda phase, share: progress(phase, (number + share) / count)
