"""The rivals' design: one Gaussian for each pixel of every view, from a dense head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.gaussians.model import Gaussians
from jwmtool.worldrec.decoder import Head, gaps, surfels
from jwmtool.worldrec.features import Block, zero
from jwmtool.worldrec.reconstruction import DepthMaps
from jwmtool.worldrec.surfels import Pixels
from jwmtool.worldrec.views import Views

_SPEED_MPS = 20.0
_LIFE = 0.6  # of the time to the next view


class PixelHead(nn.Module):
    """A convolutional trunk at stride 2, and the same head as the sparse decoder's at each pixel."""

    def __init__(self, features: int, *, motion: bool = True) -> None:
        super().__init__()
        self.motion = motion
        self.trunk = nn.Sequential(nn.Conv2d(features, 48, 3, padding=1), Block(48), Block(48))
        self.head = Head(48, features)
        self.velocity = nn.Linear(48, 3)
        zero(self.velocity)

    def forward(self, views: Views, features: Tensor, depth: DepthMaps) -> Gaussians:
        """Gaussians of all usable pixels that are not surely sky; features [V, F, H/2, W/2]."""
        keep = views.usable & (depth.sky.detach() < 2.0)
        view, row, column = keep.nonzero(as_tuple=True)
        pixels = Pixels(view, torch.stack([column, row], 1) + 0.5)
        dense = self.trunk(features.contiguous(memory_format=torch.channels_last))
        # At stride 2 first: four pixels share what the linear maps make of their cell.
        cells = dense.permute(0, 2, 3, 1)
        shared = self.head.outer(cells)[view, row // 2, column // 2]
        speed = _SPEED_MPS * torch.tanh(0.1 * self.velocity(cells)) * self.motion
        pose = views.scene_from_cam[view][:, :3, :3]
        velocity = (pose @ speed[view, row // 2, column // 2][..., None])[..., 0]
        life = (_LIFE * gaps(views))[view]
        return surfels(views, features, depth, pixels, torch.ones_like(life), shared, self.head, 1.0, life, velocity)
