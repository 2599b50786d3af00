"""What each stage did, in lines for the console and the log; the first one is the headline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from trtbuild.artifacts import (
    Advice,
    Benchmark,
    CalibrationTable,
    Diagnosis,
    EnginePlan,
    EqualizedOnnx,
    ExportedOnnx,
    Front,
    FrontPoint,
    OutputComparison,
    RewrittenOnnx,
    SpeedGate,
    TaskScore,
    TensorRange,
    TriedTransform,
    TritonModel,
    TypedOnnx,
    Verification,
)
from trtbuild.console import human_size


def export(done: ExportedOnnx) -> list[str]:
    """Exporter, opset, size; parity at each shape."""
    worst = max((row.max_rel for row in done.parity), default=None)
    head = f"{done.exporter}, opset {done.opset}, {human_size(done.model.total_size)}"
    if worst is not None:
        head += f"; within {worst:.1e} of torch at {len(done.parity)} shapes"
    rows = [
        f"{_shapes(r.shapes)}: largest difference {r.max_abs:.2e} ({r.max_rel:.1e} of the output)" for r in done.parity
    ]
    return [head, *done.notes, *rows]


def rewrite(done: RewrittenOnnx) -> list[str]:
    """Node counts, and each edit."""
    counts = Counter(e.rule for e in done.applied)
    by_rule = ", ".join(f"{rule} x{n}" for rule, n in counts.most_common()) or "nothing to change"
    edits = [f"{e.rule} at {e.node}: {e.change}" for e in done.applied if e.rule != "constant_nodes"]
    declined = [f"{d.rule} declined at {d.node}: {d.reason}" for d in done.declined]
    stuck = [f"TensorRT will not build {each}" for each in done.unbuildable]
    return [f"{done.nodes_before} -> {done.nodes_after} nodes; {by_rule}", *stuck, *done.notes, *edits, *declined]


def calibrate(done: CalibrationTable) -> list[str]:
    """Method, samples, what to know, and each range."""
    random = " of RANDOM data" if done.synthetic else ""
    samples = f"{done.samples} samples{random}" if done.samples else "samples not known"
    ranges = [f"{name}: {_range(r)}" for name, r in done.ranges.items()]
    return [f"{done.method}, {samples}, {len(done.ranges)} tensors", *done.notes, *ranges]


def equalize(done: EqualizedOnnx) -> list[str]:
    """What was kept, and each transform with what it brought."""
    kept = ", ".join(t.name for t in done.tried if t.kept) or "nothing kept"
    head = f"{kept}; {len(done.tried)} tried, judged on {done.judged_on} rows"
    return [head, *done.notes, *(transform(t) for t in done.tried)]


def transform(tried: TriedTransform) -> str:
    """One transform and what it brought."""
    verdict = "kept" if tried.kept else "not kept"
    return f"{tried.name}: {tried.before_db:.1f} -> {tried.after_db:.1f} dB, {verdict}; {tried.change}"


def search(done: Front) -> list[str]:
    """The chosen point, and the front."""
    points = [_point(p, chosen=number == done.chosen) for number, p in enumerate(done.points)]
    took = f"{done.runs} graphs run, judged on {done.judged_on} rows"
    head = f"nothing holds {done.metric} >= {done.min}" if done.chosen is None else points[done.chosen].lstrip("* ")
    return [f"{head}; {took}", *(transform(t) for t in done.tried), *done.notes, *points]


def _point(point: FrontPoint, *, chosen: bool) -> str:
    shares = ", ".join(f"{share:.0%} {kind}" for kind, share in point.shares.items() if share)
    measured = "not run" if point.cosine is None else f"cosine {point.cosine:.6f}, {point.sqnr_db:.1f} dB"
    time = ", ".join(f"{t} {s * 1e6:.0f} us" for t, s in point.seconds.items())
    return f"{'* ' if chosen else ''}{shares}: {measured}; estimated {time}"


def _range(found: TensorRange) -> str:
    if found.seen_min is None or found.seen_max is None or found.clipped is None:
        return f"keeps {found.amax:.5g}"
    return f"keeps {found.amax:.5g} of [{found.seen_min:.5g}, {found.seen_max:.5g}], clips {found.clipped:.3%}"


def assign_precision(done: TypedOnnx) -> list[str]:
    """Nodes by precision, the size, and what stayed higher."""
    counts = Counter(done.assignment.values())
    by = ", ".join(f"{n} {p}" for p, n in counts.most_common()) or "no matrix nodes"
    kept = [f"{node} stays in float: {reason}" for node, reason in done.kept.items()]
    tried = [transform(t) for t in done.tried]
    return [f"matrix nodes: {by}; {human_size(done.model.total_size)}", *tried, *done.notes, *kept]


def compile(done: EnginePlan) -> list[str]:  # noqa: A001
    """Size, kernels, shares of the matrix work."""
    head = f"{human_size(done.plan.size)}, {len(done.layers)} kernels; matrix work {shares(done.work.shares)}"
    by = f"{done.target.backend} {done.backend_version} for {done.target.compute_capability}"
    return [head, by if done.reproducible is None else f"{by}; {built(done.reproducible)}", *done.warnings]


def built(reproducible: bool | None) -> str:
    """What is known of a plan's second build."""
    if reproducible is None:
        return "built once"
    return "built twice, the same bytes" if reproducible else "built twice, other bytes"


def verify(done: Verification) -> list[str]:
    """Verdict, what was run, each gate and each output."""
    words = {"passed": "pass", "not passed": "FAIL", "cannot tell": "CANNOT TELL"}
    gates = [
        f"{words[g.verdict]}  {g.rule}: {g.value:.6g} ({g.source})" + (f"; {g.undecided}" if g.undecided else "")
        for g in done.gates
    ]
    task = []
    if done.task:
        t = done.task
        task = [f"{t.metric}: fp32 {t.reference:.4f}, {done.subject} {t.subject:.4f}{_interval(t)}"]
    verdict = "passed" if done.passed else "NOT PASSED"
    outputs = [compared(o) for o in done.outputs]
    main = (task or outputs or [""])[0]
    return [f"{verdict} on {done.samples} samples ({done.subject}); {main}", *gates, *outputs, *done.notes]


def _interval(task: TaskScore) -> str:
    if task.drop_interval is None or task.drop_at_most is None:
        return ""
    low, high = task.drop_interval
    return f" (drop {task.drop:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, at most {task.drop_at_most:.4f})"


def compared(o: OutputComparison) -> str:
    """One output's line."""
    text = (
        f"{o.output}: cosine {o.cosine:.6f} (smallest {o.cosine_min:.6f}), SQNR "
        f"{'exact' if o.sqnr_db is None else f'{o.sqnr_db:.1f} dB'}, largest error {o.max_abs:.4g}"
    )
    if o.p99_abs is not None:
        text += f" (99 % within {o.p99_abs:.4g})"
    if o.scores is not None:
        text += f", same top class in {100 * o.scores.top1:.2f} % of {o.scores.rows}"
    return text


def debug(done: Diagnosis) -> list[str]:
    """The first tensor past the bound, the nodes that add most error, and what to do."""
    ended = "NaN or Inf" if done.output_db is None else f"SQNR {done.output_db:.1f} dB"
    first = (
        f"first past {done.bound_db:g} dB: {done.first}" if done.first else f"no tensor is past {done.bound_db:g} dB"
    )
    lines = [f"outputs: {ended}, cosine {done.output_cosine:.6f}; {first}"]
    lines += [f"wrong edit: {each}" for each in done.edits]
    for suspect in done.suspects:
        own = "makes NaN or Inf" if suspect.local_db is None else f"adds {suspect.local_db:.1f} dB"
        without = "NaN or Inf stay" if suspect.healed_db is None else f"{suspect.healed_db:.1f} dB without it"
        lines.append(f"{suspect.node} ({suspect.op}): {suspect.cause}; {own}; {without}")
        lines.append(f"    {suspect.explanation}")
    lines += [f"advice: {line}" for line in done.advice]
    if done.command:
        lines.append(f"reproduce: {done.command}")
    return [*lines, *done.notes]


def advise(done: Advice) -> list[str]:
    """What bounds the model, the next step, every step, and where the time goes."""
    sizes = ", ".join(f"{axis}={size}" for axis, size in done.sizes.items()) or "its fixed sizes"
    head = (
        f"bound by {done.bound} on {done.estimate.target}: estimated {done.estimated_seconds * 1e3:.4g} ms a run at "
        f"{sizes} in {done.precision}, some {done.launches} kernels"
    )
    lines = [head]
    if done.latency_seconds is not None:
        verdict = "are estimated to reach" if done.estimated_met else "are NOT estimated to reach"
        lines.append(f"the steps below {verdict} {done.latency_seconds * 1e3:.4g} ms")
    lines.append(f"next: {done.next.name}" if done.next else "next: nothing")
    for step in done.steps:
        time = f" (estimated {step.estimated_seconds * 1e3:.4g} ms)" if step.estimated_seconds is not None else ""
        lines.append(f"{step.verdict:<10} {step.name}: {step.why}{time if step.verdict == 'do' else ''}")
        lines += [f"{'':<10}     {line}" for line in step.how]
    profile = done.profile
    lines.append(f"measured here, {profile.provider}, {profile.seconds * 1e3:.4g} ms in all nodes:")
    for word, shares in (("operator", profile.operators), ("module", profile.modules), ("node", profile.nodes)):
        lines += [f"  {s.share:4.0%}  {word} {s.name}" + (f" x {s.nodes}" if s.nodes > 1 else "") for s in shares[:4]]
    return [*lines, *done.estimate.assumed, *done.notes]


def bench(done: Benchmark) -> list[str]:
    """What was measured, each timing, and what to know."""
    rows = [
        f"{t.subject} at {_shapes(t.shapes)}: p50 {t.latency.p50:.3f} ms, p99 {t.latency.p99:.3f} ms, "
        f"{t.throughput:.0f} rows/s"
        for t in done.timings
    ]
    subjects = len({t.subject for t in done.timings})
    places = len({(t.profile, t.end, t.axis) for t in done.timings})
    head = f"{subjects} subjects side by side at {places} shape{'s' if places != 1 else ''}"
    advice = [f"{a.said} {' '.join(a.paste.split())}".rstrip() for a in done.advice]
    return [head + (f" on {done.gpu}" if done.gpu else ""), *rows, *done.notes, *advice]


def speed(gate: SpeedGate) -> str:
    """The speed gate in one line."""
    measured = [
        f"{r.target} {r.engine_ms:.3f} ms beside {r.sibling_ms:.3f} ms in FP16: {'pass' if r.passed else 'SLOWER'}"
        for r in gate.results
    ]
    accepted = ["accepted by the spec"] if gate.allowed and not all(r.passed for r in gate.results) else []
    return "; ".join([*measured, *accepted, *([gate.note] if gate.note else [])])


def package(done: TritonModel) -> list[str]:
    """Files of the folder, and what to know before serving."""
    files = [f"{name} {human_size(file.size)}" for name, file in {**done.files, **done.beside}.items()]
    start = [f"start it: {done.docker_run}"] if done.docker_run else []
    return [f"Triton model {done.name}: {len(done.plans)} plan(s)", *files, *done.notes, *start]


def shares(work: Mapping[str, float]) -> str:
    """``int8 75 %, fp32 25 %``: the largest first, also where the store has sorted them by name."""
    largest_first = sorted(work.items(), key=lambda item: -item[1])
    return ", ".join(f"{p} {share:.0%}".replace("%", " %") for p, share in largest_first) or "none"


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in shapes.items())
