"""Flow matching: how far the velocity is from that of the straight way from data to noise (Lipman et al., 2023)."""

# B samples, V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

import torch
from torch import Tensor, nn

from jwmtool.training.worldgen.samples import known_of

_LOW, _HIGH = 1 / 3, 2 / 3  # timesteps that the log tells apart


def velocity_errors(model: nn.Module, batch: dict[str, Tensor], stride: int) -> Tensor:
    """[B] mean squared error of each sample's velocity, over its frames that are noisy (see `drawn_sample`)."""
    data, noise, noisy = batch["latents"], batch["noise"], batch["noisy"]
    t = batch["timesteps"][:, None, :, None, None, None]
    x = (1.0 - t) * data + t * noise
    velocity = model(x, batch["timesteps"], known_of(batch).conditions(data.shape[3], stride))
    errors = (velocity.float() - (noise - data)).square().mean((1, 3, 4, 5))  # [B, T]
    return torch.where(noisy, errors, 0.0).sum(1) / noisy.sum(1)


def terms(errors: Tensor, batch: dict[str, Tensor]) -> dict[str, float | Tensor]:
    """Means over samples of a kind, of kinds that there are."""
    t, prior = batch["timesteps"].amax(1), batch["has_prior"]
    kinds = {
        "near_data": t < _LOW,
        "midway": (t >= _LOW) & (t < _HIGH),
        "near_noise": t >= _HIGH,
        "with_prior": prior,
        "without_prior": ~prior,
    }
    return {f"loss_{kind}": errors[rows].mean() for kind, rows in kinds.items() if bool(rows.any())}
