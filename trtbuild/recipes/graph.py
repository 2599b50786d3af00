"""The stages on the graph: what each one's key is made of, and its call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trtbuild import exporters, reporting, rewriter
from trtbuild.artifacts import ExportedOnnx, OptimizationProfile, RewrittenOnnx, Target
from trtbuild.content import file_digest
from trtbuild.errors import InvalidOnnxError
from trtbuild.recipes.keys import as_json
from trtbuild.spec import Spec
from trtbuild.steps import Steps
from trtbuild.store import Recipe, code_digest, toolchain


def export(steps: Steps, spec: Spec, profiles: tuple[OptimizationProfile, ...]) -> ExportedOnnx:
    """Takes the model to ONNX; it is loaded only where its fingerprint needs that."""
    model = spec.model
    loaded: list[Any] = []  # the module, once it had to be loaded for its fingerprint

    def recipe() -> Recipe:
        steps.observer.progress("export", None, "reading the model")
        known = exporters.fingerprint.of_files(model.source, spec.folder, model.depends_on, model.weights)
        if known is None:
            loaded.append(exporters.load_module(model.source, spec.folder, model.weights))
            known = exporters.fingerprint.of_module(loaded[0])
        return Recipe(
            "export",
            code_digest(exporters.__name__),
            {"model": known},
            {
                "inputs": as_json(spec.input_tensors()),
                "outputs": model.outputs,
                "exporter": model.exporter,
                "opset": model.opset,
                "profiles": as_json(profiles),
                "ranges": spec.ranges(),
            },
            toolchain(*exporters.PACKAGES),
        )

    def make(folder: Path) -> ExportedOnnx:
        steps.observer.progress("export", None, "exporting and comparing with torch")
        return exporters.export(
            loaded[0] if loaded else model.source,
            folder,
            inputs=spec.input_tensors(),
            outputs=model.outputs,
            exporter=model.exporter,
            opset=model.opset,
            profiles=profiles,
            ranges=spec.ranges(),
            folder=spec.folder,
            weights=None if loaded else model.weights,
            on_note=steps.observer.note,
        )

    return steps.take("export", ExportedOnnx, recipe, make, reporting.said.export)


def rewrite(
    steps: Steps,
    spec: Spec,
    exported: ExportedOnnx,
    targets: tuple[Target, ...],
    profiles: tuple[OptimizationProfile, ...],
) -> RewrittenOnnx:
    """Applies the rewrite rules."""
    asked = spec.rewrite
    files = [spec.folder / file for file in asked.rules]
    backends = {t.backend for t in targets}
    backend = backends.pop() if len(backends) == 1 else None  # one graph for all targets: only what all of them take
    return steps.take(
        "rewrite",
        RewrittenOnnx,
        lambda: Recipe(
            "rewrite",
            code_digest(rewriter.__name__),
            {"model": exported.model.digest},
            {
                "skip": sorted(asked.skip),
                "prove": asked.prove,
                "backend": backend,
                "rules": [file_digest(file) for file in files],
                "profiles": as_json(profiles),
            },
            toolchain(*rewriter.PACKAGES),
        ),
        lambda folder: rewriter.rewrite(
            exported.model,
            folder,
            skip=asked.skip,
            rules=files,
            backend=backend,
            profiles=profiles,
            prove=asked.prove,
        ),
        reporting.said.rewrite,
    )


def hold_buildable(rewritten: RewrittenOnnx) -> None:
    """Everything that TensorRT will not build is told at once, before calibration spends its time."""
    if rewritten.unbuildable:
        raise InvalidOnnxError(
            "TensorRT cannot build it:\n    " + "\n    ".join(rewritten.unbuildable),
            place=str(rewritten.model.path),
            hint="change the modules named, or write a rule that replaces the nodes: docs/rewriting.md",
        )
