"""Where the box of a track is at a time, its corners and its speed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Track
from jwmtool.geometry import se3

Floats = NDArray[np.float64]
EDGES = [(a, b) for a in range(8) for b in range(a) if (a ^ b).bit_count() == 1]  # of a box, by its `corners`

MAX_GAP_US = 300_000  # to the nearest pose of a track: boxes annotated at 2 Hz, a step now and then longer, count
_PAST_END_US = 60_000  # cameras fire a little before the first or after the last annotation
_SPEED_OVER_US = 100_000  # before and after


def box_at(track: Track, time_us: int) -> Floats | None:
    """world_from_box [4, 4] at a time, interpolated; None where the track is not there."""
    past_us = max(int(track.times_us[0]) - time_us, time_us - int(track.times_us[-1]))
    if past_us > _PAST_END_US or np.abs(track.times_us - time_us).min() > MAX_GAP_US:
        return None
    return np.asarray(se3.interpolate(track.times_us, track.world_from_box, time_us)[0])


def speed_mps(track: Track, time_us: int) -> float:
    """Speed of the box's center over the 0.2 s about a time, less at the track's ends; 0 for a single pose."""
    times = track.times_us
    around = np.clip(np.array([time_us - _SPEED_OVER_US, time_us + _SPEED_OVER_US]), times[0], times[-1])
    if around[1] <= around[0]:
        return 0.0
    centers = track.world_from_box[:, :3, 3]
    step_m = [float(np.diff(np.interp(around, times, centers[:, axis]))[0]) for axis in range(3)]
    return float(np.linalg.norm(step_m) / ((around[1] - around[0]) * 1e-6))


def corners(world_from_box: Floats, size: tuple[float, float, float]) -> Floats:
    """[8, 3] in the world. Corner 4 i + 2 j + k lies at x, y, z of sign (-, +)[i], [j], [k]."""
    signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    return se3.apply(world_from_box, signs * np.array(size))
