"""Parses an ONNX file into a network; runs in the worker process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trtbuild.backends import BACKENDS
from trtbuild.engine.log import Log
from trtbuild.engine.refusals import first_hint, listed, refusal
from trtbuild.errors import InvalidOnnxError, missing_package

if TYPE_CHECKING:
    from trtbuild.worker import Emit


def load_tensorrt(backend: str) -> Any:
    """Imports a backend's package.

    Raises:
        MissingDependencyError: It is not installed.
    """
    known = BACKENDS.load(backend)
    try:
        return importlib.import_module(known.PACKAGE)
    except ImportError as error:
        raise missing_package(known.PACKAGE, known.EXTRA, needed_for=f"the backend {backend}") from error


def parse(trt: Any, logger: Any, network: Any, onnx: str, log: Log) -> Any:
    """Parses a file into a network.

    Returns:
        The parser; it owns what the network points to.

    Raises:
        InvalidOnnxError: TensorRT refuses it. ``result`` holds the parser's errors.
    """
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        said = errors_of(parser) or [{"node": "", "operator": "", "text": text} for text in log.errors()]
        refused = [refusal(s["text"], node=s["node"], operator=s["operator"]) for s in said]
        words = f"TensorRT cannot parse it:\n{listed(refused)}"
        error = InvalidOnnxError(words, place=onnx, hint=first_hint(refused))
        error.result = {"refused": said}
        raise error
    return parser


def errors_of(parser: Any) -> list[dict[str, str]]:
    """What a parser says: ``node`` (its name), ``operator``, ``text``."""
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    return [{"node": str(e.node_name()), "operator": str(e.node_operator()), "text": e.desc()} for e in errors]


def refused(request: Mapping[str, Any], emit: Emit) -> list[dict[str, str]]:  # noqa: ARG001
    """What the parser refuses of a file, in a network that is thrown away.

    Args:
        request: ``backend``; ``onnx``, the file.
        emit: Not used.

    Returns:
        As ``errors_of``; nothing when it parses.
    """
    trt = load_tensorrt(request["backend"])
    logger = Log(trt).logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    return [] if parser.parse_from_file(request["onnx"]) else errors_of(parser)
