"""What whole frames look like of which nothing is known: a few patterns, whose strengths the tags tell of.

Cells on their own know nothing of each other; but a sky is above, a road below, snow is white everywhere and a night
dark. So latents of unknown cells are a mean and K patterns of whole frames, and rest about it (probabilistic principal
components, Tipping and Bishop 1999). The strengths z are one video's; which are likely, its tags tell.
"""

# B samples, V views, T frames, C channels, h x w latent cells, K patterns, M mixed channels, G groups of tags.
from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from jwmtool.worldgen.tags import NUM_TAGS, TAGS

GRID = (8, 14)  # cells of a pattern, stretched to those of a frame
MIXED = 12  # channels of a pattern, if latents have as many
GROUPS = tuple(group for group, values in enumerate(TAGS.values()) for _ in values)  # of each tag


class FramePatterns(nn.Module):
    """x = mean + sum over k of z_k pattern_k + rest; z_k normal about the sum of the effects of the tags that are told.

    Measured, not trained. Nothing until it is: patterns of 0, and a rest of variance 1.

    Attributes:
        patterns: [1 + K, M, *GRID] the mean and the patterns; mixing: [M, C] from their channels to those of latents.
        effects: [NUM_TAGS, K] of a tag on the strengths; spread: [K] variance about them, with all tags told; untold:
            [G, K] what is to be added for each group of tags of which none is told.
        rest: [C] variance.
    """

    patterns: Tensor
    mixing: Tensor
    effects: Tensor
    spread: Tensor
    untold: Tensor
    rest: Tensor

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        mixed = min(MIXED, channels)
        self.register_buffer("patterns", torch.empty(1 + count, mixed, *GRID))
        self.register_buffer("mixing", torch.empty(mixed, channels))
        self.register_buffer("effects", torch.empty(NUM_TAGS, count))
        self.register_buffer("spread", torch.empty(count))
        self.register_buffer("untold", torch.empty(len(TAGS), count))
        self.register_buffer("rest", torch.empty(channels))
        self.first_weights()

    def first_weights(self) -> None:
        """As new."""
        for name, value in self.named_buffers():
            value.fill_(1.0 if name in ("spread", "rest") else 0.0)

    def measured(self, **tensors: Tensor) -> None:
        """Take the attributes, each of its shape."""
        for name, value in self.named_buffers():
            value.copy_(tensors[name])

    @torch.no_grad()
    def mean(
        self,
        seen: Tensor,  # [B, V, T, C, h, w] each a * latents + noise
        scale: Tensor,  # a: what broadcasts to `seen`
        noise: Tensor,  # variance of what is seen about a * (mean + patterns); likewise
        tags: Tensor | None,  # [B, L] numbers of tags, -1: none
    ) -> Tensor:  # [B, V, 1, C, h, w]
        """Mean of latents without rest, given what is seen: the strengths are the same in all frames of a view."""
        B, V, _, C, h, w = seen.shape
        exact = nullcontext() if seen.is_meta else torch.autocast(seen.device.type, enabled=False)
        with exact:
            maps = torch.einsum("kmhw,mc->kchw", self._stretched(h, w), self.mixing.float()).flatten(1)  # [1 + K, n]
            first, basis = maps[0], maps[1:]
            seen, scale, noise = seen.float(), scale.float(), noise.float()
            off = scale * (seen - scale * first.view(C, h, w)) / noise
            weight = (scale**2 / noise).expand_as(seen)
            off_BVn, weight_BVn = off.sum(2).flatten(2), weight.sum(2).flatten(2)
            likely, spread = self._strengths(tags, B)
            precision = (weight_BVn[:, :, None] * basis) @ basis.T + torch.diag_embed(1.0 / spread)[:, None]
            right = off_BVn @ basis.T + (likely / spread)[:, None]
            strengths = torch.linalg.solve(precision, right)
            return (first + strengths @ basis).view(B, V, 1, C, h, w)

    def _stretched(self, h: int, w: int) -> Tensor:  # [1 + K, M, h, w]
        patterns = self.patterns.float()
        return patterns if (h, w) == GRID else interpolate(patterns, (h, w), mode="bilinear", align_corners=False)

    def _strengths(self, tags: Tensor | None, B: int) -> tuple[Tensor, Tensor]:
        """Mean and variance [B, K] of z before anything is seen."""
        effects, spread, untold = self.effects.float(), self.spread.float(), self.untold.float()
        told = effects.new_zeros(B, NUM_TAGS)
        if tags is not None:
            told = told.scatter_reduce(1, tags.clamp_min(0), (tags >= 0).to(told), "amax")
        groups = torch.arange(len(TAGS), device=told.device)
        member = (torch.tensor(GROUPS, device=told.device)[:, None] == groups).to(told)  # [NUM_TAGS, G]
        known = (told @ member).clamp_max(1.0)
        return told @ effects, spread + (1.0 - known) @ untold
