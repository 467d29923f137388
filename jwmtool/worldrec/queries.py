"""Sparse scene queries: one for each patch of pixels that no other view sees finer, and a grid where nothing is seen.

A patch of a view becomes a query unless another view sees the same surface from nearer: then that view's patch speaks
for it. What views do not agree upon (movers, edges, wrong depth) stays with each of them, so that nothing is lost; it
lives only about its own time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.worldrec.evidence import Evidence, gather_evidence
from jwmtool.worldrec.neighbors import overlaps
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels
from jwmtool.worldrec.views import Views

PATCH = 4  # px
FARTHEST_M = 300.0
_SKY_LOGIT = 2.0  # surer than this it is sky, and no query
_FINER = 0.05  # by so much (log) another view must be nearer to take over
_SAME_COLOR = 0.15


@dataclass(frozen=True)
class Queries:
    """Q patches that became queries.

    Attributes:
        pixels: their centers.
        inverse: [Q] inverse depth at the center, 1/m.
        evidence: what the other views say about the center.
    """

    pixels: Pixels
    inverse: Tensor
    evidence: Evidence

    def __len__(self) -> int:
        return len(self.inverse)


@torch.no_grad()
def lifted_queries(views: Views, depth: DepthMaps, gather_views: int) -> Queries:
    """The queries that start from pixels (see the module's text), in an order that only geometry decides."""
    height, width = views.size
    device = views.images.device
    v, j, i = torch.meshgrid(
        torch.arange(len(views), device=device), torch.arange(height // PATCH, device=device),
        torch.arange(width // PATCH, device=device), indexing="ij",
    )  # fmt: skip
    xy = torch.stack([i, j], -1).reshape(-1, 2) * PATCH + 0.5 * PATCH
    everywhere = Pixels(v.reshape(-1), xy.float())
    sky = torch.nn.functional.avg_pool2d(depth.sky[:, None], PATCH).flatten()
    usable = views.usable[:, PATCH // 2 :: PATCH, PATCH // 2 :: PATCH].flatten()
    keep = usable & (sky < _SKY_LOGIT)
    pixels = Pixels(everywhere.view[keep], everywhere.xy[keep])
    inverse = nearest(depth.inverse[:, None], pixels.view, pixels.xy)[:, 0].clamp(min=1.0 / FARTHEST_M)
    evidence = gather_evidence(views, depth.inverse, pixels, inverse, companions(views, gather_views))
    color = nearest(views.images, pixels.view, pixels.xy)
    mine = ~(seen_finer(views, evidence) & alike(views, evidence, color)).any(1)
    return Queries(Pixels(pixels.view[mine], pixels.xy[mine]), inverse[mine], evidence.select(mine))


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


def seen_finer(views: Views, evidence: Evidence) -> Tensor:
    """[Q, N] where the other view sees the same surface from nearer; of two as near, the later speaks for it."""
    own = evidence.view[:, :1]
    after = (evidence.apart_s > 1e-3) | (
        (evidence.apart_s.abs() <= 1e-3) & (views.cameras[evidence.view] > views.cameras[own])
    )
    return evidence.same & ((evidence.finer > _FINER) | ((evidence.finer > -_FINER) & after))


def alike(views: Views, evidence: Evidence, color: Tensor) -> Tensor:
    """[Q, N] where the other view shows about the same color [Q, 3]."""
    there = nearest(views.images, evidence.view, evidence.xy)
    return (there - color[:, None]).abs().mean(-1) < _SAME_COLOR
