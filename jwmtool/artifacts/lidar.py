"""Lidar of a clip as depth images of its cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from jwmtool.artifacts.clip import Clip
from jwmtool.geometry.camera import Camera

RANGE_M = (1.0, 80.0)


def lidar_depth(
    points: NDArray[np.float64],  # [M, 3] world, metres
    camera: Camera,  # world pose
    range_m: tuple[float, float] = RANGE_M,
) -> NDArray[np.float64]:
    """Project lidar into a depth image [H, W] in metres; 0 where there is none.

    The lidar sits elsewhere than the camera and sees behind what the camera sees. A pixel keeps its nearest point,
    and a point is dropped if it lies 1.3 times as far as another one within about W / 200 pixels: steep ground
    passes, seeing through the edge of a car does not.
    """
    pixels, depth = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (depth >= range_m[0]) & (depth <= range_m[1]) & (pixels >= 0).all(axis=1)
        inside &= (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height)
    columns, rows = np.floor(pixels[inside]).astype(np.int64).T
    nearest = np.full((camera.height, camera.width), np.inf)
    np.minimum.at(nearest, (rows, columns), depth[inside])
    reach = 2 * max(1, round(camera.width / 200)) + 1
    occluded = nearest > 1.3 * minimum_filter(nearest, reach, mode="nearest")
    return np.where(np.isfinite(nearest) & ~occluded, nearest, 0.0)


def lidar_at(clip: Clip, time_us: int) -> int | None:
    """Index of the sweep nearest in time, if it is within half a frame; else None."""
    if not clip.lidar:
        return None
    gaps_us = np.abs(np.array([sweep.time_us for sweep in clip.lidar], np.int64) - time_us)
    index = int(gaps_us.argmin())
    return index if gaps_us[index] <= 0.5e6 / clip.rate_hz + 1000 else None
