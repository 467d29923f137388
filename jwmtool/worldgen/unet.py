"""A U-Net: residual blocks at falling, then at rising resolution, beside what the way down knew."""

# B pictures (samples, and of each its views, one after another), C channels, H, W height and width, cells.
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8  # of channels, which are normed together; widths are multiples of it
HEAD = 32  # channels of an attention's head
_SHARPEST = 4.0  # of an attention's logits at first, which are cosines times this


class UNet(nn.Module):
    """Cells in, cells out.

    Args:
        in_channels, out_channels: of cells.
        widths: channels at strides 1, 2, 4, ... cells; multiples of 8, and of 32 where cells look.
        blocks: residual blocks at each, on the way down and on the way up.
        told: length of what all blocks are told of a picture; 0: nothing.
        looks: strides, by their place in `widths`, at which cells look at all cells of a sample's views.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        told: int = 0,
        looks: Sequence[int] = (),
    ) -> None:
        super().__init__()

        def stage(place: int) -> nn.ModuleList:
            layers: list[nn.Module] = []
            for _ in range(blocks[place]):
                layers.append(Block(widths[place], told))
                if place in looks:
                    layers.append(Look(widths[place]))
            return nn.ModuleList(layers)

        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stage(place) for place in range(len(widths)))
        self.coarser = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in pairwise(widths))
        self.finer = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(stage(place) for place in range(len(widths) - 1))
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def cells(self, x: Tensor, told: Tensor | None = None, views: int = 1) -> Tensor:  # [B, out_channels, H, W]
        """Zero at first.

        Args:
            x: [B, in_channels, H, W].
            told: [B, told].
            views: of each sample, which look at each other.
        """

        def run(stage: nn.Module, x: Tensor) -> Tensor:
            for layer in stage.children():
                x = layer(x, views) if isinstance(layer, Look) else layer(x, told)
            return x

        x, finer = self.stem(x), []
        for stage, coarser in zip(self.down, self.coarser, strict=False):
            x = run(stage, x)
            finer.append(x)
            # Of an odd number of cells the last one counts twice.
            x = coarser(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate"))
        x = run(self.down[-1], x)
        for before, lift, stage in zip(reversed(finer), reversed(self.finer), reversed(self.up), strict=True):
            larger = F.interpolate(lift(x), scale_factor=2.0, mode="nearest")
            x = run(stage, before + larger[:, :, : before.shape[2], : before.shape[3]])
        made: Tensor = self.head(x)
        return made


class Block(nn.Module):
    """Residual, nothing at first; what it is told scales and shifts its channels."""

    def __init__(self, width: int, told: int = 0) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)
        self.tell = nn.Linear(told, 2 * width) if told else None
        for layer in (self.outer, self.tell):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """x: [B, width, H, W]; told: [B, told]."""
        normed = self.norm(x)
        if self.tell is not None:
            scale, shift = self.tell(told)[:, :, None, None].chunk(2, dim=1)
            normed = normed * (1.0 + scale) + shift
        return x + self.outer(F.silu(self.inner(normed)))


class Look(nn.Module):
    """All cells of all views of a sample look at each other; residual, nothing at first.

    `alone`: each view looks at itself only.
    """

    alone = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.norm = nn.GroupNorm(GROUPS, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.sharpness = nn.Parameter(torch.full((self.heads, 1, 1), math.log(_SHARPEST)))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, views: int = 1) -> Tensor:
        """x: [samples * views, width, H, W]."""
        B, C, H, W = x.shape
        together = 1 if self.alone else views
        # [samples, heads, views * cells, HEAD] each
        parts = self.qkv(self.norm(x)).view(B // together, together, 3, self.heads, HEAD, H * W)
        q, k, v = parts.permute(2, 0, 3, 1, 5, 4).flatten(3, 4).unbind(0)
        q = F.normalize(q, dim=-1) * self.sharpness.exp()
        seen = F.scaled_dot_product_attention(q, F.normalize(k, dim=-1), v, scale=1.0)
        seen = seen.unflatten(2, (together, H * W)).permute(0, 2, 1, 4, 3).reshape(B, C, H, W)
        added: Tensor = x + self.out(seen)
        return added
