"""Reading maps of many views at scattered places."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sample(maps: Tensor, view: Tensor, xy: Tensor, stride: int = 1) -> Tensor:
    """Bilinear samples of maps at places in pictures; beyond the border the border counts.

    Gradients flow to the maps, not to the places.

    Args:
        maps: [V, C, h, w], a cell for every stride x stride px.
        view: [...] int64.
        xy: [..., 2] px of the full size, centers of pixels at .5.

    Returns:
        [..., C].
    """
    V, C, height, width = maps.shape
    table = maps.permute(0, 2, 3, 1).reshape(V * height * width, C)
    with torch.no_grad():
        flat = xy.detach().reshape(-1, 2) / stride - 0.5
        x, y = flat[:, 0].clamp(0, width - 1), flat[:, 1].clamp(0, height - 1)
        left, top = x.long(), y.long()
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        fx, fy = x - left, y - top
        start = view.reshape(-1) * (height * width)
        rows = torch.stack(
            [start + top * width + left, start + top * width + right, start + bottom * width + left,
             start + bottom * width + right], 1,
        )  # fmt: skip
        weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    mixed = functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights.to(table.dtype))
    return mixed.reshape(*view.shape, C)


def nearest(maps: Tensor, view: Tensor, xy: Tensor, stride: int = 1) -> Tensor:
    """The cells [..., C] of maps [V, C, h, w] that places [..., 2] (px of the full size) lie in."""
    height, width = maps.shape[2:]
    column = (xy[..., 0] / stride).long().clamp(0, width - 1)
    row = (xy[..., 1] / stride).long().clamp(0, height - 1)
    return maps.permute(0, 2, 3, 1)[view, row, column]
