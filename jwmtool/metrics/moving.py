"""Which pixels show what moves: filled hulls of projected boxes, and exactly where a made world tells."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip
from jwmtool.artifacts.tracks import box_at, corners, speed_mps
from jwmtool.artifacts.truth import has_truth, read_truth
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_SPEED_MPS = 1.0  # of STORM (Yang et al. 2025): what is faster is dynamic
BOX, EXACT = "moving_box", "moving_exact"  # names of the regions, and so of the scores in them
_NEAR_M = 0.1
_EDGES = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]  # of `tracks.corners`


def moving_regions(clip: Clip, frame: int, camera: str) -> dict[str, Mask]:
    """Masks [H, W] of one picture, by the names of their regions.

    `moving_box`: in the filled convex hull of the projected box of a track faster than 1 m/s, hidden or not, as
    published figures have it; where the clip has tracks. `moving_exact`: the picture shows such an actor; where there
    is a world's truth too. They are empty where nothing moves.

    Raises:
        InputError: damaged or missing truth.
    """
    if not clip.tracks:
        return {}
    regions = {BOX: box_mask(clip, frame, camera)}
    if has_truth(clip):
        regions[EXACT] = instance_mask(clip, frame, camera)
    return regions


def box_mask(clip: Clip, frame: int, camera: str) -> Mask:
    """[H, W], True in the hull of a moving track's box at the picture's own time."""
    view, time_us = clip.camera_at(frame, camera), clip.frames[frame].images[camera].time_us
    mask = np.zeros((view.height, view.width), bool)
    for track in clip.tracks:
        if speed_mps(track, time_us) > MIN_SPEED_MPS:
            world_from_box = box_at(track, time_us)
            if world_from_box is not None:
                fill_box(mask, view, corners(world_from_box, track.size_at(time_us)))
    return mask


def instance_mask(clip: Clip, frame: int, camera: str) -> Mask:
    """[H, W], True where the picture of a made world shows an actor that moves.

    Raises:
        InputError: the clip has no truth of this picture, or it is damaged.
    """
    instance = read_truth(clip, frame, camera, ["instance"])["instance"]
    time_us = clip.frames[frame].images[camera].time_us
    moving = {t.id for t in clip.tracks if speed_mps(t, time_us) > MIN_SPEED_MPS and box_at(t, time_us) is not None}
    numbers = [int(n) for n, name in clip.extras["truth"].get("instances", {}).items() if name in moving]
    return np.isin(instance, numbers)


def fill_box(mask: Mask, camera: Camera, points: Floats) -> None:
    """Set `mask` [H, W] at the pixels whose centers lie in the outline of a box.

    Args:
        mask: changed in place.
        camera: world pose.
        points: [8, 3] corners in the world, in the order of `artifacts.tracks.corners`; what lies nearer than 0.1 m or
            behind the camera is cut off.
    """
    cam = se3.apply(camera.cam_from_world, points)
    z = cam[:, 2] - _NEAR_M
    cut = [cam[i] + (cam[j] - cam[i]) * (z[i] / (z[i] - z[j])) for i, j in _EDGES if (z[i] > 0) != (z[j] > 0)]
    solid = np.concatenate([cam[z > 0], np.array(cut).reshape(-1, 3)])
    if len(solid) < 3:
        return
    pixels = solid[:, :2] / solid[:, 2:] @ camera.K[:2, :2].T + camera.K[:2, 2]
    hull = cv2.convexHull(pixels.astype(np.float32))[:, 0].astype(np.float64)
    # Pixel centers from half a pixel before the outline on, cut to the picture.
    low = np.clip(np.floor(hull.min(0)), 0, (camera.width, camera.height)).astype(int)
    high = np.clip(np.ceil(hull.max(0)), 0, (camera.width, camera.height)).astype(int)
    u, v = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    sides = []
    for (x0, y0), (x1, y1) in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        sides.append((x1 - x0) * (v - y0) - (y1 - y0) * (u - x0))
    side = np.array(sides)  # one sign on all sides: inside, whichever way the hull turns
    mask[low[1] : high[1], low[0] : high[0]] |= (side > 0).all(0) | (side < 0).all(0)
