"""How large the image autoencoder is, told without making its weights."""

from __future__ import annotations

from typing import Any

import torch

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS
from jwmtool.worldgen.counted import HEIGHT, WIDTH, gigaflops, weights_mb


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `autoencoder-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config = CONFIGS[size_of(name, "autoencoder", CONFIGS)]
    with torch.device("meta"):
        network = Autoencoder(config)
        picture = torch.empty(1, 3, HEIGHT, WIDTH)
        latents = torch.empty(1, config.channels, HEIGHT // config.stride, WIDTH // config.stride)
    counts = {part: sum(p.numel() for p in module.parameters()) for part, module in network.named_children()}
    total = sum(counts.values())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": {"total": total, **counts},
        "weights_mb": weights_mb(total),
        "gflops": {"encode": gigaflops(network.encoder, picture), "decode": gigaflops(network.decoder, latents)},
        "assumed": f"gflops are of one picture of {WIDTH}x{HEIGHT} px, without a prior",
    }
