"""Coarse depth: a plane sweep at stride 4, refined at stride 2, brought to full size along the picture's edges.

Where matching cannot work (standstill, the epipole, bare walls, movers) the image features take over: they enter the
same head that reads the matching scores, so that how far to believe which is learned.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.imaging.residual import Block, zero
from jwmtool.worldrec.config import WorldRecConfig
from jwmtool.worldrec.features import texture
from jwmtool.worldrec.neighbors import neighbors
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sweep import matching_scores
from jwmtool.worldrec.views import Views

FINE = (-1.5, -1.07, -0.64, -0.21, 0.21, 0.64, 1.07, 1.5)  # steps of the coarse planes about the coarse depth
_TRUST = 14.0  # what a perfect correlation adds to a plane's logit before any training
_LIDAR = 40.0


class CoarseDepth(nn.Module):
    """Depth of every pixel of every view; works untrained (by texture alone), and learns the rest."""

    def __init__(self, config: WorldRecConfig) -> None:
        super().__init__()
        half, quarter = config.widths[:2]
        inner = quarter + quarter // 3
        self.config = config
        self.match_quarter = nn.Conv2d(quarter, config.match_channels, 1)
        self.match_half = nn.Conv2d(half, config.match_channels, 1)
        scores = config.match_groups + 2
        self.mix = nn.Sequential(nn.Linear(scores + 1, 12), nn.ReLU(), nn.Linear(12, 1))  # of each plane alone
        planes = config.planes
        self.volume_in = nn.Conv2d(3 * planes + quarter + 2, inner, 3, padding=1)
        self.volume = PlaneNet(inner, config.widths[2])
        self.volume_out = nn.Conv2d(inner, planes + 2, 3, padding=1)
        fine, wide = len(FINE) * (scores + 1), half + half // 3
        self.fine = nn.Sequential(nn.Conv2d(fine + half + 6, wide, 3, padding=1), Block(wide), Block(wide))
        self.fine_out = nn.Conv2d(wide, len(FINE) + 3 + 36, 3, padding=1)
        self.quarter_mask = nn.Conv2d(quarter, 36, 3, padding=1)
        for layer in (self.volume_out, self.fine_out, self.quarter_mask):
            zero(layer)

    @property
    def step(self) -> float:
        """Distance of the planes, 1/m."""
        return 1.0 / (self.config.nearest_m * (self.config.planes - 1))

    def forward(self, views: Views, pyramid: list[Tensor]) -> DepthMaps:
        """Coarse depth maps of all views; `pyramid` from the Encoder."""
        index, valid = neighbors(views, self.config.neighbors)
        logits, extra = self._sweep(views, pyramid[1], index, valid)
        coarse = local_mean(logits, self.step)
        mask = self.quarter_mask(pyramid[1])
        half_images = functional.avg_pool2d(views.images, 2)
        quarter_images = functional.avg_pool2d(views.images, 4)
        raised = raise_twice(torch.stack([coarse, *extra.unbind(1)], 1), mask, quarter_images, half_images)
        few = slice(self.config.fine_neighbors)
        inverse, log_error, sky, mask = self._refine(views, pyramid[0], index[:, few], valid[:, few], raised)
        full = raise_twice(torch.stack([inverse, log_error, sky], 1), mask, half_images, views.images)
        return DepthMaps(full[:, 0].clamp(min=0.0), full[:, 1], full[:, 2], logits)

    def matching(self, views: Views, features: Tensor) -> Tensor:
        """Matching features [V, match_channels + TEXTURE, H/4, W/4]: learned ones in groups, the fixed descriptor."""
        learned = grouped_unit(self.match_quarter(features), self.config.match_groups)
        return torch.cat([learned, texture(views.images, 4)], 1)

    def _sweep(self, views: Views, features: Tensor, index: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the planes [V, D, H/4, W/4]; the log of the error and the sky's logit [V, 2, H/4, W/4]."""
        config = self.config
        planes = torch.arange(config.planes, device=features.device) * self.step
        inverse = planes[None, :, None, None].expand(len(views), -1, *features.shape[2:])
        matched = self.matching(views, features)
        scores, seen = matching_scores(views, matched, config.match_groups, index, valid, inverse)
        mixed = torch.stack([self._mixed(*one) for one in zip(scores, 0.5 * seen, strict=True)])
        fixed = functional.avg_pool2d(scores[:, -2], 3, stride=1, padding=1, count_include_pad=False)
        lidar, known = lidar_cells(views, 4)
        given = torch.exp(-0.5 * ((planes[None, :, None, None] - lidar[:, None]) / self.step) ** 2) * known[:, None]
        volume = torch.cat([mixed, fixed, 0.5 * seen, features, 10.0 * lidar[:, None], known[:, None]], 1)
        out = self.volume_out(self.volume(self.volume_in(volume.contiguous(memory_format=torch.channels_last))))
        # Without matches all planes would be alike: the middle of the road ahead is a better guess than the mean plane.
        logits = out[:, : config.planes] + _TRUST * fixed + _LIDAR * given
        return logits, out[:, config.planes :]

    def _mixed(self, scores: Tensor, seen: Tensor) -> Tensor:
        """What `mix` makes of each plane [D, h, w] of a view's scores [S, D, h, w] and neighbors [D, h, w]."""
        first, last = cast(nn.Linear, self.mix[0]), cast(nn.Linear, self.mix[2])
        told = torch.cat([scores, seen[None]]).flatten(1)
        hidden = torch.addmm(first.bias[:, None], first.weight, told).relu_()
        return torch.addmm(last.bias[:, None], last.weight, hidden).reshape(seen.shape)

    def _refine(
        self, views: Views, features: Tensor, index: Tensor, valid: Tensor, raised: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inverse depth, log error, sky logit [V, H/2, W/2] and the mask for the last step up."""
        lidar, known = lidar_cells(views, 2)
        center = torch.where(known > 0, lidar, raised[:, 0].clamp(min=0.0))
        offsets = torch.tensor(FINE, device=features.device) * self.step
        inverse = (center.detach()[:, None] + offsets[None, :, None, None]).clamp(min=0.0)
        groups = self.config.match_groups
        matched = torch.cat([grouped_unit(self.match_half(features), groups), texture(views.images, 2)], 1)
        scores, seen = matching_scores(views, matched, groups, index, valid, inverse, cells_first=True)
        volume = torch.cat([scores, 0.5 * seen[:, None]], 1).flatten(1, 2)
        hints = torch.stack(
            [10.0 * center, raised[:, 1], raised[:, 2], 10.0 * lidar, known, (seen.sum(1) > 0).float()], 1
        )
        x = self.fine(torch.cat([volume, features, hints], 1).contiguous(memory_format=torch.channels_last))
        out = self.fine_out(x)
        count = len(FINE)
        fixed = functional.avg_pool2d(scores[:, -2], 3, stride=1, padding=1, count_include_pad=False)
        # The nearer the middle, the likelier, unless matching says otherwise.
        logits = out[:, :count] + _TRUST * fixed - 0.5 * torch.tensor(FINE, device=x.device)[None, :, None, None] ** 2
        share = logits.softmax(1)
        moved = center + (share * (inverse - center.detach()[:, None])).sum(1)
        moved = moved + 0.5 * self.step * torch.tanh(out[:, count])
        moved = torch.where(known > 0, center + 0.1 * (moved - center), moved)
        return moved, raised[:, 1] + out[:, count + 1], raised[:, 2] + out[:, count + 2], out[:, count + 3 :]


class PlaneNet(nn.Module):
    """A small U-Net over the cells of stride 4: two levels down, two up."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.top = Block(width)
        self.down = nn.ModuleList([nn.Conv2d(width, wide, 3, 2, 1), nn.Conv2d(wide, wide, 3, 2, 1)])
        self.inner = nn.ModuleList([Block(wide), nn.Sequential(Block(wide), Block(wide))])
        self.up = nn.ModuleList([nn.Conv2d(wide, width, 1), nn.Conv2d(wide, wide, 1)])
        self.out = nn.Sequential(Block(width), Block(width))

    def forward(self, x: Tensor) -> Tensor:
        """[V, C, h, w] in and out."""
        x = self.top(x)
        middle = self.inner[0](self.down[0](x))
        low = self.inner[1](self.down[1](middle))
        middle = middle + functional.interpolate(self.up[1](low), size=middle.shape[2:], mode="nearest")
        x = x + functional.interpolate(self.up[0](middle), size=x.shape[2:], mode="nearest")
        result: Tensor = self.out(x)
        return result


def grouped_unit(features: Tensor, groups: int) -> Tensor:
    """Features [V, C, h, w] with each of `groups` groups of channels at unit length."""
    V, C, height, width = features.shape
    parts = features.reshape(V, groups, C // groups, height, width)
    return functional.normalize(parts, dim=2, eps=1e-4).reshape(V, C, height, width)


def local_mean(logits: Tensor, step: float) -> Tensor:
    """Inverse depth [V, h, w] of the planes about the best: their mean by logits [V, D, h, w]."""
    planes = torch.arange(logits.shape[1], device=logits.device)
    best = logits.detach().argmax(1, keepdim=True)
    near = (planes[None, :, None, None] - best).abs() <= 2
    share = logits.masked_fill(~near, -math.inf).softmax(1)
    return (share * planes[None, :, None, None]).sum(1) * step


def raise_twice(values: Tensor, mask: Tensor, images: Tensor, target: Tensor) -> Tensor:
    """Twice the size: each fine pixel is a convex mean of the 3 x 3 cells about it, first of all of those as bright.

    Args:
        values: [V, C, h, w]; mask: [V, 36, h, w] learned logits (RAFT's convex upsampling, Teed and Deng 2020).
        images: [V, 3, h, w]; target: [V, 3, 2h, 2w] the picture at both sizes.

    Returns:
        [V, C, 2h, 2w].
    """
    return torch.stack([_raise_one(*one) for one in zip(values, mask, images, target, strict=True)])


def _raise_one(values: Tensor, mask: Tensor, images: Tensor, target: Tensor) -> Tensor:
    """Of one view: all of them would not fit a processor's cache."""
    C, height, width = values.shape
    around = _around(values).reshape(C, 9, 1, height, width)
    gray = _around(images.mean(0, keepdim=True)).reshape(9, 1, height, width)
    fine = target.mean(0).reshape(height, 2, width, 2).permute(1, 3, 0, 2).reshape(1, 4, height, width)
    unlike = (gray - fine).abs()  # [9, 4, h, w]
    logits = mask.reshape(9, 4, height, width) - 36.0 * unlike - _distance(values.device)[:, :, None, None]
    raised = (around * logits.softmax(0)).sum(1)  # [C, 4, h, w]
    return raised.reshape(C, 2, 2, height, width).permute(0, 3, 1, 4, 2).reshape(C, 2 * height, 2 * width)


def _around(x: Tensor) -> Tensor:
    """[C * 9, h, w]: the 3 x 3 cells about each of [C, h, w]."""
    C, height, width = x.shape
    padded = functional.pad(x[None], (1, 1, 1, 1), mode="replicate")
    return functional.unfold(padded, 3).reshape(C * 9, height, width)


def _distance(device: torch.device) -> Tensor:
    """[9, 4] squared distance of the cells about a cell from its four fine pixels, cells."""
    cells = torch.tensor([(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)], device=device)
    fine = torch.tensor([(x, y) for y in (-0.25, 0.25) for x in (-0.25, 0.25)], device=device)
    return (cells[:, None] - fine[None]).square().sum(-1)


def lidar_cells(views: Views, stride: int) -> tuple[Tensor, Tensor]:
    """The nearest lidar point of each cell: inverse depth [V, H / stride, W / stride], 0 where none; and 0 or 1."""
    inverse = torch.where(views.lidar_m > 0, 1.0 / views.lidar_m.clamp(min=0.1), torch.zeros_like(views.lidar_m))
    nearest = functional.max_pool2d(inverse[:, None], stride)[:, 0]
    return nearest, (nearest > 0).float()
