"""What velocities are held against: the true motion of made worlds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.training.worldrec.depth_loss import mean_over
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.sampling import nearest
from jwmtool.worldrec.views import Views

_NEAR_MPS = 1.5  # a base this near to the truth stands for it


def motion_loss(made: Reconstruction, views: Views) -> Tensor | None:
    """Of the queries that were swept: cross entropy of the true velocity's base, and how far off their mean is.

    None without truth, or where nothing was swept.
    """
    motion, pixels = made.motion, made.pixels
    if motion is None or pixels is None or views.velocity is None or views.depth_m is None or not len(motion.rows):
        return None
    view, xy = pixels.view[motion.rows], pixels.xy[motion.rows]
    true = nearest(views.velocity.permute(0, 3, 1, 2), view, xy)
    depth_m = nearest(views.depth_m[:, None], view, xy)[:, 0]
    known = (depth_m > 0.0) & torch.isfinite(depth_m)
    gap, base = torch.cdist(true, motion.tried).min(1)
    chosen = functional.cross_entropy(motion.logits, base, reduction="none")
    off = (motion.velocity - true).norm(dim=1) / (1.0 + true.norm(dim=1))
    # What moves is rare and matters: it weighs as much as all that stands.
    moves = (true.norm(dim=1) > 0.5).float()
    weight = 1.0 + moves * ((1.0 - moves).sum() / moves.sum().clamp(min=1.0)).clamp(max=10.0)
    return mean_over(weight * (0.2 * chosen * (gap < _NEAR_MPS) + off), known)
