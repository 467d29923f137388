"""What convolutional networks of pictures are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions beside a skip; nothing but the skip at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] in and out."""
        return x + self.second(functional.relu(self.first(functional.relu(x))))


def zero(layer: nn.Module) -> None:
    """Make a layer's output zero, so that a network starts as what stands beside its layers."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
