"""A part of a clip as a clip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from jwmtool.artifacts.clip import Clip, Split
from jwmtool.errors import UsageError

_BY_FRAME = ("truth", "actions")  # extras in which lists run over the clip's frames


def cut_frames(clip: Clip, inside: slice) -> Clip:
    """The clip of some frames in a row; its frame i is frame `inside.start + i` of the clip.

    The split goes along, and lidar sweeps whose nearest frame is one of them. Sparse points, which were triangulated
    from all pictures, are dropped. Tracks stay whole; files lie where they lay.
    """
    nearest = [int(np.abs(clip.times_us - sweep.time_us).argmin()) for sweep in clip.lidar]
    told = {key: _cut(value, len(clip.frames), inside) for key, value in clip.extras.items() if key in _BY_FRAME}
    withheld = tuple(k - inside.start for k in clip.split.frames if inside.start <= k < inside.stop)
    return replace(
        clip,
        name=f"{clip.name}-{inside.start:06d}",
        frames=clip.frames[inside],
        split=Split(withheld, clip.split.cameras, clip.split.rules),
        lidar=[s for s, frame in zip(clip.lidar, nearest, strict=True) if inside.start <= frame < inside.stop],
        points=None,
        extras={**clip.extras, **told},
    )


def cut_time(clip: Clip, start_s: float = 0.0, duration_s: float | None = None) -> Clip:
    """The clip of the frames from `start_s` on, as far as `duration_s`; the clip itself where that is all of it.

    Raises:
        UsageError: no frame is left.
    """
    since_s = (clip.times_us - clip.times_us[0]) * 1e-6
    ends_s = np.inf if duration_s is None else start_s + duration_s
    kept = np.flatnonzero((since_s >= start_s - 1e-6) & (since_s < ends_s - 1e-6))
    if len(kept) == 0:
        found = f"{start_s:g} s" + ("" if duration_s is None else f" and --duration {duration_s:g} s")
        raise UsageError(f"{clip.root}: expected --start within its {since_s[-1]:.2f} s, found {found}")
    if len(kept) == len(clip.frames):
        return clip
    return cut_frames(clip, slice(int(kept[0]), int(kept[-1]) + 1))


def _cut(value: Any, num_frames: int, inside: slice) -> Any:
    """The same with only this part of each list of one item a frame."""
    if isinstance(value, dict):
        return {key: _cut(item, num_frames, inside) for key, item in value.items()}
    return value[inside] if isinstance(value, list) and len(value) == num_frames else value
