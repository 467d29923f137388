"""Latents chunk by chunk: one small interface for models that look both ways and for those that stream."""

# V views, C channels, h x w latent cells.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from jwmtool.errors import UsageError
from jwmtool.worldgen.known import GROUPS, Known
from jwmtool.worldgen.sampler import Network, Sampling, sample

CHUNK, OVERLAP = 16, 4  # frames
_TIME_AXES = {"times_s": 1, "ego": 1, "prior": 2, "coverage": 2, "rays": 2, "layout": 2}
Progress = Callable[[float], None]  # is told how much of a chunk is done, in [0, 1]


class Chunks(Protocol):
    """Makes one video; keeps what it needs of what it made, so that memory does not grow with length."""

    def size(self) -> int:
        """Frames that the next chunk should have; the last one may have fewer."""
        ...

    def push(
        self,
        known: Known,  # of the n frames that follow
        noise: Tensor,  # [1, V, n, C, h, w]
        first: Tensor | None = None,  # [1, V, K, C, h, w], K <= n: the first frames of the video, where they are known
        progress: Progress | None = None,
    ) -> Tensor:
        """The latents [1, V, n, C, h, w] of the frames that follow."""
        ...


@dataclass
class Overlapping:
    """A model that looks both ways: each chunk begins with the end of the one before, as frames that are known.

    Attributes:
        model: a `WorldGen`, say.
        stride: px a latent cell is wide.
        sampling: how noise becomes latents.
        chunk, overlap: frames in all, and those of them that were made before.
    """

    model: Network
    stride: int
    sampling: Sampling
    chunk: int = CHUNK
    overlap: int = OVERLAP
    _known: Known | None = None
    _noise: Tensor | None = None
    _latents: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 < self.overlap < self.chunk:
            raise UsageError(f"chunks: expected an overlap from 1 to {self.chunk - 1}, found {self.overlap}")

    def size(self) -> int:
        """All of the first chunk is new."""
        return self.chunk if self._latents is None else self.chunk - self._latents.shape[2]

    def push(
        self, known: Known, noise: Tensor, first: Tensor | None = None, progress: Progress | None = None
    ) -> Tensor:
        """See `Chunks`."""
        n = noise.shape[2]
        if self._known is not None and self._noise is not None and self._latents is not None:
            known, noise, first = joined(self._known, known), torch.cat((self._noise, noise), dim=2), self._latents
        if first is not None and first.shape[2] == noise.shape[2]:
            latents = first.float()  # nothing is left to make
        else:
            tick = None if progress is None else lambda step: progress(step / self.sampling.steps)
            latents = sample(self.model, known, noise, self.stride, self.sampling, first, tick)
        kept = min(self.overlap, latents.shape[2])
        self._known, self._noise, self._latents = last(known, kept), noise[:, :, -kept:], latents[:, :, -kept:]
        return latents[:, :, -n:]


def joined(before: Known, after: Known) -> Known:
    """One stretch of frames after another; both know the same parts, but that the first may have had no prior yet."""
    parts: dict[str, Any] = {}
    for name, axis in _TIME_AXES.items():
        a, b = getattr(before, name), getattr(after, name)
        if a is None and b is not None and name in GROUPS["prior"]:
            frames = before.times_s.shape[1]
            a = b.new_zeros(*b.shape[:axis], frames, *b.shape[axis + 1 :])
        if (a is None) != (b is None):
            raise ValueError(f"joined: expected {name} of both stretches or of none")
        parts[name] = None if a is None else torch.cat((a, b), dim=axis)
    return replace(after, **parts)


def last(known: Known, num_frames: int) -> Known:
    """The end of a stretch."""
    parts: dict[str, Any] = {}
    for name in (f.name for f in fields(known) if f.name in _TIME_AXES):
        part, axis = getattr(known, name), _TIME_AXES[name]
        parts[name] = None if part is None else part.narrow(axis, part.shape[axis] - num_frames, num_frames)
    return replace(known, **parts)
