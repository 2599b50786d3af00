"""Loads the PyTorch module a spec names, and gives it the shape exporters want: tensors in, tensors out, inference."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.errors import ExportError, missing_package
from trtbuild.registry import nearest_hint
from trtbuild.sources import load_callable, user_code

if TYPE_CHECKING:
    import torch


def import_torch() -> Any:
    """The torch package, or the error that names the extra which brings it."""
    try:
        import torch
    except ImportError as error:
        raise missing_package("torch", "torch", needed_for="exporting a PyTorch model") from error
    return torch


def is_huggingface_folder(source: str, folder: Path) -> bool:
    """Whether a source is a folder with a ``config.json``."""
    return (folder / source / "config.json").is_file()


def load_module(source: str, folder: Path, weights: str | None) -> torch.nn.Module:
    """The module a source names.

    Args:
        source: ``package.module:callable``, ``file.py:callable``, or a Hugging Face folder.
        folder: Where relative paths start.
        weights: A state_dict file to load into it, with ``weights_only=True``.

    Raises:
        ExportError: The callable raises, returns something else, or the weights do not fit.
    """
    torch = import_torch()
    torch.manual_seed(0)  # a callable that draws its weights draws the same ones each time
    if is_huggingface_folder(source, folder):
        module = _from_huggingface(folder / source)
    else:
        function = load_callable(source, folder)
        with user_code(source, ExportError):
            module = function()
        if not isinstance(module, torch.nn.Module):
            raise ExportError(
                f"it returned {type(module).__name__}, not an nn.Module", place=source, hint="return the module itself"
            )
    if weights is not None:
        _load_weights(module, folder / weights)
    return module


def _load_weights(module: torch.nn.Module, path: Path) -> None:
    torch = import_torch()
    if not path.is_file():
        raise ExportError(
            "there is no such weights file", place=str(path), hint="model.weights is relative to the spec"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state)
    except Exception as error:
        first = str(error).strip().split("\n", 1)[0]
        raise ExportError(
            f"the weights do not load: {first}",
            place=str(path),
            hint="save a plain state_dict of this very module: torch.save(module.state_dict(), path)",
        ) from error


def _from_huggingface(folder: Path) -> torch.nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise missing_package("transformers", "torch", needed_for="loading a Hugging Face folder") from error
    torch = import_torch()
    architectures = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    kind = next((getattr(transformers, a) for a in architectures if hasattr(transformers, a)), transformers.AutoModel)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with user_code(str(folder), ExportError):
        model = kind.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    return model


@contextlib.contextmanager
def inference_mode(module: torch.nn.Module) -> Iterator[None]:
    """Puts every submodule in eval() and restores each one's own flag after.

    A TorchScript export of a wrapper left in training mode leaves its children in train(), whatever they were.
    """
    flags = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in flags:
            child.training = training


def adapt(module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str] | None) -> torch.nn.Module:
    """A module that takes the inputs by position, in the spec's order, and returns a tuple of tensors.

    Inputs whose names are all parameters of ``forward`` are passed by name, else by position. Of a dict-like output,
    ``outputs`` chooses the entries that are among its keys.
    """
    torch = import_torch()
    parameters = inspect.signature(module.forward).parameters
    by_name = all(name in parameters for name in inputs)

    class Adapter(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *tensors: Any) -> Any:
            named = dict(zip(inputs, tensors, strict=True))
            result = self.model(**named) if by_name else self.model(*tensors)
            return tuple(flatten(result, outputs).values())

    return Adapter()


def flatten(result: Any, outputs: Sequence[str] | None) -> dict[str, Any]:
    """The tensors of a module's result by name, in order.

    Args:
        result: A tensor, a (nested) tuple or list, or a dict-like output.
        outputs: Names from the spec; they choose entries of a dict, or name positions.
    """
    torch = import_torch()
    found: dict[str, Any] = {}

    def visit(value: Any, name: str) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                visit(inner, str(key) if not name else f"{name}_{key}")
        elif isinstance(value, (tuple, list)):
            for number, inner in enumerate(value):
                visit(inner, f"{name or 'output'}_{number}")

    visit(result, "output" if isinstance(result, torch.Tensor) else "")
    if outputs is None:
        return found
    if isinstance(result, Mapping) and all(name in found for name in outputs):
        return {name: found[name] for name in outputs}
    if len(outputs) == len(found):
        return dict(zip(outputs, found.values(), strict=True))
    missing = next((n for n in outputs if n not in found), outputs[0])
    raise ExportError(
        f"the model returns {len(found)} tensors ({', '.join(found)}), the spec names {len(outputs)}",
        place="model.outputs",
        hint=nearest_hint(missing, found),
    )
