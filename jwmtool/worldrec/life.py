"""Life spans before training: how long what one view shows may be believed."""

from __future__ import annotations

import torch
from torch import Tensor

from jwmtool.worldrec.evidence import Evidence
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels
from jwmtool.worldrec.views import Views

DRIFT_PX = 0.4
LONG = 1.2  # of the longest time apart that a point was confirmed at
BETWEEN = 0.45  # of the time to the next view


@torch.no_grad()
def lifetime(views: Views, depth: DepthMaps, pixels: Pixels, inverse: Tensor, evidence: Evidence) -> Tensor:
    """A first guess of `time_sigma` [M], seconds, of points lifted from pixels at inverse depths [M].

    As long as other times confirm the point and none speaks against it, and not longer than it takes until its likely
    error of depth shows as DRIFT_PX of parallax: far or certain things stay, near and uncertain ones go. At least so
    long that it lasts to the middle between its own view and the next.
    """
    sure = torch.where(confirmed(evidence), evidence.apart_s.abs(), torch.zeros_like(evidence.apart_s)).amax(1)
    ends = torch.maximum(sure, 0.5 * against(evidence))
    error = nearest(depth.log_error[:, None], pixels.view, pixels.xy)[:, 0].clamp(-5.0, 1.0).exp()
    drift = error * views.Ks[pixels.view, 0, 0] * inverse.detach() * mean_speed(views)  # px a second
    life = torch.minimum(torch.minimum(LONG * sure, ends), DRIFT_PX / drift)
    return torch.maximum(life, BETWEEN * gaps(views)[pixels.view])


def mean_speed(views: Views) -> Tensor:
    """[] m/s of the ego in the window, and at least 0.1."""
    centers = views.scene_from_cam[:, :3, 3]
    way = (centers.amax(0) - centers.amin(0)).norm()
    return (way / (views.times_s.max() - views.times_s.min()).clamp(min=0.1)).clamp(min=0.1)


def confirmed(evidence: Evidence) -> Tensor:
    """[M, N] the view sees the same surface, and no view nearer in time sees through it."""
    return evidence.same & (evidence.apart_s.abs() < against(evidence)[:, None])


def against(evidence: Evidence) -> Tensor:
    """[M] seconds to the nearest view of another time that speaks against the point; infinite without one."""
    apart = evidence.apart_s.abs()
    return torch.where((evidence.through & (apart > 1e-3)) | evidence.changed, apart, torch.inf).amin(1)


def unchanged(evidence: Evidence, time_s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Between when pictures from the same place show nothing else than theirs where points are; all [M], seconds.

    Args:
        time_s: [M] when each point was seen.

    Returns:
        (the last time before and the first after at which something else is shown, infinite where none is; the first
        and the last between those at which other views confirm the point).
    """
    since, until = around(evidence.changed, evidence, time_s, torch.inf)
    seen_s = time_s[:, None] + evidence.apart_s
    same = evidence.same & (seen_s > since[:, None]) & (seen_s < until[:, None])
    return since, until, *sights(same, evidence, time_s)


def around(which: Tensor, evidence: Evidence, time_s: Tensor, never_s: float) -> tuple[Tensor, Tensor]:
    """[M] and [M]: the last time before and the first after points' own at which some of the views are, mask [M, N]."""
    seen_s = time_s[:, None] + evidence.apart_s
    before = torch.where(which & (evidence.apart_s < 0), seen_s, -never_s).amax(1)
    return before, torch.where(which & (evidence.apart_s > 0), seen_s, never_s).amin(1)


def sights(which: Tensor, evidence: Evidence, time_s: Tensor) -> tuple[Tensor, Tensor]:
    """[M] and [M]: the first and the last time of some of the views, mask [M, N], points' own included."""
    apart = torch.where(which, evidence.apart_s, torch.zeros_like(evidence.apart_s))
    return time_s + apart.amin(1), time_s + apart.amax(1)


def gaps(views: Views) -> Tensor:
    """[V] seconds to the next view of the same camera, before or after, whichever is longer; 0.1 for a single one."""
    apart = views.times_s[None] - views.times_s[:, None]
    same = views.cameras[None] == views.cameras[:, None]
    gap = torch.zeros_like(views.times_s)
    for side in (apart, -apart):
        nearest_s = torch.where(same & (side > 1e-3), side, torch.inf).amin(1)
        gap = torch.where(torch.isfinite(nearest_s), torch.maximum(gap, nearest_s), gap)
    return torch.where(gap > 0.0, gap, torch.full_like(gap, 0.1))
