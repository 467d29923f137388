"""The way that the ego drove, and how long what a view shows may be believed along it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from jwmtool.artifacts.clip import Clip
from jwmtool.worldrec.lasting import within
from jwmtool.worldrec.life import BETWEEN, gaps, mean_speed, unchanged
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.scene_cover import GONE, HALF
from jwmtool.worldrec.tokens import MOVES_MPS
from jwmtool.worldrec.views import Views

_FAR_S = 10.0  # no life of a window's Gaussians reaches so far


@dataclass(frozen=True)
class EgoPath:
    """Where the ego was.

    Attributes:
        times_s: [F] rising, seconds since the scene's time origin.
        positions: [F, 3] metres, in any frame: only distances count.
    """

    times_s: Tensor
    positions: Tensor

    @staticmethod
    def of(clip: Clip, time_origin_us: int) -> EgoPath:
        """All frames of a clip."""
        times = (np.asarray(clip.times_us, np.int64) - time_origin_us) * 1e-6
        places = clip.world_from_rig[:, :3, 3]
        return EgoPath(torch.from_numpy(times).float(), torch.from_numpy(places - places[0]).float())

    def near(self, times_s: Tensor) -> EgoPath:
        """The part about some times."""
        keep = (self.times_s >= times_s.min() - _FAR_S) & (self.times_s <= times_s.max() + _FAR_S)
        return EgoPath(self.times_s[keep], self.positions[keep])


@torch.no_grad()
def within_way(found: Reconstruction, views: Views, path: EgoPath) -> Reconstruction:
    """A window's scene whose lives are told by the way that the ego drove, not by the clock.

    The network knows the ego's mean speed in the window alone, and gives lives in seconds at that speed: how long its
    error of depth does not show. One that stands there may have come, and go on, fast: then they end sooner. While it
    stands pictures tell when what they show ended.

    Args:
        found: by sparse queries; of the views.
    """
    if found.pixels is None or found.owner is None or not len(found.owner):
        return found
    path = path.near(views.times_s.cpu())
    gaussians, view = found.gaussians, found.pixels.view[found.owner]
    mid, sigma = gaussians.time_mid, gaussians.time_sigma
    way = mean_speed(views) * sigma
    low, high = _reach(path, views.times_s, view, HALF * way)
    never, no_more = _reach(path, views.times_s, view, GONE * way)
    if found.queries is not None:
        times_s = views.times_s[found.queries.pixels.view]
        bounds = unchanged(found.queries.evidence, times_s)
        since, until, first, last = (bound[found.owner] for bound in bounds)
        never, no_more = torch.maximum(never, since), torch.minimum(no_more, until)
        low, high = torch.maximum(low, 0.5 * (since + first)), torch.minimum(high, 0.5 * (last + until))
    low, high = torch.maximum(low, mid - HALF * sigma), torch.minimum(high, mid + HALF * sigma)
    center, short = within(low, high, never, no_more)
    short = torch.maximum(short, torch.minimum((BETWEEN * gaps(views))[view], sigma))
    stands = gaussians.velocity.norm(dim=1) <= MOVES_MPS
    gaussians = gaussians.replace(
        time_mid=torch.where(stands, center, mid), time_sigma=torch.where(stands, short, sigma)
    )
    return replace(found, gaussians=gaussians)


def _reach(path: EgoPath, times_s: Tensor, view: Tensor, most_m: Tensor) -> tuple[Tensor, Tensor]:
    """[N] and [N]: between which times the ego stays within `most_m` [N] of where each one's view is from."""
    low, high = torch.full_like(most_m, -torch.inf), torch.full_like(most_m, torch.inf)
    for v, time_s in enumerate(times_s.tolist()):
        rows = (view == v).nonzero()[:, 0]
        here = int((path.times_s - time_s).abs().argmin())
        away = (path.positions - path.positions[here]).norm(dim=1)
        onward, back = slice(here, None), slice(None, here + 1)
        high[rows] = _first_beyond(path.times_s[onward], away[onward], most_m[rows], torch.inf)
        low[rows] = _first_beyond(path.times_s[back].flip(0), away[back].flip(0), most_m[rows], -torch.inf)
    return low, high


def _first_beyond(times_s: Tensor, away_m: Tensor, most_m: Tensor, never_s: float) -> Tensor:
    """[N] the first of the times [F] at which the ego is farther away [F] than `most_m` [N]."""
    first = torch.searchsorted(away_m.cummax(0).values, most_m.cpu().contiguous(), right=True)
    return torch.cat([times_s, times_s.new_tensor([never_s])])[first].to(most_m)
