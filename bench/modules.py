"""Modules in plain torch for the rewrite bench: a small conditioned U-Net, and a sentence encoder."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Two convolutions under GroupNorm and SiLU, with the time embedding added between them."""

    def __init__(self, before: int, after: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, before), nn.GroupNorm(8, after)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.time = nn.Linear(time, after)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Adds what the block learned to its input."""
        hidden = self.conv1(functional.silu(self.norm1(x)))
        hidden = hidden + self.time(functional.silu(time))[:, :, None, None]
        return self.skip(x) + self.conv2(functional.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """Attention of many heads; keys and values from the context where one is given."""

    def __init__(self, width: int, context: int, head: int = 32) -> None:
        super().__init__()
        self.head = head
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(context, width, bias=False)
        self.value = nn.Linear(context, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Mixes the tokens of ``x`` with those of the context."""
        query, key, value = (
            layer(given).unflatten(-1, (-1, self.head)).transpose(1, 2)
            for layer, given in ((self.query, x), (self.key, context), (self.value, context))
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block over the pixels: self attention, cross attention, a gated feed-forward (GEGLU)."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width, eps=1e-6)
        self.into, self.back = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.own, self.cross = Attention(width, width), Attention(width, context)
        self.gate, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Adds what the block learned to its input."""
        height, width = x.shape[2:]
        tokens = self.into(self.norm(x)).flatten(2).transpose(1, 2)
        normed = self.norm1(tokens)
        tokens = tokens + self.own(normed, normed)
        tokens = tokens + self.cross(self.norm2(tokens), context)
        value, gate = self.gate(self.norm3(tokens)).chunk(2, dim=-1)
        tokens = tokens + self.down(value * functional.gelu(gate))
        return x + self.back(tokens.transpose(1, 2).unflatten(2, (height, width)))


class UNet(nn.Module):
    """Latents, a time step and a context in; the noise out. Two resolutions."""

    def __init__(self, channels: int = 4, width: int = 64, context: int = 96) -> None:
        super().__init__()
        wide, time = 2 * width, 4 * width
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down1, self.attend1 = Residual(width, width, time), Block(width, context)
        self.shrink = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.down2, self.attend2 = Residual(wide, wide, time), Block(wide, context)
        self.middle = Residual(wide, wide, time)
        self.up2, self.grow = Residual(2 * wide, wide, time), nn.Conv2d(wide, width, 3, padding=1)
        self.up1, self.attend3 = Residual(2 * width, width, time), Block(width, context)
        self.norm, self.last = nn.GroupNorm(8, width), nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """The predicted noise, in the shape of ``sample``."""
        half = self.width // 2
        rates = torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=torch.float32))
        angles = timestep[:, None].to(torch.float32) * rates[None]
        time = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        upper = self.attend1(self.down1(self.first(sample), time), context)
        lower = self.attend2(self.down2(self.shrink(upper), time), context)
        hidden = self.middle(lower, time)
        hidden = self.up2(torch.cat([hidden, lower], dim=1), time)
        hidden = self.grow(functional.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = self.attend3(self.up1(torch.cat([hidden, upper], dim=1), time), context)
        out: torch.Tensor = self.last(functional.silu(self.norm(hidden)))
        return out


class SentenceEncoder(nn.Module):
    """Token ids and mask in, one embedding a sentence out."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean of the states of the tokens that are no padding."""
        states: torch.Tensor = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
