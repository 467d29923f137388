"""Decoder: each query becomes K Gaussians, which start as surfels of its pixels and move by bounded steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from jwmtool.gaussians.model import Gaussians
from jwmtool.geometry.harmonics import C0
from jwmtool.imaging.residual import zero
from jwmtool.worldrec.cover import PATCH
from jwmtool.worldrec.queries import Queries, lattice
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.surfels import Pixels, lift, shapes, surface_at
from jwmtool.worldrec.views import Views

OPACITY = 2.0  # logit before training
SPREAD = 0.33  # standard deviation of a surfel in steps of its lattice; rasterizers widen it by half a pixel
# The head's reach: log depth, px, log size, sRGB, log life.
DEPTH, ASIDE, SIZE, COLOR, FADE = 0.1, 1.5, 1.0, 0.3, 1.5
_BEND = 0.12  # log depth: from there on it is an edge
_BEND_BARE = 0.02  # what a surfel of a whole patch may leave out
_OUT = 11
_AT_ONCE = 16_384  # Gaussians


class Head(nn.Module):
    """From features of Gaussians to what is changed in their first guess; all zero before training."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features + 9, 64)
        self.outer = nn.Linear(channels, 64)
        self.hidden = nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, _OUT)
        zero(self.out)

    def forward(self, own: Tensor, shared: Tensor) -> Tensor:
        """[M, _OUT] from the Gaussians' own features [M, F + 9] and their queries' [M, C]."""
        # A few at a time: what lies between the layers of all would not fit a processor's cache.
        parts = zip(own.split(_AT_ONCE), shared.split(_AT_ONCE), strict=True)
        return torch.cat([self.out(self.hidden(self.inner(mine) + theirs)) for mine, theirs in parts])


class Decoder(nn.Module):
    """Queries to Gaussians: eight on a chessboard for a patch with detail, four for a plain one, one for a bare one."""

    def __init__(self, channels: int, features: int, detail: float) -> None:
        super().__init__()
        self.detail = detail
        self.head = Head(channels, features)

    def forward(
        self, views: Views, features: Tensor, depth: DepthMaps, queries: Queries, before: Tensor, x: Tensor,
        velocity: Tensor,
    ) -> tuple[Gaussians, Tensor]:  # fmt: skip
        """Decode.

        Args:
            features: [V, F, H/2, W/2].
            queries: as moved by aggregation; before: [Q] their inverse depths before that.
            x: [Q, C]; velocity: [Q, 3] scene frame, m/s.

        Returns:
            (N Gaussians, [N] the query that each belongs to).
        """
        needed = spacings(views, depth, queries.pixels, self.detail)
        owner, xy, spacing = [], [], []
        for step in (1, 2, PATCH):
            chosen = (needed == step).nonzero()[:, 0]
            places = lattice(step).to(x.device)
            owner.append(chosen[:, None].expand(-1, len(places)).reshape(-1))
            xy.append((queries.pixels.xy[chosen, None] + places).reshape(-1, 2))
            spacing.append(torch.full_like(xy[-1][:, 0], (PATCH * PATCH / len(places)) ** 0.5))
        mine = torch.cat(owner)
        pixels = Pixels(queries.pixels.view[mine], torch.cat(xy))
        guess = Guess(
            moved=(queries.inverse / before)[mine],
            spacing_px=torch.cat(spacing),
            life=queries.life[mine],
            velocity=velocity[mine],
        )
        return surfels(views, features, depth, pixels, guess, self.head.outer(x)[mine], self.head), mine


@torch.no_grad()
def spacings(views: Views, depth: DepthMaps, pixels: Pixels, least: float) -> Tensor:
    """[Q] the lattice that patches about pixels need, px: 1, 2 or PATCH; coarser ones would lose texture or an edge.

    Args:
        least: mean difference in sRGB that counts as texture.
    """
    log = depth.inverse.clamp(min=1.0 / 300.0).log()[:, None]
    bend = (log - functional.avg_pool2d(log, 3, stride=1, padding=1, count_include_pad=False)).abs()
    bend = functional.max_pool2d(bend, PATCH)
    needed = torch.full_like(pixels.view, PATCH)
    for step, most in ((2, _BEND_BARE), (1, _BEND)):
        coarse = functional.avg_pool2d(views.images, 2 * step)
        texture = (views.images - _smooth(coarse, 2 * step)).abs().mean(1, keepdim=True)
        maps = torch.cat([functional.avg_pool2d(texture, PATCH) / least, bend / most], 1)
        needed[(nearest(maps, pixels.view, pixels.xy, PATCH) > 1.0).any(1)] = step
    return needed


def _smooth(images: Tensor, factor: int) -> Tensor:
    """Larger by a factor, as overlapping Gaussians show it."""
    return functional.interpolate(images, scale_factor=float(factor), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Guess:
    """What is known of M Gaussians before the head speaks.

    Attributes:
        moved: [M] factor on the pixels' inverse depths.
        spacing_px: [M] of the lattice that they stand on.
        life: [M] seconds, the first guess of `time_sigma`.
        velocity: [M, 3] m/s.
    """

    moved: Tensor
    spacing_px: Tensor
    life: Tensor
    velocity: Tensor


def surfels(
    views: Views, features: Tensor, depth: DepthMaps, pixels: Pixels, guess: Guess, shared: Tensor, head: Head
) -> Gaussians:
    """Gaussians that start as surfels of pixels, changed by the head.

    Args:
        features: [V, F, H/2, W/2].
        shared: [M, 64] what the head knows from elsewhere.
    """
    maps = torch.cat([depth.log_error[:, None], depth.sky[:, None], views.images], 1)
    mine = nearest(maps, pixels.view, pixels.xy)
    color = mine[:, 2:]
    for size in (2, PATCH):
        even = nearest(functional.avg_pool2d(views.images, size), pixels.view, pixels.xy, size)
        color = torch.where(guess.spacing_px[:, None] > size - 0.1, even, color)
    inverse, slope = surface_at(depth.inverse, pixels)
    inverse = inverse.clamp(min=1.0 / 300.0)
    steep = (slope / inverse[:, None]).abs().clamp(max=0.5)
    detail = nearest(features, pixels.view, pixels.xy, 2)
    own = torch.cat(
        [detail, mine[:, :2].clamp(-6.0, 6.0), color, 4.0 * steep, 10.0 * inverse[:, None], guess.spacing_px[:, None]],
        1,
    )
    change = head(own, shared)
    inverse = inverse * guess.moved * torch.exp(DEPTH * torch.tanh(change[:, 0]))
    aside = Pixels(pixels.view, pixels.xy + ASIDE * torch.tanh(change[:, 1:3]))
    # On its own surface: a step aside keeps to the slope.
    inverse = (inverse + (slope * (aside.xy - pixels.xy)).sum(1).clamp(-0.1 * inverse, 0.1 * inverse)).clamp(min=1e-3)
    quats, scales = shapes(views, pixels, inverse, slope, SPREAD * guess.spacing_px)
    scales = scales * torch.exp(SIZE * torch.tanh(change[:, 3:6]))
    colors = color + COLOR * torch.tanh(change[:, 6:9])
    opacities = torch.sigmoid(OPACITY + change[:, 9]) * torch.sigmoid(2.0 - 2.0 * mine[:, 1])
    return Gaussians(
        means=lift(views, aside, inverse),
        quats=quats,
        scales=scales,
        opacities=opacities,
        sh=((colors - 0.5) / C0)[:, None],
        velocity=guess.velocity,
        time_mid=views.times_s[pixels.view],
        time_sigma=guess.life * torch.exp(FADE * torch.tanh(change[:, 10])),
        actor=torch.full_like(pixels.view, -1, dtype=torch.int32),
        imagined=torch.zeros_like(pixels.view, dtype=torch.uint8),
    )
