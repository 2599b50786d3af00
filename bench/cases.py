"""What the corpus's models are made with: seeded weights, feeds, and the sizes they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trtbuild.artifacts import TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

GAIN = 3  # of the variance, over one product of a convolution: an activation and a gate after it take some away
VOCABULARY = 500
IDS = TensorSpec("input_ids", "int64", ("batch", "seq"))
MASK = TensorSpec("attention_mask", "int64", ("batch", "seq"))
ENCODER = {
    "vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 512, "max_position_embeddings": 160,
}  # fmt: skip
"""Sizes of the encoders: heads of 32, sequences of up to 160."""


@dataclass(frozen=True)
class Case:
    """One model, ready to export.

    Attributes:
        module: The module, seeded, in eval mode.
        inputs: Its inputs, dynamic axes by name.
        outputs: Which of its outputs to keep, by name.
        ranges: Smallest and largest value of integer inputs; masks are made half-masked for the feeds.
    """

    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: {"input_ids": (3, VOCABULARY - 1)})

    def feed(self, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs of the sizes asked for; every second row of a mask ends half-way."""
        import numpy as np

        random = np.random.default_rng(seed)
        made: dict[str, np.ndarray[Any, Any]] = {}
        for tensor in self.inputs:
            shape = tuple(d if isinstance(d, int) else sizes[d] for d in tensor.shape)
            if "mask" in tensor.name:
                made[tensor.name] = np.ones(shape, tensor.dtype)
                made[tensor.name][::2, shape[1] // 2 :] = 0
            elif tensor.dtype.startswith("int"):
                low, high = self.ranges[tensor.name]
                made[tensor.name] = random.integers(int(low), int(high) + 1, shape).astype(tensor.dtype)
            else:
                made[tensor.name] = random.standard_normal(shape).astype(tensor.dtype)
        return made


def seeded(module: torch.nn.Module) -> torch.nn.Module:
    """Draws every weight anew: matrices by their fan-in, scales around one, biases and running means not zero."""
    import torch

    source = torch.Generator().manual_seed(0)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    with torch.no_grad():
        for name, tensor in tensors:
            leaf = name.rpartition(".")[2]
            if not tensor.is_floating_point() or leaf in ("inv_freq", "original_inv_freq"):
                continue
            draw = torch.randn(tensor.shape, generator=source)
            if leaf == "running_var":
                tensor.copy_(1 + 0.3 * draw.abs())
            elif leaf == "running_mean" or "bias" in leaf:
                tensor.copy_(0.1 * draw)
            elif tensor.ndim == 4 and isinstance(tensor, torch.nn.Parameter):
                tensor.copy_(draw * math.sqrt(GAIN / math.prod(tensor.shape[1:])))
            elif tensor.ndim >= 2 and isinstance(tensor, torch.nn.Parameter):
                tensor.copy_(draw / math.sqrt(max(math.prod(tensor.shape[1:]), 1)))
            elif tensor.ndim == 1 and (leaf == "weight" or isinstance(tensor, torch.nn.Parameter)):
                tensor.copy_(1 + 0.1 * draw)
    return module.eval()


def hf_model(model: str, config: Any) -> torch.nn.Module:
    """A transformers model from its config, without its cache."""
    import transformers

    if hasattr(config, "use_cache"):
        config.use_cache = False
    return seeded(getattr(transformers, model)(config))


def pixels(size: int, channels: int = 3) -> TensorSpec:
    """An image input."""
    return TensorSpec("pixel_values", "float32", ("batch", channels, size, size))
