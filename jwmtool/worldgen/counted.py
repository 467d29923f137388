"""Parameters and operations of small networks, counted on tensors that have shapes and no memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

WIDTH, HEIGHT = 224, 128  # px, of the picture that operations are told for


def gigaflops(part: nn.Module, *given: Any) -> float:
    """Of one pass, in thousand millions."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        part(*given)
    return round(counter.get_total_flops() / 1e9, 2)


def weights_mb(parameters: int) -> dict[str, float]:
    """Of so many parameters."""
    return {"float32": round(4 * parameters / 2**20, 1), "float16": round(2 * parameters / 2**20, 1)}
