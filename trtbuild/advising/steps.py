"""The steps, from the cheapest to the dearest, each with what it is estimated to bring where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtbuild.artifacts import AdvisedStep, Bottleneck, Estimate, StepVerdict, TargetRates
from trtbuild.roofline import graph_estimate, roofline

if TYPE_CHECKING:
    from onnx import ModelProto

WORTH = 0.95
"""A step that leaves more than this share of the time is not worth its trouble."""

_RANKS: Mapping[str, int] = {
    "fp32": 0, "tf32": 1, "fp16": 2, "bf16": 2, "int8_weights": 2, "int4": 2, "int8": 3, "fp8": 3,
}  # fmt: skip
_MOST_ROWS = 8  # times the rows of a run, where no profile says how many there may be


@dataclass(frozen=True)
class State:
    """What has been done so far.

    Attributes:
        precision: What the matrix work is in.
        graphs: Whether the kernels are started as one CUDA graph.
        sparse: Whether every weight has 2:4 zeros.
        rows: Rows a run.
    """

    precision: str
    graphs: bool = False
    sparse: bool = False
    rows: int = 1


@dataclass(frozen=True)
class Ground:
    """What the steps stand on.

    Attributes:
        model: The FP32 graph.
        rates: The target's figures.
        sizes: Size of each named axis.
        batch: Name of the axis that rows lie on; None for a fixed one.
        most_rows: Largest size of that axis; 0 where nothing says.
        refused: Precision to why the target cannot do it.
        skips_zeros: Whether the target and its backend have kernels for 2:4 zeros.
        launch_seconds: What starting a kernel is taken for.
    """

    model: ModelProto
    rates: TargetRates
    sizes: Mapping[str, int]
    batch: str | None
    most_rows: int
    refused: Mapping[str, str]
    skips_zeros: bool
    launch_seconds: float
    _known: dict[State, Estimate] = field(default_factory=dict, repr=False, compare=False)

    def estimate(self, state: State) -> Estimate:
        """The roofline's."""
        alone = replace(state, graphs=False)  # it knows no launches
        if alone not in self._known:
            rates = self.rates
            if state.sparse:
                rates = replace(rates, peak={name: 2 * rate for name, rate in roofline(rates).peak.items()})
            sizes = {**self.sizes, self.batch: state.rows} if self.batch else self.sizes
            self._known[alone] = graph_estimate(self.model, rates, sizes, state.precision)
        return self._known[alone]

    def seconds(self, state: State) -> float:
        """A run's: the longer of what the device does and of the launches, which go on beside it."""
        found = self.estimate(state)
        return max(found.estimated_seconds, self._launching(found, state))

    def bound(self, state: State) -> Bottleneck:
        """What a run waits for."""
        found = self.estimate(state)
        if self._launching(found, state) >= found.estimated_seconds:
            return "launch"
        shares = found.bound_shares
        return "compute" if shares.get("compute", 0) >= shares.get("memory", 0) else "memory"

    def _launching(self, found: Estimate, state: State) -> float:
        return self.launch_seconds * (1 if state.graphs else len(found.parts))


Step = Callable[[Ground, State, "float | None"], "tuple[AdvisedStep, State]"]


def walk(ground: Ground, now: State, latency: float | None) -> tuple[tuple[AdvisedStep, ...], State]:
    """The steps in order, each on top of those before it that are worth doing, until the latency is met.

    Args:
        ground: The model and the target.
        now: What it is like today.
        latency: What a run may take, seconds; None where nobody asked.

    Returns:
        Every step with its verdict, and the state after those to be done.
    """
    found, state = [], now
    for name, step in STEPS.items():
        before = ground.seconds(state)
        if latency is not None and before <= latency:
            met = f"estimated {before * 1e3:.4g} ms are within {latency * 1e3:.4g} ms"
            found.append(AdvisedStep(name, "not needed", met, (), before, before, state.rows))
            continue
        each, state = step(ground, state, latency)
        found.append(each)
    return tuple(found), state


def _in(precision: str, how: tuple[str, ...], costs: str) -> Step:
    """The step to a lower precision."""

    def step(ground: Ground, state: State, _latency: float | None) -> tuple[AdvisedStep, State]:
        if _RANKS[state.precision] >= _RANKS[precision]:
            return AdvisedStep(precision, "done", f"it is in {state.precision}"), state
        if ground.refused.get(precision):
            return AdvisedStep(precision, "skip", ground.refused[precision]), state
        return _judged(ground, precision, state, replace(state, precision=precision), how, costs)

    return step


def _graphs(ground: Ground, state: State, _latency: float | None) -> tuple[AdvisedStep, State]:
    if ground.bound(state) != "launch":
        return AdvisedStep("cuda graphs", "skip", "a run does not wait for the host's launches"), state
    kernels = len(ground.estimate(state).parts)
    how = ("triton: {cuda_graphs: true}",)
    costs = f"one launch instead of about {kernels}; shapes have to repeat"
    return _judged(ground, "cuda graphs", state, replace(state, graphs=True), how, costs)


def _batching(ground: Ground, state: State, latency: float | None) -> tuple[AdvisedStep, State]:
    name = "batching"
    if ground.batch is None:
        why = "the batch axis is fixed: export the model with a dynamic one"
        return AdvisedStep(name, "skip", why), state
    rows = ground.most_rows or state.rows * _MOST_ROWS
    if rows <= state.rows:
        return AdvisedStep(name, "done", f"{state.rows} rows are the profile's most"), state
    before, after = ground.seconds(state), ground.seconds(replace(state, rows=rows))
    share = (after / rows) / (before / state.rows)
    said = f"a row of {rows} takes {share:.2f} times what one of {state.rows} does"
    verdict: StepVerdict = "do"
    if latency is not None:
        verdict, said = "skip", f"{said}, but a single answer comes no sooner, and latency was asked for"
    elif share > WORTH:
        verdict = "skip"
    how = (f"profiles: [{{{ground.batch}: [1, {rows}, {rows}]}}]", "triton: {max_queue_delay_us: 500}")
    return AdvisedStep(name, verdict, said, how if verdict == "do" else (), before, after, rows), state


def _sparsity(ground: Ground, state: State, latency: float | None) -> tuple[AdvisedStep, State]:
    if not ground.skips_zeros:
        return AdvisedStep("sparsity", "skip", "the target or its backend has no kernels for 2:4 zeros"), state
    how = ("build: {sparsity: true}  # after the weights are pruned to 2:4 and trained on",)
    after = replace(state, sparse=True)
    found, done = _judged(ground, "sparsity", state, after, how, "at best; pruning and training go before it")
    if latency is None and found.verdict == "do":
        why = f"{found.why}: worth it only for a latency that nothing cheaper reaches"
        return replace(found, verdict="skip", why=why, how=()), state
    return found, done


def _distillation(_ground: Ground, state: State, latency: float | None) -> tuple[AdvisedStep, State]:
    if latency is None:
        return AdvisedStep(
            "distillation", "skip", "a smaller model is the dearest step, and no latency was asked"
        ), state
    why = "nothing cheaper is estimated to reach the latency: it takes a smaller model; nothing says how fast that is"
    return AdvisedStep(
        "distillation", "do", why, ("train a smaller model on this one's answers, then build that",)
    ), state


def _judged(
    ground: Ground, name: str, state: State, after: State, how: tuple[str, ...], costs: str
) -> tuple[AdvisedStep, State]:
    before, seconds = ground.seconds(state), ground.seconds(after)
    share = seconds / before if before else 1.0
    if share > WORTH:
        waits = ground.bound(state)
        why = f"estimated {share:.2f} times the time: a run waits for {_WAITS[waits]}"
        return AdvisedStep(name, "skip", why, (), before, seconds, state.rows), state
    return AdvisedStep(
        name, "do", f"estimated {share:.2f} times the time; {costs}", how, before, seconds, state.rows
    ), after


_WAITS: Mapping[Bottleneck, str] = {
    "compute": "arithmetic that stays as it is", "memory": "memory", "launch": "the host's launches",
}  # fmt: skip

STEPS: Mapping[str, Step] = {
    "tf32": _in("tf32", ("precision: tf32",), "a switch: products keep 10 bits of the mantissa"),
    "cuda graphs": _graphs,
    "batching": _batching,
    "fp16": _in("fp16", ("precision: fp16",), "no data is needed"),
    "int8": _in(
        "int8",
        ("precision: int8", "calibration: {reader: readers.py:calibration, samples: 512}"),
        "a few hundred samples to calibrate on, others to judge by",
    ),
    "sparsity": _sparsity,
    "distillation": _distillation,
}
"""In the order of their cost to the user: switches of the hardware, batching, precision, training."""
