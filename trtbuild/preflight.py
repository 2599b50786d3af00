"""What can be known to fail is known before the first stage: names, files, packages, devices."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from trtbuild import calibration, engine, rewriter, triton
from trtbuild.artifacts import CALIBRATED, QUANTIZED, Target
from trtbuild.errors import SpecError, missing_package
from trtbuild.feeds import hold_reader
from trtbuild.spec import Spec, check_precision, check_target
from trtbuild.store import check_writable
from trtbuild.verification import Rule, TaskMetric


def preflight(spec: Spec, targets: Sequence[Target], output: Path) -> None:
    """Raises what a later stage would.

    Args:
        spec: The spec.
        targets: Its targets.
        output: Where the results will be written.

    Raises:
        UsageError: A rule, a method, a reader, a metric or a release that is not there; an output that cannot be
            written.
        SpecError: A build option that a target's backend cannot do.
        MissingDependencyError: A package or a GPU that a target needs.
    """
    check_writable(output)
    options = spec.build.options(spec.folder)
    if options.strip_weights:
        raise SpecError(
            "a plan without its weights can be neither run nor served before it is refitted",
            place="build.strip_weights",
            hint="leave it out here, and make the stripped plan with `trtbuild compile`",
        )
    for target in targets:
        check_target(target, spec.precision)
        for asked in (*spec.precision_overrides.values(), *([spec.rest] if spec.precision in QUANTIZED else [])):
            check_precision(target, asked)
        engine.hold_available(target)
        engine.hold_options(target, options, spec.optimization_profiles())
    own = [rule.name for file in spec.rewrite.rules for rule in rewriter.rules_from(spec.folder / file)]
    rewriter.rule_names(skip=spec.rewrite.skip, added=own)
    if importlib.util.find_spec("tritonclient") is None:
        raise missing_package("tritonclient[grpc]", "triton", needed_for="writing config.pbtxt")
    triton.hold_settings(spec.model.name, spec.triton, spec.folder)
    if spec.precision in CALIBRATED and spec.calibration is not None:
        calibration.METHODS.load(spec.calibration.method)
        hold_reader(spec.calibration.reader, spec.folder, spec.calibration.args)
    if spec.accuracy is not None:
        hold_reader(spec.accuracy.data, spec.folder, spec.accuracy.args)
        rule = Rule.asked(spec.accuracy)
        if rule.is_task:
            TaskMetric(rule, spec.folder)
