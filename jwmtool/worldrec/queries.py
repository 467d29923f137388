"""Sparse scene queries: one for each patch of pixels, but of what several views see only the finest (see cover.py)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.cover import PATCH, uncovered
from jwmtool.worldrec.evidence import Evidence, gather_evidence
from jwmtool.worldrec.life import lifetime
from jwmtool.worldrec.neighbors import overlaps
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.surfels import Pixels, surface_at
from jwmtool.worldrec.views import Views

FARTHEST_M = 300.0
_SKY_LOGIT = 2.0  # surer than this it is sky, and no query


@dataclass(frozen=True)
class Queries:
    """Q patches that became queries.

    Attributes:
        pixels: their centers.
        inverse: [Q] inverse depth at the center, 1/m.
        evidence: what the other views say about the center.
        life: [Q] seconds, a first guess of `time_sigma`.
    """

    pixels: Pixels
    inverse: Tensor
    evidence: Evidence
    life: Tensor

    def __len__(self) -> int:
        return len(self.inverse)


@torch.no_grad()
def lifted_queries(views: Views, depth: DepthMaps, gather_views: int, *, random: bool = False) -> Queries:
    """The queries that start from pixels (see the module's text), in an order that only geometry decides.

    Args:
        gather_views: views that each is held against.
        random: as many patches drawn at random from all instead, always the same ones (an ablation).
    """
    height, width = views.size
    device = views.images.device
    v, j, i = torch.meshgrid(
        torch.arange(len(views), device=device), torch.arange(height // PATCH, device=device),
        torch.arange(width // PATCH, device=device), indexing="ij",
    )  # fmt: skip
    xy = torch.stack([i, j], -1).reshape(-1, 2) * PATCH + 0.5 * PATCH
    everywhere = Pixels(v.reshape(-1), xy.float())
    sky = functional.avg_pool2d(depth.sky[:, None], PATCH).flatten()
    usable = views.usable[:, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].flatten()
    keep = usable & (sky < _SKY_LOGIT)
    pixels = Pixels(everywhere.view[keep], everywhere.xy[keep])
    inverse = surface_at(depth.inverse, pixels)[0].clamp(min=1.0 / FARTHEST_M)
    look_into = companions(views, gather_views)[pixels.view]
    evidence = gather_evidence(views, depth.inverse, pixels, inverse, look_into)
    life = lifetime(views, depth, pixels, inverse, evidence)
    mine = uncovered(views, pixels, evidence, life)
    if random:
        drawn = torch.randperm(len(mine), generator=torch.Generator().manual_seed(0))[: int(mine.sum())]
        mine = torch.zeros_like(mine).index_fill(0, drawn.to(device), True)
    return Queries(Pixels(pixels.view[mine], pixels.xy[mine]), inverse[mine], evidence.select(mine), life[mine])


def companions(views: Views, count: int) -> Tensor:
    """[V, count] the views that each view's patches are held against: itself, then those that see most of the same.

    Views near in time come first among equals.
    """
    share = overlaps(views)
    share = 0.5 * (share + share.T)
    apart = (views.times_s[None] - views.times_s[:, None]).abs()
    score = share - 0.15 * apart / (apart.max() + 1e-6)
    score.fill_diagonal_(2.0)
    return score.topk(min(count, len(views)), 1).indices


def lattice(step: int) -> Tensor:
    """Places [K, 2] in a patch, px from its center: every `step` px, or for 1 every second pixel as on a chessboard."""
    at = (torch.arange(PATCH // step) + 0.5) * step - 0.5 * PATCH
    xy = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(-1, 2)
    return xy[xy.sum(1) % 2 == 0] if step == 1 else xy
