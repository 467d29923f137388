"""Plane sweep: how well each view's cells match its neighbors at each inverse depth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.features import camera_rays
from jwmtool.worldrec.views import Views

SHORTEST = 0.3  # a descriptor read between cells is brought to unit length unless it is shorter than this


def matching_scores(
    views: Views,
    features: Tensor,  # [V, G * C + 16, h, w]: G groups to be correlated, then the fixed descriptor
    groups: int,
    index: Tensor,  # [V, N] neighbors
    valid: Tensor,  # [V, N] bool
    inverse: Tensor,  # [V, D, h, w] inverse depths to try, 1/m; no gradient flows to them
) -> tuple[Tensor, Tensor]:
    """Correlate every cell with its neighbors at every inverse depth.

    Returns:
        (scores [V, G + 2, D, h, w], seen [V, D, h, w]): the mean over neighbors of each group's and of the descriptor's
        correlation, and the best neighbor's of the descriptor; the number of neighbors in which a cell falls inside.
    """
    height, width = features.shape[2:]
    stride = views.size[0] // height
    rays = camera_rays(views.Ks, height, width, stride)
    view, slot = valid.nonzero(as_tuple=True)
    other = index[view, slot]
    pairs = torch.stack([view, other], 1)
    moved = torch.linalg.inv(views.scene_from_cam)[other] @ views.scene_from_cam[view]
    scale = torch.tensor([1.0 / stride, 1.0 / stride, 1.0], device=features.device)
    maps = (scale[:, None] * views.Ks[other]) @ moved[:, :3]  # to cells of the other view, times depth
    learned = features.shape[1] - 16
    correlate = correlate_torch
    if not features.is_cuda:
        from jwmtool.worldrec.sweep_cpu import correlate_cpu

        correlate = correlate_cpu
    each, inside = correlate(features, learned, groups, pairs, maps, rays, inverse.detach())
    V, D = inverse.shape[:2]
    count = inside.new_zeros(V, D, height, width).index_add(0, view, inside)
    total = each.new_zeros(V, groups + 1, D, height, width).index_add(0, view, each)
    mean = total / count.clamp(min=1.0)[:, None]
    # The best of the neighbors, one slot at a time; where none sees the cell, 0.
    best = mean.new_full((V, D, height, width), -1.0)
    for k in range(index.shape[1]):
        rows = slot == k
        match = torch.where(inside[rows] > 0, each[rows, -1], best.new_tensor(-1.0))
        best = torch.maximum(best, torch.full_like(best, -1.0).index_copy(0, view[rows], match))
    best = torch.where(count > 0, best, torch.zeros_like(best))
    return torch.cat([mean, best[:, None]], 1), count


def correlate_torch(
    features: Tensor,  # [V, C, h, w]
    learned: int,  # channels that are correlated in groups; the rest as one
    groups: int,
    pairs: Tensor,  # [P, 2] int64 view and neighbor
    maps: Tensor,  # [P, 3, 4] from (ray, inverse depth) of the view to homogeneous cells of the neighbor
    rays: Tensor,  # [V, 3, h, w]
    inverse: Tensor,  # [V, D, h, w]
) -> tuple[Tensor, Tensor]:
    """Correlation of each pair at each inverse depth [P, G + 1, D, h, w], and whether it falls inside [P, D, h, w]."""
    height, width = features.shape[2:]
    scores, insides = [], []
    for (view, other), to_other in zip(pairs.tolist(), maps, strict=True):
        turned = torch.einsum("ij,jhw->ihw", to_other[:, :3], rays[view])
        # In homogeneous terms R ray + t / depth: no plane is too far, infinity included.
        point = turned[:, None] + to_other[:, 3, None, None, None] * inverse[view]
        behind = point[2] <= 1e-4
        xy = point[:2] / point[2].clamp(min=1e-4)
        grid = torch.stack([xy[0] * (2.0 / width), xy[1] * (2.0 / height)], -1) - 1.0
        inside = (grid.abs() < 1.0).all(-1) & ~behind
        grid = grid.masked_fill(~inside[..., None], 5.0)
        planes = len(grid)
        sampled = functional.grid_sample(
            features[other][None].contiguous(), grid.reshape(1, planes * height, width, 2), align_corners=False,
            padding_mode="border",
        )[0].reshape(-1, planes, height, width)  # fmt: skip
        # Between cells the mean of two unlike descriptors is shorter than either.
        length = sampled[learned:].square().sum(0).sqrt().clamp(min=SHORTEST)
        sampled = torch.cat([sampled[:learned], sampled[learned:] / length])
        product = sampled * features[view][:, None] * inside
        parts = product[:learned].reshape(groups, learned // groups, planes, height, width).sum(1)
        scores.append(torch.cat([parts, product[learned:].sum(0, keepdim=True)]))
        insides.append(inside.to(features.dtype))
    if not scores:
        empty = features.new_zeros(0, groups + 1, inverse.shape[1], height, width)
        return empty, empty[:, 0]
    return torch.stack(scores), torch.stack(insides)
