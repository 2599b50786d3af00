"""What the user asks for: ``load_spec`` reads it from a file, the environment and the command line, in that order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trtbuild.artifacts import QUANTIZED, Target
from trtbuild.errors import SpecError, UsageError
from trtbuild.spec.build import BuildSpec
from trtbuild.spec.model import AccuracySpec, CalibrationSpec, InputSpec, ModelSpec, Spec
from trtbuild.spec.profiles import check_profiles
from trtbuild.spec.targets import check_capability, check_precision, check_target, resolve_target, shipped_targets
from trtbuild.spec.triton import StepSpec, StepTensorSpec, TritonSpec
from trtbuild.spec.written import as_written

__all__ = [
    "AccuracySpec",
    "BuildSpec",
    "CalibrationSpec",
    "InputSpec",
    "ModelSpec",
    "Spec",
    "StepSpec",
    "StepTensorSpec",
    "TritonSpec",
    "as_written",
    "check_capability",
    "check_precision",
    "check_profiles",
    "check_target",
    "load_spec",
    "resolve_target",
    "shipped_targets",
]

_PREFIX = "TRTBUILD_"
_NOT_SPEC = {"TRTBUILD_CACHE"}  # variables that are not keys of the spec


def load_spec(path: Path | str, *, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Spec:
    r"""Reads a spec. The command line wins over the environment, the environment over the file.

    Args:
        path: The YAML file; its folder is where relative paths start.
        overrides: Words such as ``calibration.method=minmax``; values are YAML.
        environment: Variables such as ``TRTBUILD_CALIBRATION__METHOD=minmax``; the process's own when left out.

    Raises:
        SpecError: With the file, the line, what is wrong, and what to write instead.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "trtbuild.yaml"
        >>> _ = file.write_text("model: {name: m, source: m.onnx}\ntargets: [rtx4090]\n")
        >>> load_spec(file, overrides=["precision=fp32"], environment={}).precision
        'fp32'
    """
    from pydantic import ValidationError

    from trtbuild.spec.yamlfile import as_spec_error, plain, read_yaml

    file = Path(path)
    document = read_yaml(file)
    if not isinstance(document, Mapping):
        raise SpecError("the spec is not a mapping of keys", place=str(file), hint="`trtbuild init MODEL` writes one")
    content: dict[str, Any] = plain(document)
    places: dict[tuple[int | str, ...], str] = {}
    for key, value, place in [
        *_from_environment(os.environ if environment is None else environment),
        *_from_words(overrides),
    ]:
        _set(content, key, value, place)
        places[key] = place
    try:
        spec = Spec.model_validate(content).at(file.resolve().parent)
    except ValidationError as error:
        raise as_spec_error(error, Spec, document, str(file), places) from error
    _check(spec, str(file), document)
    return spec


def _check(spec: Spec, file: str, document: Any) -> None:
    """What only the whole spec can say: axes against profiles, targets against precision."""
    from trtbuild.spec.yamlfile import line_of

    if spec.model.inputs:
        check_profiles(spec.input_tensors(), spec.optimization_profiles(), f"{file}:{line_of(document, ('profiles',))}")
    for number, fields in enumerate(spec.targets):
        target = fields.target()
        _at(file, document, ("targets", number), check_target, target, spec.precision)
        if spec.precision in (*QUANTIZED, "best"):
            _at(file, document, ("rest",), check_precision, target, spec.rest)
        for pattern, precision in spec.precision_overrides.items():
            _at(file, document, ("precision_overrides", pattern), check_precision, target, precision)


def _at(
    file: str, document: Any, key: tuple[str | int, ...], check: Callable[..., None], target: Target, asked: str
) -> None:
    """Runs a check; what it refuses is the fault of one line of the spec."""
    from trtbuild.spec.yamlfile import line_of

    try:
        check(target, asked)
    except SpecError as error:
        place = f"{file}:{line_of(document, key)}"
        raise SpecError(f"{error.place}: {error.message}", place=place, hint=error.hint) from error


def _from_environment(variables: Mapping[str, str]) -> list[tuple[tuple[str, ...], Any, str]]:
    found = []
    for name in sorted(variables):
        if name.startswith(_PREFIX) and name not in _NOT_SPEC:
            place = f"environment variable {name}"
            key = tuple(name.removeprefix(_PREFIX).lower().split("__"))
            found.append((key, _value(variables[name], place), place))
    return found


def _from_words(words: Sequence[str]) -> list[tuple[tuple[str, ...], Any, str]]:
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} sets nothing", place="--set", hint="write key=value, such as precision=fp16")
        place = f"--set {word}"
        found.append((tuple(name.split(".")), _value(value, place), place))
    return found


def _value(text: str, place: str) -> Any:
    from trtbuild.spec.yamlfile import parse_yaml, plain

    return plain(parse_yaml(text, place))


def _set(content: dict[str, Any], key: tuple[str, ...], value: Any, place: str) -> None:
    here = content
    for part in key[:-1]:
        inner = here.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SpecError(f"{part!r} is not a block with keys", place=place, hint="set the whole of it instead")
        here = inner
    here[key[-1]] = value
