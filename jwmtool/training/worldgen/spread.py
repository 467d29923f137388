"""How far latents lie from their prior, channel by channel: what a network with a start is told before training."""

# N priors, V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jwmtool.training.worldgen.store import Cut, Stored, read_cut

_MOST_CLIPS = 64
_COVERED = 0.95  # of a cell
_LEAST = 0.01


def measured_spread(clips: Sequence[Stored]) -> Tensor | None:  # [C]
    """Mean squared difference in cells that a scene covers; None where no clip has a prior.

    Taken evenly from all clips, of the first prior of each.

    Raises:
        InputError: a file of latents is missing or damaged.
    """
    total, count = torch.zeros(()), 0
    for stored in [s for s in clips if s.kinds][:: max(1, len(clips) // _MOST_CLIPS)]:
        cut = read_cut(stored, Cut(0, len(stored.cameras), 0, stored.num_frames), 0)
        covered = cut["coverage"].mean(2) >= _COVERED  # [V, T, h, w]
        squares = (cut["latents"] - cut["prior"]).square().movedim(2, -1)[covered]  # [cells, C]
        total, count = total + squares.sum(0), count + len(squares)
    return (total / count).clamp(_LEAST, 1.0 - _LEAST) if count else None
