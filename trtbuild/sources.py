"""The user's own code: finding ``file.py:function`` and ``package.module:function``, and calling it.

What the user's code raises becomes an error that names their file and line, never a traceback of ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from trtbuild.content import file_digest, json_digest, tree_digest
from trtbuild.errors import TrtbuildError, UsageError
from trtbuild.registry import nearest_hint
from trtbuild.shipped import shipped_folder


def source_file(reference: str, folder: Path) -> Path | None:
    """The Python file of a ``file.py:function`` reference; None for one that names a module.

    Args:
        reference: What the spec says.
        folder: Where relative paths start. ``calibration/...`` falls back to the readers that ship.
    """
    place, _, _ = reference.rpartition(":")
    if not place.endswith(".py"):
        return None
    shipped = [shipped_folder("calibration").parent] if place.startswith("calibration/") else []
    for base in (folder, *shipped):
        if (base / place).is_file():
            return (base / place).resolve()
    hint = nearest_hint(place, (f"calibration/{f.name}" for f in shipped_folder("calibration").glob("*.py")))
    raise UsageError(
        f"there is no file {place!r}",
        place=reference,
        hint=hint if shipped and hint.startswith("did you mean") else f"paths are relative to {folder}",
    )


def code_digest_of(reference: str, folder: Path) -> str:
    """SHA-256 over the Python file that holds a function and the ones beside it, which it may import.

    What it imports from elsewhere is not covered.
    """
    file = inspect.getsourcefile(load_callable(reference, folder))
    if file is None:
        return reference
    place = Path(file)
    return json_digest([reference, tree_digest(place.parent, places=sorted(place.parent.glob("*.py")))])


def load_callable(reference: str, folder: Path) -> Callable[..., Any]:
    """Imports the function a reference names.

    Raises:
        UsageError: Not a reference, no such file, module or function, or its import raises.
    """
    found = load_object(reference, folder)
    if not callable(found):
        place, _, name = reference.rpartition(":")
        raise UsageError(
            f"{place} has no function {name!r}, but a value of type {type(found).__name__}",
            place=reference,
            hint="name a function",
        )
    return found  # type: ignore[no-any-return]


def load_object(reference: str, folder: Path) -> Any:
    """Imports the function or object a reference names.

    Raises:
        UsageError: Not a reference, no such file, module or name, or its import raises.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageError(
            f"{reference!r} does not name a function",
            place=reference,
            hint="write file.py:function or package.module:function",
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    file = source_file(reference, folder)
    with user_code(reference):
        module = _import_file(file) if file else _import_module(place, reference)
        found = getattr(module, name, None)  # a module's own __getattr__ may raise
    if found is None:
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"{place} has no function {name!r}", place=reference, hint=nearest_hint(name, functions))
    return found


def load_file(path: Path) -> ModuleType:
    """Imports a Python file of the user's.

    Raises:
        UsageError: There is no such file, or its import raises.
    """
    if not path.is_file():
        raise UsageError("there is no such file", place=str(path), hint="check the path")
    with user_code(str(path)):
        return _import_file(path.resolve())


def _import_module(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"there is no module {error.name!r}", place=reference, hint="install it, or write file.py:function"
            ) from error
        raise


def _import_file(file: Path) -> ModuleType:
    name = f"_trtbuild_user_{file.stem}_{file_digest(file)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError("not a Python file", place=str(file), hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def user_code(reference: str, kind: type[TrtbuildError] = UsageError) -> Iterator[None]:
    """Runs the user's code; what it raises becomes a ``kind`` that names the user's file and line."""
    try:
        yield
    except TrtbuildError:
        raise
    except (Exception, SystemExit) as error:  # a sys.exit() of theirs must not end ours, least of all with 0
        raise kind(
            f"{type(error).__name__}: {error}" + _where(error),
            place=reference,
            hint="this is the model's or the reader's own code; -vv shows the traceback",
        ) from error


def _where(error: BaseException) -> str:
    ours = str(Path(__file__).resolve().parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        outside = not frame.filename.startswith((ours, "<")) and "site-packages" not in frame.filename
        if outside and "importlib" not in frame.filename:
            return f" (raised at {frame.filename}:{frame.lineno})"
    return ""
