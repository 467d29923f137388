"""How large the repair network is, told without making its weights."""

from __future__ import annotations

from typing import Any

import torch

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.counted import HEIGHT, WIDTH, gigaflops, weights_mb
from jwmtool.worldgen.repair import CHANNELS, CONFIGS, Repair, Seen


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `repair-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config = CONFIGS[size_of(name, "repair", CONFIGS)]
    with torch.device("meta"):
        network = Repair(config)
        seen = Seen(*(torch.empty(1, count, HEIGHT, WIDTH) for count in CHANNELS.values()))
    total = sum(p.numel() for p in network.parameters())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": total,
        "weights_mb": weights_mb(total),
        "gflops": gigaflops(network, seen),
        "assumed": f"gflops are of one picture of {WIDTH}x{HEIGHT} px",
    }
