"""Cutting a clip into windows: which pictures are looked at, and which each window gets, as its own and borrowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jwmtool.artifacts.clip import Clip

Key = tuple[int, str]  # frame, camera
MOST_VIEWS = 24
_BORROWED = 1  # frames from the window before, and from the one after
_LEAST_OWN = 4  # frames, however many cameras there are
_APART_M, _APART_S = 2.0, 0.3  # frames nearer than this, in way and in time, tell little that is new


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

    Frames that tell little, as the ego has hardly moved on, are left out; where there are more still, evenly. The
    order of `keys` does not matter.

    Args:
        keys: pictures that may be looked at; at least one.
    """
    names: dict[int, list[str]] = {}
    for frame, name in sorted(set(keys), key=lambda key: (clip.frames[key[0]].time_us, key)):
        names.setdefault(frame, []).append(name)
    frames = spaced(clip, list(names))
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


def spaced(clip: Clip, frames: Sequence[int]) -> list[int]:
    """Of frames in order of time as few as may be without leaving gaps of more than _APART_M or _APART_S."""
    places, times_s = clip.world_from_rig[:, :3, 3], np.asarray(clip.times_us) * 1e-6
    kept = list(frames[:1])
    for frame, following in zip(frames[1:], [*frames[2:], None], strict=False):
        last = kept[-1]
        if (
            following is None
            or np.linalg.norm(places[following] - places[last]) > _APART_M
            or times_s[following] - times_s[last] > _APART_S + 1e-3
        ):
            kept.append(frame)
    return kept


def _evenly(frames: list[int], most: int) -> list[int]:
    if len(frames) <= most:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, most).round().astype(int)]
