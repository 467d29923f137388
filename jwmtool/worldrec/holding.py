"""Holding old tokens against new views: who sees them in place, who sees through them, who cannot see them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jwmtool.artifacts.tokens import Tokens
from jwmtool.worldrec.evidence import COARSER, SAME_DEPTH, SAME_PX
from jwmtool.worldrec.neighbors import project
from jwmtool.worldrec.queries import FARTHEST_M
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sampling import nearest, sample
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

_NEAREST_M = 0.3
_THROUGH = 0.03  # log depth
_THROUGH_PX = 1.5
HIDDEN = 0.6  # log depth from which on a token behind what a view sees is not asked about


@dataclass(frozen=True)
class Held:
    """P pairs of a token and a view that it falls into and is not hidden in by something far before it.

    Attributes:
        token, view: [P] int64.
        xy: [P, 2] where it falls, px.
        time_s: [P] of the view.
        residual: [P] log of its depth there over the depth map's: negative is before what the view sees.
        error: [P] how far the view's surface lands from the token, back in its own picture; 1 is just tolerated.
        finer: [P] log of the token's footprint over the view's: positive where the view is nearer.
        inside: [Q] bool, tokens that any view could show were nothing before them.
    """

    token: Tensor
    view: Tensor
    xy: Tensor
    time_s: Tensor
    residual: Tensor
    error: Tensor
    finer: Tensor
    inside: Tensor

    def select(self, pairs: Tensor) -> Held:
        """Some of the pairs by mask [P]."""
        names = ("token", "view", "xy", "time_s", "residual", "error", "finer")
        return replace(self, **{name: getattr(self, name)[pairs] for name in names})

    @property
    def asked(self) -> Tensor:
        """[P] bool, the view looks there, and nothing before the token hides it."""
        return self.residual < SAME_DEPTH

    @property
    def through(self) -> Tensor:
        """[P] bool, the view sees something farther in that place."""
        return (self.residual < -_THROUGH) & (self.error > _THROUGH_PX / SAME_PX)


@torch.no_grad()
def in_view(points: Tensor, views: Views, farthest_m: float = FARTHEST_M) -> Tensor:
    """[M] bool, points [M, 3] that fall into any view, whatever hides them."""
    found = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    cam_from_scene = torch.linalg.inv(views.scene_from_cam)
    for v in range(len(views)):
        found |= _falls(*project(points, views.Ks[v], cam_from_scene[v]), views, farthest_m)
    return found


def _falls(xy: Tensor, z: Tensor, views: Views, farthest_m: float) -> Tensor:
    height, width = views.size
    inside = (xy > 0).all(1) & (xy[:, 0] < width) & (xy[:, 1] < height)
    return inside & (z > _NEAREST_M) & (z < farthest_m)


@torch.no_grad()
def hold(tokens: Tokens, views: Views, depth: DepthMaps) -> Held:
    """Hold every token that stands against all views, whatever it is hidden by."""
    device = tokens.anchor.device
    inside = torch.zeros(len(tokens), dtype=torch.bool, device=device)
    cam_from_scene = torch.linalg.inv(views.scene_from_cam)
    standing = (~tokens.moving).nonzero()[:, 0]
    anchors = tokens.anchor[standing]
    rows, places, depths = [], [], []
    for v in range(len(views)):  # one at a time: most views show few of the tokens
        xy, z = project(anchors, views.Ks[v], cam_from_scene[v])
        found = _falls(xy, z, views, FARTHEST_M).nonzero()[:, 0]
        inside[standing[found]] = True
        places.append(xy[found])
        depths.append(z[found])
        rows.append(found)
    view = torch.repeat_interleave(torch.arange(len(views), device=device), torch.tensor([len(r) for r in rows]))
    row, xy, z = torch.cat(rows), torch.cat(places), torch.cat(depths)
    usable = nearest(views.usable[:, None], view, xy)[:, 0]
    row, view, xy, z = row[usable], view[usable], xy[usable], z[usable]
    seen = sample(depth.inverse[:, None], view, xy)[:, 0].clamp(min=1e-4)
    residual = torch.log(z * seen)
    open_ = (residual < HIDDEN).nonzero()[:, 0]
    row, view, xy, z, seen, residual = row[open_], view[open_], xy[open_], z[open_], seen[open_], residual[open_]
    token = standing[row]
    back = lift(views, Pixels(view, xy), seen)
    finer = torch.log(tokens.footprint_m[token] * views.Ks[:, 0, 0][view] / z)
    eye = tokens.eye[token]
    ray, found_at = tokens.anchor[token] - eye, back - eye
    along = (ray * found_at).sum(1)
    aside = torch.linalg.cross(ray, found_at).norm(dim=1)
    error_px = tokens.focal[token] * aside / along.clamp(min=1e-3)
    error_px = torch.where(along > 0, error_px, torch.full_like(error_px, 1e4))
    tolerance = SAME_PX * torch.exp(-finer.clamp(-COARSER, 0.0))
    return Held(token, view, xy, views.times_s[view], residual, error_px / tolerance, finer, inside)


@torch.no_grad()
def unlikeness(tokens: Tokens, views: Views, token: Tensor, view: Tensor, xy: Tensor) -> Tensor:
    """[P] mean difference of color between tokens and what views show at places (px), of 2 x 2 px."""
    return (sample(avg_pool2d(views.images, 2), view, xy, 2) - tokens.color[token]).abs().mean(1)
