"""What the autoencoder is trained for: pictures as they were, and latents of unit size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.imaging.photometric import photometric_loss
from jwmtool.worldgen.autoencoder import Coded

_SCALES = 3  # of edges: every pixel, every second, every fourth


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; that of the mean absolute difference is 1.

    Attributes:
        structure: of 1 - SSIM.
        edges: of the difference between neighboring pixels' differences.
        moments: of what keeps the latents' channels at zero mean and unit deviation.
    """

    structure: float = 0.1
    edges: float = 0.5
    moments: float = 0.05


def autoencoder_loss(
    coded: Coded,
    images: Tensor,  # [N, 3, H, W] in [0, 1]
    weights: LossWeights,
) -> tuple[Tensor, dict[str, float | Tensor]]:
    """The loss, and its unweighted terms: `photometric` (L1 and SSIM), `edges`, `moments`."""
    made = coded.images.float()
    photometric = _photometric(made, images, weights.structure)
    edges = edge_difference(made, images)
    moments = moment_distance(coded.latents.float())
    loss = photometric + weights.edges * edges + weights.moments * moments
    return loss, {"photometric": photometric, "edges": edges, "moments": moments}


def edge_difference(
    made: Tensor,  # [N, 3, H, W]
    images: Tensor,  # [N, 3, H, W]
) -> Tensor:
    """Mean absolute difference of horizontal and vertical gradients, over three scales; a scalar."""
    error = made - images
    total = torch.zeros((), device=made.device)
    for scale in range(_SCALES):
        if scale:
            error = functional.avg_pool2d(error, 2)
        across, down = error.diff(dim=-1).abs().mean(), error.diff(dim=-2).abs().mean()
        total = total + (across + down) / _SCALES
    return total


def moment_distance(
    latents: Tensor,  # [N, C, h, w]
) -> Tensor:
    """KL divergence to N(0, 1) of each channel's marginal, taken for normal, over the batch; their mean.

    A channel that says nothing would be infinitely far.
    """
    variance, mean = torch.var_mean(latents, (0, 2, 3), correction=0)
    variance = variance.clamp(min=1e-8)
    return 0.5 * (mean.square() + variance - variance.log() - 1.0).mean()


def _photometric(made: Tensor, images: Tensor, structure: float) -> Tensor:
    """Mean absolute difference and `structure` times 1 - SSIM; the mean over pictures."""
    total = 1.0 + structure
    each = [
        photometric_loss(x.permute(1, 2, 0), y.permute(1, 2, 0), ssim_weight=structure / total)
        for x, y in zip(made, images, strict=True)
    ]
    return total * torch.stack(each).mean()
