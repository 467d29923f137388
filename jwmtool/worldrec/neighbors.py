"""Which views each view is matched with: those that see the same things from a useful distance aside."""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.worldrec.views import Views

BASELINE_M = 1.2  # the best distance; half as good three times nearer or farther
_SPREAD = 0.93
_PROBES_M = (4.0, 10.0, 25.0, 60.0)
_LEAST = 0.03


def neighbors(views: Views, count: int) -> tuple[Tensor, Tensor]:
    """Pick for each view the `count` best others: overlap times how useful the baseline is.

    A second one from the same side counts half, so that what one neighbor cannot see another may.

    Returns:
        (index [V, count] int64, valid [V, count] bool): invalid where no view is any good (a standing ego).
    """
    overlap = overlaps(views)
    centers = views.scene_from_cam[:, :3, 3]
    gap = centers[None] - centers[:, None]  # [V, V, 3] from a view to another
    distance = gap.norm(dim=-1)
    useful = torch.exp(-0.5 * (torch.log(distance.clamp(min=1e-6) / BASELINE_M) / _SPREAD) ** 2)
    apart = (views.times_s[None] - views.times_s[:, None]).abs()
    score = overlap * useful / (1.0 + 0.3 * apart)
    score.fill_diagonal_(0.0)
    direction = gap / distance.clamp(min=1e-6)[..., None]
    index, valid = [], []
    for _ in range(count):
        best, chosen = score.max(1)
        index.append(chosen)
        valid.append(best > _LEAST)
        same_side = (direction * direction.gather(1, chosen[:, None, None].expand(-1, 1, 3))).sum(-1) > 0.5
        score = torch.where(same_side, 0.5 * score, score).scatter(1, chosen[:, None], 0.0)
    return torch.stack(index, 1), torch.stack(valid, 1)


def overlaps(views: Views) -> Tensor:
    """[V, V]: the share of view i's frustum that view j sees, from probes at a few depths."""
    height, width = views.size
    device = views.images.device
    u = (torch.arange(5, device=device) + 0.5) / 5 * width
    v = (torch.arange(3, device=device) + 0.5) / 3 * height
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(-1, 2)
    rays = (grid[None] - views.Ks[:, None, :2, 2]) / torch.stack([views.Ks[:, 0, 0], views.Ks[:, 1, 1]], -1)[:, None]
    rays = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
    depths = torch.tensor(_PROBES_M, device=device)
    points = (rays[:, None] * depths[:, None, None]).reshape(len(views), -1, 3)
    points = points @ views.scene_from_cam[:, :3, :3].transpose(1, 2) + views.scene_from_cam[:, None, :3, 3]
    pixels, depth = project(points[:, None], views.Ks[None], torch.linalg.inv(views.scene_from_cam)[None])
    inside = (pixels > 0).all(-1) & (pixels[..., 0] < width) & (pixels[..., 1] < height) & (depth > 0.5)
    return inside.float().mean(-1)


def project(points: Tensor, Ks: Tensor, cam_from_scene: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [..., M, 2] and depths [..., M] (m; may be negative) of points in cameras; leading dimensions broadcast.

    Args:
        points: [..., M, 3] scene frame, metres.
        Ks: [..., 3, 3]; cam_from_scene: [..., 4, 4].
    """
    seen = points @ cam_from_scene[..., :3, :3].transpose(-1, -2) + cam_from_scene[..., None, :3, 3]
    depth = seen[..., 2]
    safe = torch.where(depth.abs() < 1e-3, torch.full_like(depth, 1e-3), depth)
    focal = torch.stack([Ks[..., 0, 0], Ks[..., 1, 1]], -1)[..., None, :]
    return seen[..., :2] / safe[..., None] * focal + Ks[..., None, :2, 2], depth
