"""Which frames see which: boolean masks [frames that ask, frames that are seen], True where seen.

Attention is causal by chunks: a chunk of latent frames is denoised together, after all chunks before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.errors import UsageError


@dataclass(frozen=True)
class Causal:
    """Block-causal attention.

    Attributes:
        chunk: latent frames that are denoised together.
        window: latent frames that a chunk sees, its own (if it is whole) among them; None: all before it.
        sink: first frames of the video, which are seen beyond the window.
        teacher_forced: the sequence is [clean, noisy], each with all frames. Noisy chunks see themselves and what is
            clean before them; clean ones see clean ones.
    """

    chunk: int
    window: int | None = None
    sink: int = 0
    teacher_forced: bool = False

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise UsageError(f"attention: expected chunk of 1 latent frame or more, found {self.chunk}")
        if self.window is not None and self.window < self.chunk:
            raise UsageError(f"attention: expected window of {self.chunk} (the chunk) or more, found {self.window}")
        if self.sink < 0:
            raise UsageError(f"attention: expected sink of 0 or more, found {self.sink}")


def block_causal(
    queries: Sequence[int],  # numbers of frames, counted from the video's first
    keys: Sequence[int],
    causal: Causal,
) -> Tensor:  # [queries, keys]
    """A frame sees its own chunk and those before; of these only the window and the sink, where there is a window."""
    query, key = torch.as_tensor(queries)[:, None], torch.as_tensor(keys)[None, :]
    own = query // causal.chunk
    seen = key // causal.chunk <= own
    if causal.window is not None:
        seen &= (key >= (own + 1) * causal.chunk - causal.window) | (key < causal.sink)
    return seen


def teacher_forcing(num_frames: int, causal: Causal) -> Tensor:  # [2 * num_frames, 2 * num_frames]
    """Of the sequence [clean, noisy]."""
    numbers = torch.arange(num_frames)
    chunks = numbers // causal.chunk
    own = chunks[:, None] == chunks[None, :]
    past = block_causal(range(num_frames), range(num_frames), causal)
    clean = torch.cat((past, torch.zeros_like(past)), dim=1)
    noisy = torch.cat((past & ~own, own), dim=1)
    return torch.cat((clean, noisy))
