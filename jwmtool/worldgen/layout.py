"""How frames look at each other: groups of frames that see the same ones, and where in time these stand.

A mask by frames falls apart into such groups, so that attention needs no mask by tokens (which at full size takes a
gigabyte) and does no work for what is not seen.

Once the frames that follow the sink have left the window, the sink stands one step before the window, however long ago
it was: distances in time stay within what training has seen. Training lays out long sequences alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jwmtool.worldgen.cache import Memory
from jwmtool.worldgen.mask import Causal, block_causal, teacher_forcing
from jwmtool.worldgen.rope import Rotation


@dataclass(frozen=True)
class Group:
    """Frames that see the same ones.

    Attributes:
        queries: those that ask.
        keys: runs of those that they see.
        sink: where the first run stands, if not in its own place.
    """

    queries: slice
    keys: tuple[slice, ...]
    sink: Rotation | None


@dataclass(frozen=True)
class Layout:
    """Of one forward pass.

    Attributes:
        queries: rotation of the frames that ask.
        keys: rotation of the frames that are seen, in their own places.
        groups: in the order of the frames that ask; together all of them.
    """

    queries: Rotation
    keys: Rotation
    groups: tuple[Group, ...]


def make_layout(
    attention: Causal | Memory | None,  # None: all frames see all
    times: Tensor,  # [B, T] time coordinates of the frames that ask
    turn: Callable[[Tensor], Rotation],  # the rotation of frames at times [B, T]
) -> Layout:
    """Lay out a forward pass.

    Raises:
        ValueError: teacher forcing of an odd number of frames; a chunk after one that was not whole.
    """
    T = times.shape[1]
    seen, numbers, sink, key_times = torch.ones(T, T, dtype=torch.bool), list(range(T)), 0, times
    if isinstance(attention, Memory):
        sink, key_times = attention.causal.sink, attention.all_times(times)
        numbers = attention.numbers + attention.new_numbers(T)
        seen = block_causal(numbers[-T:], numbers, attention.causal)
    elif attention is not None and attention.teacher_forced:
        if T % 2:
            raise ValueError(f"teacher forcing: expected as many clean frames as noisy ones, found {T} in all")
        sink, numbers = attention.sink, list(range(T // 2)) * 2
        seen = teacher_forcing(T // 2, attention)
    elif attention is not None:
        sink, seen = attention.sink, block_causal(numbers, numbers, attention)
    queries = turn(times)
    keys = queries if key_times is times else turn(key_times)
    return Layout(queries, keys, tuple(_groups(seen, numbers, sink, key_times, turn)))


def _groups(
    seen: Tensor, numbers: Sequence[int], sink: int, times: Tensor, turn: Callable[[Tensor], Rotation]
) -> Iterator[Group]:
    rows = [[k for k, sees in enumerate(row) if sees] for row in seen.tolist()]
    starts = [k for k in range(len(rows)) if k == 0 or rows[k] != rows[k - 1]]
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        window = [k for k in rows[start] if numbers[k] >= sink]
        if len(window) == len(rows[start]) or not window or numbers[window[0]] == sink:
            yield Group(slice(start, stop), tuple(_runs(rows[start])), None)
            continue
        # Sinks are the first keys there are: those of the clean frames, or the oldest that are remembered.
        moved = times[:, :sink] + (times[:, window[:1]] - 1.0 - times[:, sink - 1 : sink])
        yield Group(slice(start, stop), (slice(0, sink), *_runs(window)), turn(moved))


def _runs(indices: Iterable[int]) -> Iterator[slice]:
    """Of rising indices, those without gaps."""
    start = stop = -1
    for k in indices:
        if k != stop and stop >= 0:
            yield slice(start, stop)
        start, stop = (start if k == stop else k), k + 1
    if stop >= 0:
        yield slice(start, stop)
