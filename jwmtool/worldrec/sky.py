"""The sky: a cubemap painted with the pixels that look into it, and spread to where nobody looked."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.features import camera_rays
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.views import Views

_STRIDE = 2  # px: the sky is smooth
_FLOOR = 0.02  # weight of what is no sky: where the scene has holes, its own colors shine through, not the sky's


def paint_sky(views: Views, depth: DepthMaps, size: int) -> Tensor:
    """Cubemap [6, size, size, 3] in the axes of the scene frame (faces as in `gaussians.sky`).

    Every pixel is splatted by its probability of being sky; what is empty takes the mean of coarser and coarser cells.
    """
    return fill(splat_sky(views, depth.sky, size))


def splat_sky(views: Views, logits: Tensor, size: int) -> Tensor:
    """Weighted sums of colors, and weights [6, size, size, 4]; those of several windows may be added. See `fill`.

    Args:
        logits: [V, H, W] of being sky.
    """
    height, width = views.size
    rays = camera_rays(views.Ks, height, width)[:, :, ::_STRIDE, ::_STRIDE]
    directions = torch.einsum("vij,vjhw->vhwi", views.scene_from_cam[:, :3, :3], rays).reshape(-1, 3)
    colors = views.images[:, :, ::_STRIDE, ::_STRIDE].permute(0, 2, 3, 1).reshape(-1, 3)
    sky = torch.sigmoid(2.0 * logits - 2.0)[:, ::_STRIDE, ::_STRIDE].reshape(-1, 1)
    usable = views.usable[:, ::_STRIDE, ::_STRIDE].reshape(-1, 1)
    weight = (sky * sky + _FLOOR) * usable
    values = torch.cat([colors * weight, weight], 1)
    cells, shares = _splat(directions, size)
    total = values.new_zeros(6 * size * size, 4)
    for cell, share in zip(cells, shares, strict=True):
        total = total.index_add(0, cell, values * share[:, None])
    return total.reshape(6, size, size, 4)


def fill(total: Tensor) -> Tensor:
    """Colors [6, R, R, 3] from weighted sums and weights [6, R, R, 4]: where weights are low, of coarser cells."""
    levels = [total.permute(0, 3, 1, 2)]
    while levels[-1].shape[-1] > 1 and levels[-1].shape[-1] % 2 == 0:
        levels.append(4.0 * functional.avg_pool2d(levels[-1], 2))
    everything = levels[-1].sum((0, 2, 3))
    color = (everything[:3] / everything[3].clamp(min=1e-6))[None, :, None, None].expand(6, 3, 1, 1)
    for level in reversed(levels):
        if level.shape[-1] != color.shape[-1]:
            color = functional.interpolate(color, size=level.shape[2:], mode="bilinear", align_corners=False)
        weight = level[:, 3:]
        sure = weight / (weight + 0.05)
        color = sure * level[:, :3] / weight.clamp(min=1e-6) + (1.0 - sure) * color
    return color.permute(0, 2, 3, 1)


def _splat(directions: Tensor, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """Cells and shares of the four texels about each direction; clamped within the face."""
    axis = directions.abs().argmax(dim=1)
    major = directions.gather(1, axis[:, None])[:, 0]
    face = axis * 2 + (major < 0)
    others = torch.tensor([[1, 2], [0, 2], [0, 1]], device=directions.device)[axis]
    uv = directions.gather(1, others) / major.abs()[:, None].clamp(min=1e-12)
    place = ((uv + 1.0) * 0.5 * size - 0.5).clamp(0.0, size - 1.0)
    low = place.long().clamp(max=size - 2)
    part = place - low
    cells, shares = [], []
    for dv in (0, 1):
        for du in (0, 1):
            cells.append((face * size + low[:, 1] + dv) * size + low[:, 0] + du)
            shares.append((part[:, 0] if du else 1 - part[:, 0]) * (part[:, 1] if dv else 1 - part[:, 1]))
    return cells, shares
