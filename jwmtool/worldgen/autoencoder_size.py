"""How large the image autoencoder is, told without making its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.autoencoder import Autoencoder
from jwmtool.worldgen.autoencoder_config import CONFIGS

_WIDTH, _HEIGHT = 224, 128  # px, of the picture that operations are told for


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `autoencoder-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config = CONFIGS[size_of(name, "autoencoder", CONFIGS)]
    with torch.device("meta"):
        network = Autoencoder(config)
        picture = torch.empty(1, 3, _HEIGHT, _WIDTH)
        latents = torch.empty(1, config.channels, _HEIGHT // config.stride, _WIDTH // config.stride)
    counts = {part: sum(p.numel() for p in module.parameters()) for part, module in network.named_children()}
    total = sum(counts.values())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": {"total": total, **counts},
        "weights_mb": {"float32": round(4 * total / 2**20, 1), "float16": round(2 * total / 2**20, 1)},
        "gflops": {"encode": _giga(network.encoder, picture), "decode": _giga(network.decoder, latents)},
        "assumed": f"gflops are of one picture of {_WIDTH}x{_HEIGHT} px, without a prior",
    }


def _giga(part: nn.Module, given: torch.Tensor) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        part(given)
    return round(counter.get_total_flops() / 1e9, 2)
