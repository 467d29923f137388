"""Which patches of a window a scene shows already, as well as the window itself would."""

# V views, Q tokens.
from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jwmtool.gaussians.model import Gaussians
from jwmtool.worldrec.cover import PATCH
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.views import Views

_WORSE, _BY = 1.25, 0.01  # as well: so many times the window's own error, and mean sRGB besides


@torch.no_grad()
def shown(
    gaussians: Gaussians,  # in the frame of the views
    times_s: Tensor,  # [V] at which to show them; those of views that are not finite show nothing
    found: Reconstruction,  # of the views
    views: Views,
) -> Tensor:  # [V * H/4 * W/4] bool
    """Patches of views that Gaussians show as well as the window's own reconstruction does."""
    rows, columns = views.size[0] // PATCH, views.size[1] // PATCH
    patches = torch.zeros(len(views), rows, columns, dtype=torch.bool, device=views.images.device)
    scene = replace(found, gaussians=gaussians)
    for v in times_s.isfinite().nonzero()[:, 0].tolist():
        theirs = _errors(scene, float(times_s[v]), found.exposure[v], views, v)
        mine = _errors(found, float(views.times_s[v]), found.exposure[v], views, v)
        patches[v] = theirs <= _WORSE * mine + _BY
    return patches.flatten()


def _errors(scene: Reconstruction, time_s: float, exposure: Tensor, views: Views, v: int) -> Tensor:
    """[H/4, W/4] mean absolute difference, sRGB, of one view."""
    color, _ = scene.render(views.camera(v), time_s, exposure)
    error = (color.clamp(0.0, 1.0).permute(2, 0, 1) - views.images[v]).abs().mean(0)
    return avg_pool2d(error[None, None], PATCH)[0, 0]
