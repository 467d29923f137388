"""Texture painted onto made worlds: noise in space, so that it sticks to surfaces in every view.

The worlds' own materials are plain, real streets are not; a network that has seen plain walls alone mistrusts foliage,
gravel and brick. The noise has several octaves; those finer than what a pixel covers fade out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.features import camera_rays
from jwmtool.worldrec.views import Views

_CELLS = 48  # edge of the block of noise, which repeats
_FINEST_M, _OCTAVES = 0.03, 7


class Texture:
    """One texture: a block of random colors, looked up at several scales."""

    def __init__(self, rng: np.random.Generator, strength: float) -> None:
        seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
        shape = (_CELLS, _CELLS, _CELLS)
        gray = torch.rand(1, *shape, generator=seed) * 2.0 - 1.0
        tint = torch.rand(3, *shape, generator=seed) * 2.0 - 1.0
        block = gray + float(rng.uniform(0.0, 0.5)) * tint
        self.block = functional.pad(block[None], (0, 1, 0, 1, 0, 1), mode="circular")
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        self.turn = torch.from_numpy(turn).float()
        self.strengths = [strength * float(rng.uniform(0.0, 1.0)) for _ in range(_OCTAVES)]

    def __call__(self, views: Views) -> Tensor:
        """Images [V, 3, H, W] with the texture on everything whose depth and motion are known."""
        if views.depth_m is None or views.velocity is None or not len(views):
            return views.images
        height, width = views.size
        solid = (views.depth_m > 0.0) & torch.isfinite(views.depth_m)
        depth = torch.where(solid, views.depth_m, torch.ones_like(views.depth_m))
        rays = camera_rays(views.Ks, height, width) * depth[:, None]
        points = torch.einsum("vij,vjhw->vhwi", views.scene_from_cam[:, :3, :3], rays)
        points = points + views.scene_from_cam[:, None, None, :3, 3]
        points = points - views.velocity * views.times_s[:, None, None, None]  # where it was at time 0
        covered = footprints(points)
        log_gain = torch.zeros_like(views.images)
        for octave, strength in enumerate(self.strengths):
            scale = _FINEST_M * 2.0**octave
            share = strength * ((scale / covered - 0.8) / 1.2).clamp(0.0, 1.0) * solid
            if float(share.max()) > 0.0:
                log_gain = log_gain + share[:, None] * self._noise(points / scale)
        return (views.images * torch.exp(log_gain)).clamp(0.0, 1.0)

    def _noise(self, places: Tensor) -> Tensor:
        """[V, 3, H, W] in about [-1, 1] at places [V, H, W, 3] in cells."""
        wrapped = torch.remainder(places @ self.turn, float(_CELLS)) * (2.0 / _CELLS) - 1.0
        found = functional.grid_sample(self.block, wrapped[None], align_corners=True, padding_mode="border")
        return found[0].transpose(0, 1)


def footprints(points: Tensor) -> Tensor:
    """[V, H, W] metres between the points [V, H, W, 3] of pixels side by side, the larger of the two directions."""
    across = (points[:, :, 1:] - points[:, :, :-1]).norm(dim=-1)
    down = (points[:, 1:] - points[:, :-1]).norm(dim=-1)
    across = torch.cat([across, across[:, :, -1:]], 2)
    down = torch.cat([down, down[:, -1:]], 1)
    return torch.maximum(across, down).clamp(min=1e-4)
