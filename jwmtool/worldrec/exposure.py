"""Exposure: how each view's brightness and tint differ from the others', as an affine color map; identity at first."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.imaging.residual import zero

_MOST = 0.3  # of gains and offsets


class ExposureHead(nn.Module):
    """From a view's features, beside the mean of all views', to gains and offsets."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features + 6, 32)
        self.out = nn.Linear(32, 6)
        zero(self.out)

    def forward(self, images: Tensor, features: Tensor) -> Tensor:
        """[V, 3, 4] from images [V, 3, H, W] and features [V, F, h, w]."""
        told = torch.cat([features.mean((2, 3)), images.mean((2, 3)), images.std((2, 3))], 1)
        change = self.out(functional.relu(self.inner(told)))
        change = _MOST * torch.tanh(change - change.mean(0))
        return torch.cat([torch.diag_embed(1.0 + change[:, :3]), change[:, 3:, None]], 2)
