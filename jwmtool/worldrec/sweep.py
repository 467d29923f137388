"""Plane sweep: how well each view's cells match its neighbors at each inverse depth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.features import TEXTURE, camera_rays
from jwmtool.worldrec.views import Views

SHORTEST = 0.3  # a descriptor read between cells is brought to unit length unless it is shorter than this


def matching_scores(
    views: Views,
    features: Tensor,  # [V, G * C + TEXTURE, h, w]: G groups to be correlated, then the fixed descriptor
    groups: int,
    index: Tensor,  # [V, N] neighbors
    valid: Tensor,  # [V, N] bool
    inverse: Tensor,  # [V, D, h, w] inverse depths to try, 1/m; no gradient flows to them
    *,
    cells_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Correlate every cell with its neighbors at every inverse depth.

    Args:
        cells_first: on a CPU, let what belongs to a cell lie together in memory, as convolutions want it.

    Returns:
        (scores [V, G + 2, D, h, w], seen [V, D, h, w]): the mean over neighbors of each group's and of the descriptor's
        correlation, and the best neighbor's of the descriptor; the number of neighbors in which a cell falls inside.
    """
    height, width = features.shape[2:]
    if inverse.shape[2:] != (height, width):
        raise ValueError(f"matching_scores: expected inverse depths of {height} x {width} cells, found {inverse.shape}")
    stride = views.size[0] // height
    rays = camera_rays(views.Ks, height, width, stride)
    moved = torch.linalg.inv(views.scene_from_cam)[index] @ views.scene_from_cam[:, None]
    scale = torch.tensor([1.0 / stride, 1.0 / stride, 1.0], device=features.device)
    maps = (scale[:, None] * views.Ks[index]) @ moved[:, :, :3]  # to cells of the other view, times depth
    if features.is_cuda:
        return scores_torch(features, groups, index, valid, maps, rays, inverse.detach())
    from jwmtool.worldrec.sweep_cpu import scores_cpu

    return scores_cpu(features, groups, index, valid, maps, rays, inverse.detach(), cells_first)


def scores_torch(
    features: Tensor,  # [V, C, h, w]
    groups: int,
    index: Tensor,  # [V, N] int64
    valid: Tensor,  # [V, N] bool
    maps: Tensor,  # [V, N, 3, 4] from (ray, inverse depth) of the view to homogeneous cells of the neighbor
    rays: Tensor,  # [V, 3, h, w]
    inverse: Tensor,  # [V, D, h, w]
) -> tuple[Tensor, Tensor]:
    """As `matching_scores`."""
    V, D, height, width = inverse.shape
    total = features.new_zeros(V, groups + 1, D, height, width)
    count = features.new_zeros(V, D, height, width)
    best = torch.full_like(count, -1.0)
    for k in range(index.shape[1]):
        rows = valid[:, k].nonzero()[:, 0]
        if not len(rows):
            continue
        each = [_correlate(features, groups, int(v), int(index[v, k]), maps[v, k], rays[v], inverse[v]) for v in rows]
        scores, inside = torch.stack([s for s, _ in each]), torch.stack([i for _, i in each])
        total = total.index_add(0, rows, scores)
        count = count.index_add(0, rows, inside)
        match = torch.where(inside > 0, scores[:, -1], best.new_tensor(-1.0))
        best = best.index_copy(0, rows, torch.maximum(best[rows], match))
    best = torch.where(count > 0, best, torch.zeros_like(best))
    return torch.cat([total / count.clamp(min=1.0)[:, None], best[:, None]], 1), count


def _correlate(
    features: Tensor, groups: int, view: int, other: int, to_other: Tensor, rays: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor]:
    """Of one view and neighbor: correlations [G + 1, D, h, w], and 1 where a cell falls inside, else 0 [D, h, w]."""
    planes, height, width = inverse.shape
    learned = features.shape[1] - TEXTURE
    turned = torch.einsum("ij,jhw->ihw", to_other[:, :3], rays)
    # In homogeneous terms R ray + t / depth: no plane is too far, infinity included.
    point = turned[:, None] + to_other[:, 3, None, None, None] * inverse
    behind = point[2] <= 1e-4
    xy = point[:2] / point[2].clamp(min=1e-4)
    grid = torch.stack([xy[0] * (2.0 / width), xy[1] * (2.0 / height)], -1) - 1.0
    inside = (grid.abs() < 1.0).all(-1) & ~behind
    grid = grid.masked_fill(~inside[..., None], 5.0)
    sampled = functional.grid_sample(
        features[other][None].contiguous(), grid.reshape(1, planes * height, width, 2), align_corners=False,
        padding_mode="border",
    )[0].reshape(-1, planes, height, width)  # fmt: skip
    # Between cells the mean of two unlike descriptors is shorter than either.
    length = sampled[learned:].square().sum(0).sqrt().clamp(min=SHORTEST)
    sampled = torch.cat([sampled[:learned], sampled[learned:] / length])
    product = sampled * features[view][:, None] * inside
    parts = product[:learned].reshape(groups, learned // groups, planes, height, width).sum(1)
    return torch.cat([parts, product[learned:].sum(0, keepdim=True)]), inside.to(features.dtype)
