"""A PyTorch module as a function of arrays, to compare other forms of the model with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TensorSpec
from trtbuild.errors import ExportError
from trtbuild.exporters.fingerprint import of_module
from trtbuild.exporters.modules import adapt, import_torch, inference_mode, load_module
from trtbuild.sources import user_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]


def module_function(
    source: str, folder: Path, *, inputs: Sequence[TensorSpec], outputs: Sequence[str], weights: str | None = None
) -> tuple[Callable[[Arrays], dict[str, NDArray[Any]]], str]:
    """Loads a module and makes a function of it.

    Args:
        source: ``package.module:callable``, ``file.py:callable``, or a Hugging Face folder.
        folder: Where relative paths start.
        inputs: Its inputs, in the order of ``forward``.
        outputs: Names for its outputs, in order.
        weights: A state_dict file to load into it.

    Returns:
        A function from input name to array to output name to array, in evaluation mode; and what stands for the module.

    Raises:
        ExportError: The module does not load, raises, or has another number of outputs.
    """
    torch = import_torch()
    module = load_module(source, folder, weights)
    adapter = adapt(module, [t.name for t in inputs], outputs)

    def call(feed: Arrays) -> dict[str, NDArray[Any]]:
        with inference_mode(adapter), torch.no_grad(), user_code(source, ExportError):
            results = adapter(*(torch.from_numpy(feed[t.name].copy()) for t in inputs))
        if len(results) != len(outputs):
            raise ExportError(
                f"it has {len(results)} outputs, the other side {len(outputs)}",
                place=source,
                hint="compare a model with what was made from it",
            )
        return {name: result.detach().cpu().numpy() for name, result in zip(outputs, results, strict=True)}

    return call, of_module(module)
