"""Image features: a small convolutional pyramid, and a fixed descriptor of local texture for matching."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.imaging.residual import Block
from jwmtool.worldrec.views import Views

INPUTS = 6  # red, green, blue (standardized), the ray's slope sideways and downwards, its climb in the scene frame
PATCH = 4  # the descriptor's edge, samples
TEXTURE = PATCH * PATCH  # its channels


class Encoder(nn.Module):
    """A feature pyramid at strides 2, 4, 8, 16, joined from coarse to fine."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        before = (INPUTS, *widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(before, widths, strict=True))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(count))) for width, count in zip(widths, blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.smooth = nn.ModuleList(Block(width) for width in widths[:-1])

    def forward(self, views: Views) -> list[Tensor]:
        """Features [V, widths[k], H / 2^(k+1), W / 2^(k+1)], fine to coarse."""
        x = inputs(views).contiguous(memory_format=torch.channels_last)
        pyramid = []
        for down, stage in zip(self.down, self.stages, strict=True):
            x = stage(down(x))
            pyramid.append(x)
        for k in range(len(pyramid) - 2, -1, -1):
            coarser = functional.interpolate(self.up[k](pyramid[k + 1]), scale_factor=2.0, mode="nearest")
            pyramid[k] = self.smooth[k](pyramid[k] + coarser)
        return pyramid


def inputs(views: Views) -> Tensor:  # [V, INPUTS, H, W]
    """Pictures with their mean and contrast taken out, and where each pixel looks."""
    images = views.images
    mean, deviation = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
    rays = camera_rays(views.Ks, *views.size)
    # A sum over channels of one pixel: `norm` takes ten times as long.
    climb = torch.einsum("vi,vihw->vhw", views.scene_from_cam[:, 2, :3], rays) * rays.square().sum(1).rsqrt()
    where = torch.cat([rays[:, :2], climb[:, None]], 1)
    return torch.cat([(images - mean) / (deviation + 0.05), where], 1)


def camera_rays(Ks: Tensor, height: int, width: int, stride: int = 1) -> Tensor:
    """Directions [V, 3, H, W] of unit depth in each camera's frame, through the centers of cells of stride x stride px.

    Args:
        Ks: [V, 3, 3].
        height, width: of the grid of cells.
    """
    u = (torch.arange(width, device=Ks.device) + 0.5) * stride
    v = (torch.arange(height, device=Ks.device) + 0.5) * stride
    x = (u - Ks[:, 0, 2, None]) / Ks[:, 0, 0, None]
    y = (v - Ks[:, 1, 2, None]) / Ks[:, 1, 1, None]
    x = x[:, None, :].expand(-1, height, -1)
    y = y[:, :, None].expand(-1, -1, width)
    return torch.stack([x, y, torch.ones_like(x)], 1)


def texture(images: Tensor, stride: int) -> Tensor:
    """Fixed descriptors [V, 16, H / stride, W / stride] of local texture; dot products are correlations in [-1, 1].

    Around each cell, 4 x 4 samples of brightness half a stride apart, with mean and contrast taken out (zero-mean
    normalized correlation). They need no training, and nothing learned may make them worse.

    Args:
        images: [V, 3, H, W].
        stride: px, even.
    """
    gray = images.mean(1, keepdim=True)
    if stride > 2:
        gray = functional.avg_pool2d(gray, stride // 2)
    V, _, height, width = gray.shape
    padded = functional.pad(gray, (1, 1, 1, 1), mode="replicate")
    patches = functional.unfold(padded, PATCH, stride=2).reshape(V, PATCH * PATCH, height // 2, width // 2)
    centered = patches - patches.mean(1, keepdim=True)
    return centered / (centered.square().sum(1, keepdim=True) + 1e-3).sqrt()
