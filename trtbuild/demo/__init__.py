"""The demo: a small CNN trained on real digits, and the spec that takes it the whole way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from trtbuild.errors import as_output_error, missing_package
from trtbuild.shipped import shipped_folder

EPOCHS = 30
_FILES = Path(__file__).resolve().parent / "files"


def prepare(folder: Path) -> tuple[Path, bool]:
    """Writes the demo's files into a folder and trains the model where its weights are missing.

    Returns:
        The spec, and whether the model was trained now.

    Raises:
        MissingDependencyError: torch or scikit-learn is not installed.
        OutputError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("model.py", "trtbuild.yaml"):
            if not (folder / name).exists():
                shutil.copyfile(_FILES / name, folder / name)
        weights = folder / "digits.pt"
        trained = not weights.exists()
        if trained:
            _train(folder / "model.py", weights)
    except OSError as error:
        raise as_output_error(error, str(folder)) from error
    return folder / "trtbuild.yaml", trained


def _train(model: Path, weights: Path) -> None:
    """Trains on the first half of the digits; seconds on a CPU.

    On one thread: the layers are so small that more of them wait for each other, on a busy machine for minutes.
    """
    try:
        import torch
    except ImportError as error:
        raise missing_package("torch", "torch", needed_for="training the demo's model") from error
    from trtbuild.sources import load_callable

    images, labels = (torch.from_numpy(a) for a in _digits())
    half = len(images) // 2
    images, labels = images[:half], labels[:half]
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are so small that threads cost more than they bring
    torch.set_flush_denormal(True)
    module: Any = load_callable("model.py:load", model.parent)()
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _ in range(EPOCHS):
        module.train()
        for rows in torch.randperm(half).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(images[rows]), labels[rows], label_smoothing=0.05).backward()
            optimiser.step()
        schedule.step()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    partial = weights.with_suffix(".partial")
    torch.save(module.state_dict(), partial)
    partial.replace(weights)


def _digits() -> Any:
    from trtbuild.sources import load_callable

    try:
        return load_callable("calibration/digits.py:load", shipped_folder("calibration").parent)()
    except ImportError as error:
        raise missing_package("scikit-learn", "demo", needed_for="the demo's digits") from error
