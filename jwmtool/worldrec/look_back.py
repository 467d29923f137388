"""A look back: the scene is rendered once at each of a window's pictures, and they say how long Gaussians show.

The network guesses lives by how well it knows depths. Rendering knows better: where a Gaussian that is still there at
another picture's time makes that picture worse, it should have gone, and where it makes it better, it should stay.
What is asked is the gradient of the photometric loss with respect to each life, before its middle and after it; how
far a side moves is how much the pictures agree, not how large the gradient is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from jwmtool.gaussians.model import STATIC_SIGMA_S, Gaussians
from jwmtool.imaging.photometric import photometric_loss
from jwmtool.worldrec.reconstruction import Reconstruction
from jwmtool.worldrec.views import Views

_STEP = 1.0  # log life, where all pictures agree
_OLDER = 0.125  # of that for lives whose middle is before the window: other pictures have a say there, too
_MIDDLE = 0.6  # standard deviations of a side by which the middle follows it
_AT_ONCE_S = 1e-3
_FAINT = 0.02  # of its opacity: less of a Gaussian is not asked about


def looked_back(gaussians: Gaussians, found: Reconstruction, views: Views) -> Gaussians:
    """Gaussians with lives as pictures agree on; what is there for all time stays so.

    Args:
        gaussians: in the frame of the views.
        found: of the views, for its sky and exposure.
    """
    if not len(gaussians):
        return gaussians
    early, late = agreement(gaussians, found, views)
    older = gaussians.time_mid < views.times_s.min() - _AT_ONCE_S
    step = torch.where(older, _OLDER * _STEP, _STEP) * (gaussians.time_sigma < STATIC_SIGMA_S)
    before, after = (gaussians.time_sigma * torch.exp(step * side) for side in (early, late))
    later = 0.5 * _MIDDLE * (after - before)
    return gaussians.replace(
        means=gaussians.means + gaussians.velocity * later[:, None],
        time_mid=gaussians.time_mid + later,
        time_sigma=0.5 * (before + after),
    )


def agreement(gaussians: Gaussians, found: Reconstruction, views: Views) -> tuple[Tensor, Tensor]:
    """How much pictures want Gaussians to show longer before their middles, and after: [N] and [N].

    From -1 to 1, their absolute values at most 1 in sum; 0 of what no picture could show.
    """
    early, late, asked = (torch.zeros_like(gaussians.time_sigma) for _ in range(3))
    for view, time_s in enumerate(views.times_s.tolist()):
        rows = (gaussians.at(time_s)[1] > _FAINT * gaussians.opacities).nonzero()[:, 0]
        some = gaussians.select(rows)
        wanted = -life_gradient(some, found, views, view)
        first = time_s < some.time_mid
        early[rows] += torch.where(first, wanted, 0.0)
        late[rows] += torch.where(first, 0.0, wanted)
        asked[rows] += wanted.abs()
    asked = asked.clamp(min=torch.finfo(asked.dtype).tiny)
    return early / asked, late / asked


@torch.enable_grad()
def life_gradient(gaussians: Gaussians, found: Reconstruction, views: Views, view: int) -> Tensor:
    """[N] of the photometric loss of a view, with respect to the logarithms of lives."""
    longer = torch.zeros_like(gaussians.time_sigma).requires_grad_()
    shown = gaussians.detach().replace(time_sigma=gaussians.time_sigma.detach() * longer.exp())
    scene = replace(found, gaussians=shown)
    color, _ = scene.render(views.camera(view), float(views.times_s[view]), found.exposure[view].detach())
    loss = photometric_loss(color, views.images[view].permute(1, 2, 0), views.usable[view])
    return torch.autograd.grad(loss, longer)[0]
