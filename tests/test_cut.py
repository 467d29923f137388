"""A part of a clip: its frames, its split, what is told frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jwmtool.artifacts.clip_io import read_clip
from jwmtool.artifacts.cut import cut_frames, cut_time
from jwmtool.errors import UsageError

SAMPLE = Path(__file__).parents[1] / "samples" / "clip"


def test_a_part_is_the_clip_from_there_on() -> None:
    clip = read_clip(SAMPLE)
    part = cut_frames(clip, slice(4, 14))
    assert len(part.frames) == 10
    assert part.split.frames == tuple(k - 4 for k in clip.split.frames if 4 <= k < 14)
    assert part.split.frames, "the sample withholds every fourth frame"
    camera = next(iter(clip.cameras))
    assert np.array_equal(part.load_image(3, camera), clip.load_image(7, camera))
    assert part.extras["actions"]["speed_mps"] == clip.extras["actions"]["speed_mps"][4:14]
    assert part.points is None and part.tracks == clip.tracks


def test_times_count_from_the_first_frame() -> None:
    clip = read_clip(SAMPLE)
    step_s = 1.0 / clip.rate_hz
    part = cut_time(clip, 5 * step_s, 3 * step_s)
    assert [f.time_us for f in part.frames] == [f.time_us for f in clip.frames[5:8]]
    assert cut_time(clip) is clip
    assert cut_time(clip, 0.0, 100.0) is clip
    halves = [cut_time(clip, 0.0, 7 * step_s), cut_time(clip, 7 * step_s)]
    assert sum(len(half.frames) for half in halves) == len(clip.frames)
    with pytest.raises(UsageError, match=r"expected --start within its .* s, found 60 s and --duration 2 s"):
        cut_time(clip, 60.0, 2.0)
