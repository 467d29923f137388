"""Decoder: each query becomes K Gaussians, which start as surfels of its pixels and move by bounded steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import C0
from jwmtool.worldrec.evidence import Evidence
from jwmtool.worldrec.features import zero
from jwmtool.worldrec.queries import PATCH, Queries
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels, lift, shapes, slopes
from jwmtool.worldrec.views import Views

OPACITY = 2.0  # logit before training
SPREAD = 0.45  # standard deviation of a surfel in lattice steps
DEPTH, ASIDE, SIZE, COLOR, FADE = (
    0.1,
    1.5,
    1.0,
    0.3,
    1.5,
)  # the head's reach: log, px, log, sRGB, log
LONG = 3.0  # windows that a Gaussian lives which nothing speaks against
_OUT = 14


class Head(nn.Module):
    """From features of Gaussians to what is changed in their first guess; all zero before training."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features + 8, 64)
        self.outer = nn.Linear(channels, 64)
        self.hidden = nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, _OUT)
        zero(self.out)

    def forward(self, own: Tensor, shared: Tensor) -> Tensor:
        """[M, _OUT] from the Gaussians' own features [M, F + 8] and their queries' [M, C]."""
        result: Tensor = self.out(self.hidden(self.inner(own) + shared))
        return result


class Decoder(nn.Module):
    """Queries to Gaussians."""

    def __init__(self, channels: int, features: int, gaussians: int) -> None:
        super().__init__()
        self.lattice: Tensor
        self.register_buffer("lattice", lattice(gaussians), persistent=False)
        self.spacing_px = (PATCH * PATCH / gaussians) ** 0.5
        self.head = Head(channels, features)

    def forward(
        self,
        views: Views,
        features: Tensor,
        depth: DepthMaps,
        queries: Queries,
        before: Tensor,
        x: Tensor,
        velocity: Tensor,
    ) -> Gaussians:
        """Decode.

        Args:
            features: [V, F, H/2, W/2].
            queries: as moved by aggregation; before: [Q] their inverse depths before that.
            x: [Q, C]; velocity: [Q, 3] scene frame, m/s.
        """
        count = len(self.lattice)
        view = queries.pixels.view[:, None].expand(-1, count).reshape(-1)
        xy = (queries.pixels.xy[:, None] + self.lattice).reshape(-1, 2)
        pixels = Pixels(view, xy)
        moved = (queries.inverse / before)[:, None].expand(-1, count).reshape(-1)
        shared = self.head.outer(x)[:, None].expand(-1, count, -1).flatten(0, 1)
        life = lifetime(views, queries.pixels, queries.evidence)[:, None].expand(-1, count).reshape(-1)
        velocity = velocity[:, None].expand(-1, count, -1).reshape(-1, 3)
        return surfels(views, features, depth, pixels, moved, shared, self.head, self.spacing_px, life, velocity)


def surfels(
    views: Views, features: Tensor, depth: DepthMaps, pixels: Pixels, moved: Tensor, shared: Tensor, head: Head,
    spacing_px: float, life: Tensor, velocity: Tensor,
) -> Gaussians:  # fmt: skip
    """Gaussians that start as surfels of pixels, changed by the head.

    Args:
        moved: [M] factor on the pixels' inverse depths.
        shared: [M, 64] what the head knows from elsewhere.
        life: [M] seconds, the first guess of `time_sigma`.
        velocity: [M, 3] m/s.
    """
    maps = torch.cat([depth.inverse[:, None], depth.log_error[:, None], depth.sky[:, None], views.images], 1)
    mine = nearest(maps, pixels.view, pixels.xy)
    slope = nearest(slopes(depth.inverse), pixels.view, pixels.xy)
    inverse = mine[:, 0].clamp(min=1.0 / 300.0)
    steep = (slope / inverse[:, None]).abs().clamp(max=0.5)
    detail = nearest(features, pixels.view, pixels.xy, 2)
    own = torch.cat([detail, mine[:, 1:3].clamp(-6.0, 6.0), mine[:, 3:], 4.0 * steep, 10.0 * inverse[:, None]], 1)
    change = head(own, shared)
    inverse = inverse * moved * torch.exp(DEPTH * torch.tanh(change[:, 0]))
    aside = Pixels(pixels.view, pixels.xy + ASIDE * torch.tanh(change[:, 1:3]))
    # On its own surface: a step aside keeps to the slope.
    inverse = (inverse + (slope * (aside.xy - pixels.xy)).sum(1).clamp(-0.1 * inverse, 0.1 * inverse)).clamp(min=1e-3)
    quats, scales = shapes(views, pixels, inverse, slope, SPREAD * spacing_px)
    scales = scales * torch.exp(SIZE * torch.tanh(change[:, 3:6]))
    colors = mine[:, 3:] + COLOR * torch.tanh(change[:, 6:9])
    opacities = torch.sigmoid(OPACITY + change[:, 9]) * torch.sigmoid(2.0 - 2.0 * mine[:, 2])
    return Gaussians(
        means=lift(views, aside, inverse),
        quats=quats,
        scales=scales,
        opacities=opacities,
        sh=((colors - 0.5) / C0)[:, None],
        velocity=velocity,
        time_mid=views.times_s[pixels.view],
        time_sigma=life * torch.exp(FADE * torch.tanh(change[:, 10])),
        actor=torch.full_like(pixels.view, -1, dtype=torch.int32),
        imagined=torch.zeros_like(pixels.view, dtype=torch.uint8),
    )


def lattice(gaussians: int) -> Tensor:
    """[K, 2] places in a patch, px from its center: every pixel (16), a chessboard's black ones (8), or 2 x 2 (4)."""
    xy = torch.tensor([(x - 1.5, y - 1.5) for y in range(PATCH) for x in range(PATCH)])
    if gaussians == 16:
        return xy
    if gaussians == 8:
        return xy[(xy.sum(1) % 2) == 0]
    if gaussians == 4:
        return torch.tensor([(x, y) for y in (-1.0, 1.0) for x in (-1.0, 1.0)])
    raise ValueError(f"Gaussians of a query: expected 4, 8 or 16, found {gaussians}")


@torch.no_grad()
def lifetime(views: Views, pixels: Pixels, evidence: Evidence) -> Tensor:
    """[Q] seconds, a first guess of `time_sigma`: half the time to the nearest view that sees through the point.

    At least so long that it lasts to the middle between its own view and the next, at most LONG windows.
    """
    span = (views.times_s.max() - views.times_s.min()).clamp(min=0.1)
    apart = evidence.apart_s.abs()
    against = torch.where(evidence.through & (apart > 1e-3), apart, torch.inf).amin(1)
    return torch.maximum(torch.minimum(0.5 * against, LONG * span), 0.6 * gaps(views)[pixels.view])


def gaps(views: Views) -> Tensor:
    """[V] seconds to the next view of the same camera, before or after; 0.1 for a single one."""
    apart = (views.times_s[None] - views.times_s[:, None]).abs()
    other = (views.cameras[None] == views.cameras[:, None]) & (apart > 1e-3)
    nearest_s = torch.where(other, apart, torch.inf).amin(1)
    return torch.where(torch.isfinite(nearest_s), nearest_s, torch.full_like(nearest_s, 0.1))
