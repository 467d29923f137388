"""What every view says about points: sees them, sees through them, cannot see them; and who sees them finest."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.neighbors import project
from jwmtool.worldrec.sampling import nearest, sample
from jwmtool.worldrec.surfels import Pixels, lift
from jwmtool.worldrec.views import Views

SAME_PX = 0.75  # two views see the same point if there and back again it lands within this
COARSER = 1.5  # log of how many times coarser the other view may be and still be asked
SAME_DEPTH = 0.1  # and its depth agrees within this share
SAME_COLOR = 0.1  # and its color: mean difference in sRGB, of 2 x 2 px

_CHANGED = 0.1  # mean difference in sRGB from which on the same place shows something else
_APART_M, _TURNED_RAD = 0.05, 0.002  # what stands moves at most so far


@dataclass(frozen=True)
class Evidence:
    """What views say about M points lifted from pixels; [M, N] for N views looked into.

    Attributes:
        view: int64, which view each column is for this row.
        xy: [M, N, 2] where the point falls in it, px.
        inside: bool, whether it falls inside the picture, before the camera.
        residual: log of the point's depth there over the depth map's: negative is before what the view sees.
        error_px: how far the view's own surface at that place, brought back, lands from where the point came from.
        unlike: mean difference of colors, sRGB, of 2 x 2 px.
        finer: log of the point's footprint in its source over that in the view: positive where the view is nearer.
        apart_s: the view's time minus the source's.
        changed: bool, the view shows something else in that place, and from where the source is: at another time.
    """

    view: Tensor
    xy: Tensor
    inside: Tensor
    residual: Tensor
    error_px: Tensor
    unlike: Tensor
    finer: Tensor
    apart_s: Tensor
    changed: Tensor

    @property
    def same(self) -> Tensor:
        """[M, N] the view sees the same surface there, as far as the coarser of the two can tell."""
        tolerance = SAME_PX * torch.exp(-self.finer.clamp(-COARSER, 0.0))
        alike = (self.residual.abs() < SAME_DEPTH) & (self.unlike < SAME_COLOR)
        return self.inside & (self.error_px < tolerance) & alike

    @property
    def through(self) -> Tensor:
        """[M, N] the view sees something farther in that place: the point cannot be there at that time."""
        return self.inside & (self.residual < -0.03) & (self.error_px > 1.5)

    def select(self, rows: Tensor | slice) -> Evidence:
        """Some of the points."""
        return Evidence(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@torch.no_grad()
def gather_evidence(views: Views, inverse: Tensor, pixels: Pixels, at: Tensor, other: Tensor) -> Evidence:
    """Hold points against the depth maps of other views.

    Args:
        inverse: [V, H, W] inverse depth of every view.
        pixels: where the points come from.
        at: [M] their inverse depths.
        other: [M, N] int64, which views each point is held against.
    """
    height, width = views.size
    points = lift(views, pixels, at)
    cam_from_scene = torch.linalg.inv(views.scene_from_cam)
    xy, depth = project(points[:, None, None], views.Ks[other], cam_from_scene[other])
    xy, depth = xy[:, :, 0], depth[:, :, 0]
    limits = torch.tensor([width, height], device=xy.device)
    inside = (depth > 0.3) & (xy > 0).all(-1) & (xy < limits).all(-1)
    xy = torch.where(inside[..., None], xy, 0.5 * limits)
    seen = sample(inverse[:, None], other, xy)[..., 0].clamp(min=1e-4)
    there = Pixels(other.reshape(-1), xy.reshape(-1, 2))
    back = lift(views, there, seen.reshape(-1)).reshape(*other.shape, 3)
    home, _ = project(back, views.Ks[pixels.view], cam_from_scene[pixels.view])
    half = functional.avg_pool2d(views.images, 2)
    own = nearest(half, pixels.view, pixels.xy, 2)
    shown = sample(half, other, xy, 2)
    unlike = (shown - own[:, None]).abs().mean(-1)
    focal = views.Ks[:, 0, 0]
    finer = torch.log(focal[other] / depth.clamp(min=0.3)) - torch.log(focal[pixels.view] * at)[:, None]
    residual = torch.log(depth.clamp(min=0.3) * seen)
    error = (home - pixels.xy[:, None]).norm(dim=-1)
    apart = views.times_s[other] - views.times_s[pixels.view][:, None]
    stands = inside & same_place(views, views)[pixels.view[:, None], other] & (apart.abs() > 1e-3)
    point, slot = stands.nonzero(as_tuple=True)
    before = sample(half, pixels.view[point], pixels.xy[point], 2)  # as the others are sampled: outlines do not differ
    changed = torch.zeros_like(stands)
    changed[point, slot] = (shown[point, slot] - before).abs().mean(-1) > _CHANGED
    return Evidence(other, xy, inside, residual, error, unlike, finer, apart, changed)


def same_place(views: Views, others: Views) -> Tensor:
    """[V, U] bool: pictures of one camera from one place."""
    apart = (views.scene_from_cam[:, None] - others.scene_from_cam).abs()
    there = (apart[..., :3, 3].amax(-1) < _APART_M) & (apart[..., :3, :3].amax((-2, -1)) < _TURNED_RAD)
    return there & (views.cameras[:, None] == others.cameras)
