"""How large the first-frame network is, told without making its weights."""

from __future__ import annotations

from typing import Any

import torch

from jwmtool.artifacts.config_values import size_of
from jwmtool.worldgen.counted import HEIGHT, WIDTH, gigaflops, weights_mb
from jwmtool.worldgen.first_frame import CONFIGS, FirstFrame, noises
from jwmtool.worldgen.rays import CHANNELS
from jwmtool.worldgen.tags import TAGS


def describe_config(name: str) -> dict[str, Any]:
    """What `jwm info --config` tells of a network by its name, `first-frame-mini` say.

    Raises:
        UsageError: no such network; the message names those there are.
    """
    config = CONFIGS[size_of(name, "first-frame", CONFIGS)]
    with torch.device("meta"):
        network = FirstFrame(config)
        first, second, small = (torch.empty(1, *shape) for shape in noises((WIDTH, HEIGHT)))
        given = torch.empty(1, CHANNELS, *first.shape[2:]), torch.empty(1, 2), torch.zeros(1, len(TAGS)).long()
    counts = {part: sum(p.numel() for p in module.parameters()) for part, module in network.named_children()}
    total = sum(counts.values())
    return {
        "config": name,
        **config.to_dict(),
        "parameters": {"total": total, **counts},
        "weights_mb": weights_mb(total),
        "gflops": {"coarse": gigaflops(network, first, *given), "fine": gigaflops(network, second, *given, small)},
        "assumed": f"gflops are of one step for a picture of {WIDTH}x{HEIGHT} px, without guidance",
    }
