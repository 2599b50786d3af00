"""Everything TensorRT says while it builds."""

from __future__ import annotations

import sys
from typing import Any

from trtbuild.engine.failures import classify

_NO_GPU = "cudaError 35"  # what TensorRT-RTX logs without a driver, and then goes on
_SHOWN = 6  # error lines of TensorRT that a user is shown
_NOISE = ("Int64 binding",)  # warnings that no user can act on


class Log:
    """Everything TensorRT says.

    Attributes:
        messages: Severity and text, in order.
    """

    def __init__(self, trt: Any) -> None:
        self._trt = trt
        self.messages: list[tuple[str, str]] = []

    def logger(self) -> Any:
        """A logger that TensorRT takes; what it hears is kept here."""
        trt, messages = self._trt, self.messages

        class Logger(trt.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                word = str(severity).rpartition(".")[2]
                messages.append((word, message))
                if word != "VERBOSE" and _NO_GPU not in message:
                    sys.stderr.write(f"[{word}] {_first_line(message)}\n")  # the last lines, should the process die
                    sys.stderr.flush()

        return Logger()

    def errors(self) -> list[str]:
        """Error messages in order, without those about a missing GPU."""
        return [m for s, m in self.messages if s in ("ERROR", "INTERNAL_ERROR") and _NO_GPU not in m]

    def warnings(self) -> list[str]:
        """Each warning once, without those that no user can act on."""
        said = dict.fromkeys(m for s, m in self.messages if s == "WARNING" and not any(n in m for n in _NOISE))
        return list(said)

    def since(self, number: int, severity: str) -> list[str]:
        """First lines of the messages of a severity from the given one on, without those about a missing GPU."""
        return [_first_line(m) for s, m in self.messages[number:] if s == severity and _NO_GPU not in m]

    def raise_errors(self, doing: str) -> None:
        """Raises what has gone wrong so far; TensorRT's setters only log it.

        Raises:
            BuildError: There is an error line.
        """
        if self.errors():
            kind, lever = classify(self.errors())
            raise kind(f"{doing}: {self.said()}", place="TensorRT", hint=lever)

    def said(self) -> str:
        """TensorRT's own first error lines; the first one is the cause."""
        lines = list(dict.fromkeys(_first_line(m) for m in self.errors()))
        return "\n    ".join(lines[:_SHOWN]) if lines else "TensorRT gave no plan and no reason"

    def text(self) -> str:
        """The messages as a build log: all but VERBOSE, and the list of the engine's layers."""
        return "\n".join(f"[{s}] {m}" for s, m in self.messages if s != "VERBOSE" or m.startswith("Layers:")) + "\n"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]
