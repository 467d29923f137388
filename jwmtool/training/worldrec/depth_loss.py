"""Losses on the network's coarse depth, where depth is known."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from jwmtool.worldrec.reconstruction import DepthMaps

FARTHEST = 1.0 / 300.0  # 1/m; logarithms end there
_LEAST_LOG_ERROR, _LARGEST_LOG_ERROR = -5.0, 3.0
_RELATIVE_TO = 0.01  # 1/m: errors beyond 100 m count as those at 100 m
_GRADIENT_UNIT = 0.1  # 1/m
_GRADIENT_SCALES = 4


def known_depth(depth_m: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """True inverse depth, 1/m (0 in the sky), and where it is known; both as `depth_m` [V, H, W] (0: unknown)."""
    known = (depth_m > 0.0) & usable
    return torch.where(known, 1.0 / depth_m.clamp(min=1e-3), torch.zeros_like(depth_m)), known


def plane_loss(logits: Tensor, inverse: Tensor, known: Tensor, nearest_m: float, dense: bool) -> Tensor:
    """Divergence of the planes' shares from the truth, which its two nearest planes share linearly; 0 is perfect.

    Args:
        logits: [V, D, H/4, W/4]; plane k lies at inverse depth k / (D - 1) / nearest_m.
        inverse, known: [V, H, W] the truth at full size.
        dense: the truth is whole: the pixel in the middle of a cell counts; of a sparse one the nearest in the cell.
    """
    planes, (height, width) = logits.shape[1], logits.shape[2:]
    if dense:
        target, mask = inverse[:, 2::4, 2::4], known[:, 2::4, 2::4]
    else:
        marked = torch.where(known, inverse, torch.full_like(inverse, -1.0))
        target = functional.max_pool2d(marked[:, None], 4)[:, 0]
        mask = target >= 0.0
    target, mask = target[:, :height, :width], mask[:, :height, :width]
    place = (target * (planes - 1) * nearest_m).clamp(0.0, planes - 1.0)
    lower = place.floor().clamp(max=planes - 2)
    upper_share = place - lower
    log_shares = logits.float().log_softmax(1)
    at_lower = log_shares.gather(1, lower.long()[:, None])[:, 0]
    at_upper = log_shares.gather(1, lower.long()[:, None] + 1)[:, 0]
    best = torch.xlogy(upper_share, upper_share) + torch.xlogy(1.0 - upper_share, 1.0 - upper_share)
    return mean_over(best - (1.0 - upper_share) * at_lower - upper_share * at_upper, mask)


def log_errors(inverse: Tensor, truth: Tensor) -> Tensor:
    """|log ratio| of two inverse depths, both taken as 300 m where they lie beyond."""
    return (inverse.float().clamp(min=FARTHEST).log() - truth.clamp(min=FARTHEST).log()).abs()


def likelihood_loss(depth: DepthMaps, inverse: Tensor, known: Tensor) -> Tensor:
    """Negative log likelihood of the log depth's error under a Laplace distribution of the predicted scale."""
    log_scale = depth.log_error.float().clamp(_LEAST_LOG_ERROR, _LARGEST_LOG_ERROR)
    return mean_over(log_errors(depth.inverse, inverse) * torch.exp(-log_scale) + log_scale, known)


def relative_loss(depth: DepthMaps, inverse: Tensor, known: Tensor) -> Tensor:
    """Error of the inverse depth as a share of the true one."""
    return mean_over((depth.inverse.float() - inverse).abs() / inverse.clamp(min=_RELATIVE_TO), known)


def gradient_loss(depth: DepthMaps, inverse: Tensor, known: Tensor) -> Tensor:
    """Differences of the inverse depth's error between pixels 1, 2, 4 and 8 apart: edges stay, ripples go.

    As in MegaDepth (Li and Snavely 2018).
    """
    error = (depth.inverse.float() - inverse) / _GRADIENT_UNIT
    total = error.new_zeros(())
    for scale in range(_GRADIENT_SCALES):
        part, mask = error[:, :: 2**scale, :: 2**scale], known[:, :: 2**scale, :: 2**scale]
        total = total + mean_over((part[:, 1:] - part[:, :-1]).abs(), mask[:, 1:] & mask[:, :-1])
        total = total + mean_over((part[:, :, 1:] - part[:, :, :-1]).abs(), mask[:, :, 1:] & mask[:, :, :-1])
    return total / (2 * _GRADIENT_SCALES)


def sky_loss(depth: DepthMaps, sky: Tensor, usable: Tensor) -> Tensor:
    """Cross-entropy of the sky's logit; `sky` [V, H, W] bool."""
    each = functional.binary_cross_entropy_with_logits(depth.sky.float(), sky.float(), reduction="none")
    return mean_over(each, usable)


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values where the mask is True; 0 where it never is."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp(min=1)
