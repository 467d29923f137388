"""Where a small transformer starts from: what is best to say of a cell before anything was learned.

Were latents Gaussian, each channel of each cell on its own, about the prior where there is one and about zero, or
about what frames mostly look like (`patterns`), elsewhere, the best velocity would have a closed form. The network adds
to it what it learns, so that from the first step on a video shows what the scene shows, or the tags tell, and no
training is spent on passing noise through.
"""

# B samples, V views, T latent frames, C channels, n numbers of coverage, h x w latent cells.
from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.worldgen.known import channel_counts
from jwmtool.worldgen.patterns import FramePatterns

COVERED, FILLED = (1.0, 0.3), (0.6, 0.7)  # gain and variance, until they are measured


class GaussianStart(nn.Module):
    """Velocity of Gaussian latents of mean m and variance s: E[noise - x_0 | x_t] = ((t - s (1 - t)) x_t - t m) / D.

    D = s (1 - t)^2 + t^2. m is the prior times a gain; gain and s are those of cells that a scene covers, mixed by
    coverage with those of cells that were only filled. Without a prior m is 0 and s is 1, or m is what the patterns
    make of x_t, the tags and the cells that are known, and s their rest.

    Attributes:
        gain, spread: [2, C] covered and filled; spread as logits of s.
        patterns: None where there are to be none.
    """

    def __init__(self, channels: int, stride: int, patterns: int = 0) -> None:
        super().__init__()
        self.patterns = FramePatterns(channels, patterns) if patterns else None
        self.fine = channel_counts(channels, stride)["coverage"]
        self.gain = nn.Parameter(torch.empty(2, channels))
        self.spread = nn.Parameter(torch.empty(2, channels))
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        rows = torch.tensor([COVERED, FILLED], device=self.gain.device)[:, :, None].expand(-1, -1, self.gain.shape[1])
        self.measured(rows[:, 0], rows[:, 1])
        if self.patterns is not None:
            self.patterns.first_weights()

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
        tags: Tensor | None = None,  # [B, L]
    ) -> Tensor:  # [B, V, T, C, h, w]
        """The velocity."""
        t = timesteps[:, None, :, None, None, None].to(latents.dtype)
        mean, variance = torch.zeros_like(latents), torch.ones_like(latents)
        known = torch.zeros_like(latents[:, :, :, :1], dtype=torch.bool)
        if concat is not None:
            channels = latents.shape[3]
            prior = concat[:, :, :, :channels].to(latents.dtype)
            covered = concat[:, :, :, channels : channels + self.fine].mean(3, keepdim=True).to(latents.dtype)
            known = (prior != 0).any(3, keepdim=True)
            gain, spread = self.gain[:, :, None, None], self.spread.sigmoid()[:, :, None, None]
            mean = (covered * gain[0] + (1.0 - covered) * gain[1]) * prior
            variance = torch.where(known, covered * spread[0] + (1.0 - covered) * spread[1], 1.0)
        if self.patterns is not None:
            rest = self.patterns.rest[:, None, None].to(latents.dtype)
            # Of known cells the prior is seen, of others x_t.
            share = torch.where(known, 1.0, 1.0 - t)
            noise = rest * share**2 + torch.where(known, variance, t**2)
            guess = self.patterns.mean(torch.where(known, mean, latents), share, noise, tags).to(latents.dtype)
            mean, variance = torch.where(known, mean, guess), torch.where(known, variance, rest)
        scale = variance * (1.0 - t) ** 2 + t**2
        return ((t - variance * (1.0 - t)) * latents - t * mean) / scale
