"""How large the repair network is, told without making its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.repair import CHANNELS, CONFIGS, Repair, Seen

_WIDTH, _HEIGHT = 224, 128  # px, of the picture that operations are told for


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `repair-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config, counter = CONFIGS[size_of(name, "repair", CONFIGS)], FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        network = Repair(config)
        network(Seen(*(torch.empty(1, count, _HEIGHT, _WIDTH) for count in CHANNELS.values())))
    total = sum(p.numel() for p in network.parameters())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": total,
        "weights_mb": {"float32": round(4 * total / 2**20, 1), "float16": round(2 * total / 2**20, 1)},
        "gflops": round(counter.get_total_flops() / 1e9, 2),
        "assumed": f"gflops are of one picture of {_WIDTH}x{_HEIGHT} px",
    }
