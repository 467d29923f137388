"""What streaming remembers: keys and values of the sink and of a rolling window; constant memory for any length.

Keys are kept before their rotation, so that each chunk may turn them to where they stand as it sees them.
"""

# B samples, V views, F frames remembered, T new frames, P patches, H heads, D numbers of a head.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jwmtool.worldgen.mask import Causal, block_causal


@dataclass
class KVCache:
    """Of one layer.

    Attributes:
        keys, values: [B, V, F, P, H, D], or None before the first frame; keys before their rotation.
    """

    keys: Tensor | None = None
    values: Tensor | None = None

    def read(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What is remembered, followed by these [B, V, T, P, H, D]."""
        if self.keys is None or self.values is None:
            return keys, values
        return torch.cat((self.keys, keys), dim=2), torch.cat((self.values, values), dim=2)

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Remember these as well."""
        self.keys, self.values = self.read(keys, values)

    def evict(self, kept: Sequence[int]) -> None:
        """Forget all but these of the F frames."""
        if self.keys is not None and self.values is not None:
            where = torch.tensor(kept, dtype=torch.int64, device=self.keys.device)
            self.keys, self.values = self.keys.index_select(2, where), self.values.index_select(2, where)


@dataclass
class Memory:
    """Of the whole network, from one chunk to the next.

    Attributes:
        causal: how chunks attend.
        layers: a cache for each.
        numbers: of the F frames remembered, counted from the video's first.
        times: [B, F] their time coordinates; None before the first.
        seen: frames remembered or forgotten so far: the number of the next one.
    """

    causal: Causal
    layers: list[KVCache]
    numbers: list[int] = field(default_factory=list)
    times: Tensor | None = None
    seen: int = 0

    def new_numbers(self, num_frames: int) -> list[int]:
        """Of the next frames.

        Raises:
            ValueError: the chunk before was not whole, so that these would belong to it.
        """
        if self.seen % self.causal.chunk:
            raise ValueError(f"Memory: expected whole chunks of {self.causal.chunk} frames, found {self.seen} so far")
        return list(range(self.seen, self.seen + num_frames))

    def all_times(self, times: Tensor) -> Tensor:
        """Of the frames remembered, followed by these [B, T]."""
        return times if self.times is None else torch.cat((self.times, times), dim=1)

    def advance(self, times: Tensor) -> None:
        """All layers hold new frames of times [B, T]: forget what the next chunk will not see."""
        times = self.all_times(times)
        numbers = self.numbers + self.new_numbers(times.shape[1] - len(self.numbers))
        self.seen = numbers[-1] + 1
        seen_next = block_causal([self.seen], numbers, self.causal)[0].tolist()
        kept = [k for k, stays in enumerate(seen_next) if stays]
        self.numbers, self.times = [numbers[k] for k in kept], times[:, kept]
        if len(kept) < len(numbers):
            for layer in self.layers:
                layer.evict(kept)
