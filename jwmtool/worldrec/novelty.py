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


@torch.no_grad()
def errors(
    found: Reconstruction,  # of the views, for its sky and exposure
    gaussians: Gaussians,  # in the frame of the views
    times_s: Tensor,  # [V] at which to show them
    views: Views,
) -> Tensor:  # [V, H/4, W/4]
    """Mean absolute difference of each patch to the views, sRGB; inf where a view's time is not finite."""
    rows, columns = views.size[0] // PATCH, views.size[1] // PATCH
    scene = replace(found, gaussians=gaussians)
    result = views.images.new_full((len(views), rows, columns), torch.inf)
    for v in times_s.isfinite().nonzero()[:, 0].tolist():
        color, _ = scene.render(views.camera(v), float(times_s[v]), found.exposure[v])
        error = (color.clamp(0.0, 1.0).permute(2, 0, 1) - views.images[v]).abs().mean(0)
        result[v] = avg_pool2d(error[None, None], PATCH)[0, 0]
    return result


def as_well(theirs: Tensor, mine: Tensor, worse: Tensor | float, by: Tensor | float) -> Tensor:
    """Bool like `theirs`: patches whose errors are at most `worse` times those of the window itself, and `by` more."""
    return theirs <= worse * mine + by
