"""Cutting a clip into windows: which pictures each gets, as its own and from its neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jwmtool.artifacts.clip import Clip

Key = tuple[int, str]  # frame, camera
MOST_VIEWS = 24
_BORROWED = 1  # frames from the window before, and from the one after
_LEAST_OWN = 4  # frames, however many cameras there are


@dataclass(frozen=True)
class Part:
    """A window of a clip.

    Attributes:
        own: its pictures.
        before, after: pictures that it borrows from its neighbors, to match with at its ends.
        middle: the frame in whose rig's frame it is reconstructed.
    """

    own: tuple[Key, ...]
    before: tuple[Key, ...]
    after: tuple[Key, ...]
    middle: int


def windows_of(clip: Clip, keys: Sequence[Key], window_s: float) -> list[Part]:
    """Windows of about `window_s` that follow each other, of at most about MOST_VIEWS pictures each.

    Where there are more, frames are left out evenly. The order of `keys` does not matter.

    Args:
        keys: pictures that may be looked at; at least one.
    """
    names: dict[int, list[str]] = {}
    for frame, name in sorted(set(keys), key=lambda key: (clip.frames[key[0]].time_us, key)):
        names.setdefault(frame, []).append(name)
    frames = list(names)
    times_s = np.array([clip.frames[f].time_us - clip.frames[frames[0]].time_us for f in frames]) * 1e-6
    count = max(1, round((times_s[-1] + 1.0 / clip.rate_hz) / window_s))
    which = np.minimum((times_s / (times_s[-1] + 1e-6) * count).astype(int), count - 1)
    budget = MOST_VIEWS // max(len(n) for n in names.values())
    borrowed = min(_BORROWED, max(1, budget // 6)) if count > 1 else 0
    most = max(_LEAST_OWN, budget - 2 * borrowed)
    chosen = [_evenly([f for f, w in zip(frames, which, strict=True) if w == k], most) for k in range(count)]
    chosen = [part for part in chosen if part]
    parts = []
    for k, part in enumerate(chosen):
        before = chosen[k - 1][-borrowed:] if k and borrowed else []
        after = chosen[k + 1][:borrowed] if k + 1 < len(chosen) else []
        own, old, new = (tuple((f, name) for f in found for name in names[f]) for found in (part, before, after))
        parts.append(Part(own, old, new, part[len(part) // 2]))
    return parts


def _evenly(frames: list[int], most: int) -> list[int]:
    if len(frames) <= most:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, most).round().astype(int)]
