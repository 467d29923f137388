"""A WorldGen small enough for tests, all of whose weights say something, and clips for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jwmtool.worldgen.conditions import Conditions
from jwmtool.worldgen.config import WorldGenConfig
from jwmtool.worldgen.transformer import WorldGen

TINY = WorldGenConfig(
    layers=2, heads=2, head_dim=12, ffn_dim=40, patch=2, in_channels=3, out_channels=4, concat_channels=5, text_dim=7,
    text_len=6, freq_dim=16, ego_dim=4, num_tags=3, cross_view=True, latent_rate_hz=5.0,
)  # fmt: skip


def tiny(seed: int = 0, **changes: Any) -> WorldGen:
    """With random weights everywhere, also where a new network has zeros."""
    torch.manual_seed(seed)
    model = WorldGen(replace(TINY, **changes))
    for name, parameter in model.named_parameters():
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        torch.nn.init.normal_(parameter, around, 0.2)
    return model.eval()


def clip(
    config: WorldGenConfig, B: int = 2, V: int = 2, T: int = 6, size: tuple[int, int] = (4, 6), seed: int = 1
) -> tuple[Tensor, Tensor, Conditions]:
    """Latents, timesteps and all conditions; frames are not quite evenly spaced."""
    noise = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=noise)

    times_s = torch.arange(T) / config.latent_rate_hz + 0.02 * random(B, T)
    mask = torch.arange(5)[None] < torch.tensor([5, 3])[:B, None]
    conditions = Conditions(
        times_s=times_s.double(),
        text=random(B, 5, config.text_dim),
        text_mask=mask,
        ego=random(B, T, config.ego_dim),
        concat=random(B, V, T, config.concat_channels, *size),
        tags=torch.randint(2, (B, 2), generator=noise) if config.num_tags else None,
    )
    return random(B, V, T, config.in_channels, *size), torch.rand(B, T, generator=noise), conditions


def frames(conditions: Conditions, where: slice) -> Conditions:
    """The conditions of some frames."""
    ego, concat = conditions.ego, conditions.concat
    return replace(
        conditions,
        times_s=conditions.times_s[:, where],
        ego=None if ego is None else ego[:, where],
        concat=None if concat is None else concat[:, :, where],
    )
