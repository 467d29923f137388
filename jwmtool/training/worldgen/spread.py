"""How latents lie about their prior, channel by channel: what a network with a start is told before training."""

# N priors, V views, T frames, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jwmtool.training.worldgen.store import Cut, Stored, read_cut
from jwmtool.worldgen.start import COVERED, FILLED

_MOST_CLIPS = 64
_MUCH, _LITTLE = 0.95, 0.05  # coverage of a cell: at least, at most
_LEAST_CELLS = 100
_LEAST = 0.01


def measured_spread(clips: Sequence[Stored]) -> tuple[Tensor, Tensor] | None:  # [2, C] each
    """Gain and variance about gain x prior, of cells that are covered and of those that were only filled.

    By least squares, evenly from all clips, of the first prior of each; of a kind of which there are few cells, what a
    network has before. None where no clip has priors.

    Raises:
        InputError: a file of latents is missing or damaged.
    """
    sums, counts = None, torch.zeros(2)
    for stored in [s for s in clips if s.kinds][:: max(1, len(clips) // _MOST_CLIPS)]:
        cut = read_cut(stored, Cut(0, len(stored.cameras), 0, stored.num_frames), 0)
        coverage = cut["coverage"].mean(2)  # [V, T, h, w]
        for kind, cells in enumerate((coverage >= _MUCH, coverage <= _LITTLE)):
            x, p = (cut[name].movedim(2, -1)[cells] for name in ("latents", "prior"))  # [cells, C]
            if sums is None:
                sums = torch.zeros(3, 2, x.shape[1])
            sums[:, kind] += torch.stack([(p * p).sum(0), (x * p).sum(0), (x * x).sum(0)])
            counts[kind] += len(x)
    if sums is None:
        return None
    pp, xp, xx = sums
    gain = xp / pp.clamp_min(1e-6)
    variance = ((xx - gain * xp) / counts.clamp_min(1)[:, None]).clamp(_LEAST, 1.0 - _LEAST)
    first = torch.tensor([COVERED, FILLED]).T[:, :, None].expand(2, *gain.shape)
    enough = (counts >= _LEAST_CELLS)[:, None]
    return torch.where(enough, gain, first[0]), torch.where(enough, variance, first[1])
