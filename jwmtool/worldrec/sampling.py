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
    table, rows, weights = _corners(maps, view.reshape(-1), xy.detach().reshape(-1, 2) / stride)
    mixed = functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
    return mixed.reshape(*view.shape, maps.shape[1])


def pooled(maps: Tensor, view: Tensor, xy: Tensor, share: Tensor, stride: int = 1) -> Tensor:
    """Sums [M, C] of `sample(maps, view, xy, stride)` [M, N, C], each times its share [M, N], without making those.

    Gradients flow to the maps and the shares.
    """
    M, N = view.shape
    table, rows, weights = _corners(maps, view.reshape(-1), xy.detach().reshape(-1, 2) / stride)
    weights = (weights.reshape(M, N, 4) * share[..., None]).reshape(M, 4 * N)
    return functional.embedding_bag(rows.reshape(M, 4 * N), table, mode="sum", per_sample_weights=weights)


def _corners(maps: Tensor, view: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maps as a table [V * h * w, C], the rows [M, 4] of it about places `cells` [M, 2], and their weights [M, 4]."""
    V, C, height, width = maps.shape
    table = maps.permute(0, 2, 3, 1).reshape(V * height * width, C)
    with torch.no_grad():
        place = cells - 0.5
        x, y = place[:, 0].clamp(0, width - 1), place[:, 1].clamp(0, height - 1)
        left, top = x.long(), y.long()
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
        fx, fy = x - left, y - top
        start = view * (height * width)
        upper, lower = start + top * width, start + bottom * width
        rows = torch.stack([upper + left, upper + right, lower + left, lower + right], 1)
        weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    return table, rows, weights.to(table.dtype)


def nearest(maps: Tensor, view: Tensor, xy: Tensor, stride: int = 1) -> Tensor:
    """The cells [..., C] of maps [V, C, h, w] that places [..., 2] (px of the full size) lie in."""
    height, width = maps.shape[2:]
    column = (xy[..., 0] / stride).long().clamp(0, width - 1)
    row = (xy[..., 1] / stride).long().clamp(0, height - 1)
    return maps.permute(0, 2, 3, 1)[view, row, column]
