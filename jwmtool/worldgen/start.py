"""Where a small transformer starts from: what is best to say of a cell before anything was learned.

Were latents Gaussian, each channel of each cell on its own, about the prior where there is one and about zero
elsewhere, the best velocity would have a closed form. The network adds to it what it learns, so that from the first
step on a video shows what the scene shows, and no training is spent on passing noise through.
"""

# B samples, V views, T latent frames, C channels, n numbers of coverage, h x w latent cells.
from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.worldgen.known import channel_counts

COVERED, FILLED = (1.0, 0.3), (0.6, 0.7)  # gain and variance, until they are measured


class GaussianStart(nn.Module):
    """Velocity of Gaussian latents of mean m and variance s: E[noise - x_0 | x_t] = ((t - s (1 - t)) x_t - t m) / D.

    D = s (1 - t)^2 + t^2. m is the prior times a gain; gain and s are those of cells that a scene covers, mixed by
    coverage with those of cells that were only filled. Without a prior m is 0 and s is 1.

    Attributes:
        gain, spread: [2, C] covered and filled; spread as logits of s.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.fine = channel_counts(channels, stride)["coverage"]
        self.gain = nn.Parameter(torch.empty(2, channels))
        self.spread = nn.Parameter(torch.empty(2, channels))
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        rows = torch.tensor([COVERED, FILLED], device=self.gain.device)[:, :, None].expand(-1, -1, self.gain.shape[1])
        self.measured(rows[:, 0], rows[:, 1])

    def measured(self, gain: Tensor, variance: Tensor) -> None:
        """Take gain and variance [2, C], the latter in (0, 1), of latents about their prior."""
        with torch.no_grad():
            self.gain.copy_(gain)
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
            prior = concat[:, :, :, :channels].to(latents.dtype)
            covered = concat[:, :, :, channels : channels + self.fine].mean(3, keepdim=True).to(latents.dtype)
            known = (prior != 0).any(3, keepdim=True)
            gain, spread = self.gain[:, :, None, None], self.spread.sigmoid()[:, :, None, None]
            mean = (covered * gain[0] + (1.0 - covered) * gain[1]) * prior
            variance = torch.where(known, covered * spread[0] + (1.0 - covered) * spread[1], 1.0)
        scale = variance * (1.0 - t) ** 2 + t**2
        return ((t - variance * (1.0 - t)) * latents - t * mean) / scale
