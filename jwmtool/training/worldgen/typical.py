"""What frames mostly look like, measured on training clips: the patterns that a network with a start knows."""

# n frames, C channels, h x w latent cells, K patterns, M mixed channels.
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from jwmtool.training.worldgen.store import Cut, Stored, read_cut
from jwmtool.worldgen.patterns import GRID, GROUPS, MIXED
from jwmtool.worldgen.tags import NUM_TAGS, TAGS, tag_numbers

_FRAMES_EACH = 4  # for each pattern, at least
_RIDGE = 4.0  # frames that pull an effect towards 0
_LEAST = 1e-2


def measured_patterns(clips: Sequence[Stored], count: int) -> dict[str, Tensor] | None:
    """For `FramePatterns.measured`: principal components of frames, and what of their strengths tags explain.

    Of some frames of every camera. None where there are too few to tell patterns from chance.

    Raises:
        InputError: a file of latents is missing or damaged.
    """
    frames, tags = _frames(clips)
    return principal(frames, tags, count) if len(frames) >= _FRAMES_EACH * count else None


def principal(frames: Tensor, tags: Tensor, count: int) -> dict[str, Tensor]:
    """Patterns of frames [n, C, *GRID] with one-hot tags [n, NUM_TAGS]."""
    channels = frames.shape[1]
    mean = frames.mean(0)
    off = (frames - mean).flatten(1)
    _, _, rows = torch.svd_lowrank(off, count + 8, niter=4)
    basis = rows[:, :count].T  # [K, C * h * w]
    size = (off @ basis.T).std(0)
    fields = torch.cat([mean[None], (basis * size[:, None]).view(count, *mean.shape)])
    _, vectors = torch.linalg.eigh(torch.einsum("kchw,kdhw->cd", fields, fields))
    mixing = vectors[:, -MIXED:].T  # orthonormal
    patterns = torch.einsum("kchw,mc->kmhw", fields, mixing)
    maps = torch.einsum("kmhw,mc->kchw", patterns, mixing).flatten(1)
    off = frames.flatten(1) - maps[0]
    strengths = torch.linalg.lstsq(maps[1:].T, off.T, driver="gelsd").solution.T  # [n, K]
    rest = (off - strengths @ maps[1:]).view(-1, channels, *GRID).square().mean((0, 2, 3))
    effects = torch.linalg.solve(tags.T @ tags + _RIDGE * torch.eye(NUM_TAGS), tags.T @ strengths)
    told = [tags * (torch.tensor(GROUPS) == group) @ effects for group in range(len(TAGS))]
    return {
        "patterns": patterns, "mixing": mixing, "effects": effects, "rest": rest.clamp_min(_LEAST),
        "spread": (strengths - tags @ effects).var(0).clamp_min(_LEAST),
        "untold": torch.stack([part.var(0) for part in told]),
    }  # fmt: skip


def _frames(clips: Sequence[Stored]) -> tuple[Tensor, Tensor]:
    """[n, C, *GRID] and one-hot tags [n, NUM_TAGS]."""
    frames, tags = [torch.empty(0)], [torch.empty(0, NUM_TAGS)]
    for stored in clips:
        numbers = tag_numbers(stored.tags)
        told = torch.zeros(NUM_TAGS)
        told[numbers[numbers >= 0]] = 1.0
        last = stored.num_frames - 1
        for first in sorted({0, last // 2, last}):
            latents = read_cut(stored, Cut(0, len(stored.cameras), first, 1), None)["latents"][:, 0]
            frames.append(latents if latents.shape[2:] == GRID else interpolate(latents, GRID, mode="area"))
            tags.append(told.expand(len(latents), -1))
    return torch.cat(frames[1:] or frames), torch.cat(tags)
