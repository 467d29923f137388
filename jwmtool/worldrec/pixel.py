"""The rivals' design: one Gaussian for each pixel of every view, or for each 2 x 2 of them, from a dense head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.gaussians.model import Gaussians
from jwmtool.imaging.residual import Block, zero
from jwmtool.worldrec.decoder import Guess, Head, surfels
from jwmtool.worldrec.life import BETWEEN, gaps
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.surfels import Pixels
from jwmtool.worldrec.views import Views

_SPEED_MPS = 20.0


class PixelHead(nn.Module):
    """A convolutional trunk at stride 2, and the same head as the sparse decoder's at each pixel."""

    def __init__(self, features: int, step: int = 1, *, motion: bool = True) -> None:
        super().__init__()
        self.step, self.motion = step, motion
        self.trunk = nn.Sequential(nn.Conv2d(features, 48, 3, padding=1), Block(48), Block(48))
        self.head = Head(48, features)
        self.velocity = nn.Linear(48, 3)
        zero(self.velocity)

    def forward(self, views: Views, features: Tensor, depth: DepthMaps) -> Gaussians:
        """Gaussians of all usable pixels (or cells of them) that are not surely sky; features [V, F, H/2, W/2]."""
        step = self.step
        keep = views.usable & (depth.sky.detach() < 2.0)
        # A cell counts whole or not at all, as its first pixel does: there are a quarter as many then, not more.
        view, row, column = keep[:, ::step, ::step].nonzero(as_tuple=True)
        row, column = row * step, column * step
        pixels = Pixels(view, torch.stack([column, row], 1) + 0.5 * step)
        dense = self.trunk(features.contiguous(memory_format=torch.channels_last))
        # At stride 2 first: four pixels share what the linear maps make of their cell.
        cells = dense.permute(0, 2, 3, 1)
        shared = self.head.outer(cells)[view, row // 2, column // 2]
        speed = _SPEED_MPS * torch.tanh(0.1 * self.velocity(cells)) * self.motion
        pose = views.scene_from_cam[view][:, :3, :3]
        velocity = (pose @ speed[view, row // 2, column // 2][..., None])[..., 0]
        life = (BETWEEN * gaps(views))[view]
        one = torch.ones_like(life)
        guess = Guess(moved=one, spacing_px=step * one, life=life, velocity=velocity)
        return surfels(views, features, depth, pixels, guess, shared, self.head)
