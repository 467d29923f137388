"""Where a small transformer starts from: what is best to say of a cell before anything was learned.

Were latents Gaussian, each cell on its own, about the prior where there is one and about zero elsewhere, the best
velocity would have a closed form. The network adds to it what it learns, so that from the first step on a video shows
what the scene shows, and no training is spent on passing noise through.
"""

# B samples, V views, T latent frames, C channels, n numbers of coverage, h x w latent cells.
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jwmtool.worldgen.known import channel_counts

_FIRST_VARIANCE = 0.3  # of latents about their prior, where it covers a cell


class GaussianStart(nn.Module):
    """Velocity of Gaussian latents of mean m and variance s: E[noise - x_0 | x_t] = ((t - s (1 - t)) x_t - t m) / D.

    D = s (1 - t)^2 + t^2; m is coverage times the prior; s is 1 without a prior, and learned for each channel with one.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.fine = channel_counts(channels, stride)["coverage"]
        self.spread = nn.Parameter(torch.empty(channels))
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        nn.init.constant_(self.spread, math.log(_FIRST_VARIANCE / (1.0 - _FIRST_VARIANCE)))

    def set_spread(self, variance: Tensor) -> None:
        """Variance [C] in (0, 1) of latents about their prior, as measured."""
        with torch.no_grad():
            self.spread.copy_(torch.logit(variance))

    def forward(
        self,
        latents: Tensor,  # [B, V, T, C, h, w]
        timesteps: Tensor,  # [B, T]
        concat: Tensor | None,  # [B, V, T, C + n + ..., h, w]: the prior, its coverage, and more
    ) -> Tensor:  # [B, V, T, C, h, w]
        """The velocity."""
        t = timesteps[:, None, :, None, None, None].to(latents.dtype)
        mean, variance = torch.zeros_like(latents), torch.ones_like(latents)
        if concat is not None:
            channels = latents.shape[3]
            covered = concat[:, :, :, channels : channels + self.fine].mean(3, keepdim=True).to(latents.dtype)
            mean = covered * concat[:, :, :, :channels].to(latents.dtype)
            variance = 1.0 - covered * (1.0 - self.spread.sigmoid()[:, None, None])
        spread = variance * (1.0 - t) ** 2 + t**2
        return ((t - variance * (1.0 - t)) * latents - t * mean) / spread
