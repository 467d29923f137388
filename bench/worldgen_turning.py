"""How fast the ego turns in a video, by geometry alone: nothing here was learned.

Corners are followed from frame to frame. Driving ahead moves each away from the point that the ego drives toward, so
what moves a corner across that direction is turning; of all corners together it is fitted robustly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEAST = 12  # corners
_ROUNDS = 15  # of reweighting


def yaw_rate(frames: NDArray[np.uint8], K: Floats, rig_from_cam: Floats, seconds: float) -> float:
    """rad/s to the left, averaged over frames [T, H, W, 3] that last so long."""
    rig_from_axes = np.asarray(rig_from_cam)[:3, :3]
    toward = rig_from_axes.T @ np.array([1.0, 0.0, 0.0])  # where the ego drives to, in the camera's axes
    total = 0.0
    for before, after in _followed(frames, np.asarray(K)):
        turning = _turning(before, after, toward[:2] / toward[2])
        total += float((rig_from_axes @ turning)[2])
    return total / seconds


def _followed(frames: NDArray[np.uint8], K: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Of each pair of frames corners [N, 2] before and after, on the plane one ahead of the camera."""
    inverse = np.linalg.inv(K)
    for a, b in pairwise(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames):
        corners = cv2.goodFeaturesToTrack(a, 400, 0.005, 4)
        if corners is None:
            continue
        there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, corners, None, winSize=(15, 15), maxLevel=3)
        back, again, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None, winSize=(15, 15), maxLevel=3)
        sure = (found[:, 0] > 0) & (again[:, 0] > 0) & (np.linalg.norm(back - corners, axis=2)[:, 0] < 0.5)
        if sure.sum() < _LEAST:
            continue
        before, after = (
            (np.column_stack([p[sure, 0] + 0.5, np.ones(sure.sum())]) @ inverse.T)[:, :2] for p in (corners, there)
        )
        yield before, after


def _turning(before: Floats, after: Floats, toward: Floats) -> Floats:
    """[3] rad about the camera's axes, of the camera itself.

    Flow is A turning + (something) (x - toward) (Longuet-Higgins and Prazdny, 1980); its part across x - toward is of
    turning alone.
    """
    x, y = before.T
    flow, away = after - before, before - toward
    ahead = np.stack([np.stack([x * y, -(1 + x**2), y], 1), np.stack([1 + y**2, -x * y, -x], 1)], 1)
    rows = ahead[:, 0] * away[:, 1:] - ahead[:, 1] * away[:, :1]
    across = flow[:, 0] * away[:, 1] - flow[:, 1] * away[:, 0]
    weights = np.ones(len(rows))
    found = np.zeros(3)
    for _ in range(_ROUNDS):
        found = np.linalg.lstsq(rows * weights[:, None], across * weights, rcond=None)[0]
        off = np.abs(across - rows @ found)
        spread = 1.4826 * np.median(off) + 1e-6
        weights = (1.0 + (off / (1.5 * spread)) ** 2) ** -0.5
    return found
