"""The demo's model: a small CNN for 8 x 8 digits."""

import torch
from torch import nn


class DigitsNet(nn.Module):
    """Three convolutions with batch normalisation, global average pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(64, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits, shape [batch, 10], from images, shape [batch, 1, 8, 8]."""
        return self.classifier(self.features(image).mean(dim=(2, 3)))


def load() -> DigitsNet:
    """The untrained module; the spec's ``weights`` are loaded into it."""
    return DigitsNet()
