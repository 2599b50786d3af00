"""What stands for a model in the key of its export: equal fingerprints mean equal exports.

An ONNX file and a Hugging Face folder are their files. A module from a callable is what it holds: its parameters and
buffers, the plain attributes of every submodule, and the source of every class that is not an installed package's
(those are covered by their versions). So a changed weight, constant or line of code is seen, at the price of loading
the module on each run; ``model.depends_on`` names the files that determine it instead, and spares that.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from trtbuild.content import file_digest, json_digest, tree_digest
from trtbuild.errors import SpecError
from trtbuild.exporters.modules import is_huggingface_folder
from trtbuild.sources import source_file

if TYPE_CHECKING:
    import torch

_PLAIN = (int, float, complex, str, bytes, bool, tuple, list, dict, set, frozenset, type(None))
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def of_files(source: str, folder: Path, depends_on: list[str], weights: str | None) -> str | None:
    """The fingerprint of a model that files determine; None for a callable without ``depends_on``.

    Raises:
        SpecError: A file does not exist.
    """
    named = [*depends_on, *([weights] if weights else [])]
    for name in named:
        if not (folder / name).exists():
            place = "model.weights" if name == weights else "model.depends_on"
            raise SpecError(f"there is no {name!r}", place=place, hint=f"paths are relative to {folder}")
    if is_huggingface_folder(source, folder):
        loaded = file_digest(folder / weights) if weights else ""
        return json_digest([tree_digest(folder / source), loaded, _installed()])
    if source.endswith(".onnx"):
        from trtbuild.onnxfile import stored

        return stored(folder / source).digest
    if not depends_on:
        return None
    own = source_file(source, folder)
    places = [folder / name for name in named] + ([own] if own else [])
    return json_digest([source, tree_digest(folder, places=places), _installed()])


def of_module(module: torch.nn.Module) -> str:
    """The fingerprint of a loaded module."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict(keep_vars=False).items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode())
        digest.update(plain.flatten().view(_bytes_dtype()).numpy().tobytes() if plain.numel() else b"")
    for name, child in module.named_modules():
        plain_attributes = {
            k: _ADDRESS.sub("", repr(v))
            for k, v in vars(child).items()
            if isinstance(v, _PLAIN) and k != "training" and not k.startswith("_")
        }
        digest.update(
            f"{name}\0{type(child).__qualname__}\0{child.extra_repr()}\0{sorted(plain_attributes.items())}".encode()
        )
    for file in sorted(_user_sources(module)):
        digest.update(file_digest(Path(file)).encode())
    digest.update(_installed().encode())
    return digest.hexdigest()


def _bytes_dtype() -> object:
    import torch

    return torch.uint8


def _user_sources(module: torch.nn.Module) -> set[str]:
    """Source files of the classes involved that belong to the user, with what those files import beside them."""
    files = set()
    for kind in {type(child) for child in module.modules()}:
        for base in kind.__mro__:
            try:
                file = inspect.getfile(base)
            except (TypeError, OSError):
                continue
            if _is_users(file):
                files.add(file)
    folders = {str(Path(f).parent) for f in files}
    for loaded in list(sys.modules.values()):
        beside = getattr(loaded, "__file__", None)
        if beside and str(Path(beside).parent) in folders and _is_users(beside):
            files.add(beside)
    return files


def _is_users(file: str) -> bool:
    ours = str(Path(__file__).resolve().parent.parent)
    standard = str(Path(inspect.__file__).resolve().parent)
    return file.endswith(".py") and "site-packages" not in file and not file.startswith((ours, standard))


def _installed() -> str:
    """Digest of every installed distribution and its version: code that a module may call into."""
    return json_digest(sorted({f"{d.name}=={d.version}" for d in metadata.distributions()}))
