"""Annotations of a nuScenes data set: which boxes are seen at a key frame, by how many lidar points, how far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Clip, Track
from jwmtool.artifacts.nuscenes_tables import UNKNOWN_VISIBILITY
from jwmtool.artifacts.tracks import MAX_GAP_US, corners, speed_mps
from jwmtool.artifacts.truth import has_truth, read_truth
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera

Floats = NDArray[np.float64]

MAX_RANGE_M = 100.0  # from the ego; nuScenes annotates about as far
_SKIN_M = 0.05  # points on the skin of what fills its box are noisy
_FILL = 0.7  # of a projected box's outline that its actor covers, about
_STILL_M = 0.5  # who never leaves such a place is parked
_VEHICLE_MPS, _WALK_MPS = 0.5, 0.3  # slower is standing


@dataclass(frozen=True)
class Box:
    """One annotation."""

    track: Track
    world_from_box: Floats  # [4, 4]
    size: tuple[float, float, float]  # length, width, height in metres
    num_lidar_points: int
    visibility: str  # key of VISIBILITIES
    speed_mps: float
    parked: bool


def boxes_at(clip: Clip, frame: int, points_world: Floats | None) -> list[Box]:
    """Boxes near the ego at one frame; where lidar or truth can tell, only those that are seen at all.

    Args:
        clip: with tracks.
        frame: index into its frames.
        points_world: [M, 3] lidar points at that time, or None without a lidar.
    """
    time_us = clip.frames[frame].time_us
    ego = clip.frames[frame].world_from_rig[:3, 3]
    seen = _visible_pixels(clip, frame) if has_truth(clip) else None
    numbers = {name: int(number) for number, name in clip.extras["truth"]["instances"].items()} if seen else {}
    boxes = []
    for track in clip.tracks:
        if np.abs(track.times_us - time_us).min() > MAX_GAP_US:
            continue
        pose = se3.interpolate(track.times_us, track.world_from_box, time_us)[0]
        if np.linalg.norm(pose[:2, 3] - ego[:2]) > MAX_RANGE_M:
            continue
        size = track.size_at(time_us)
        points = 0 if points_world is None else points_inside(points_world, pose, size)
        visibility = UNKNOWN_VISIBILITY
        visible = False
        if seen is not None and track.id in numbers:
            visibility, visible = _visibility(clip, frame, seen, numbers[track.id], pose, size)
        if points or visible or (points_world is None and seen is None):
            boxes.append(Box(track, pose, size, points, visibility, speed_mps(track, time_us), _parked(track)))
    return boxes


def attribute_name(category: str, box: Box) -> str | None:
    """The attribute that nuScenes gives such a thing, by its motion; None where its category has none."""
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return "cycle.with_rider" if "cyclist" in box.track.category.lower() else None
    if category.startswith("vehicle."):
        if box.speed_mps > _VEHICLE_MPS:
            return "vehicle.moving"
        return "vehicle.parked" if box.parked else "vehicle.stopped"
    if category.startswith("human."):
        return "pedestrian.moving" if box.speed_mps > _WALK_MPS else "pedestrian.standing"
    return None


def points_inside(points: Floats, world_from_box: Floats, size: tuple[float, float, float]) -> int:
    """How many of `points` [M, 3] lie in or on a box (length, width, height in metres)."""
    half = 0.5 * np.array(size) + _SKIN_M
    near = points[np.abs(points - world_from_box[:3, 3]).max(1) <= np.linalg.norm(half)]
    return int((np.abs(se3.apply(se3.inverse(world_from_box), near)) <= half).all(1).sum())


def _visible_pixels(clip: Clip, frame: int) -> dict[str, NDArray[np.int64]]:
    """By camera: pixels of each instance number."""
    return {
        name: np.bincount(read_truth(clip, frame, name, ["instance"])["instance"].ravel(), minlength=1)
        for name in clip.frames[frame].images
    }


def _visibility(
    clip: Clip,
    frame: int,
    seen: dict[str, NDArray[np.int64]],
    number: int,
    world_from_box: Floats,
    size: tuple[float, float, float],
) -> tuple[str, bool]:
    """Level of visibility over all cameras, and whether it is seen at all."""
    pixels, expected = 0, 0.0
    for name, counts in seen.items():
        count = int(counts[number]) if number < len(counts) else 0
        area = _outline_px(clip.camera_at(frame, name), corners(world_from_box, size))
        if area is None:  # reaches behind the camera: its outline says nothing
            area = count / _FILL
        pixels += count
        expected += _FILL * area
    share = pixels / expected if expected > 0 else 0.0
    return str(1 + sum(share >= step for step in (0.4, 0.6, 0.8))), pixels > 0


def _outline_px(camera: Camera, points: Floats) -> float | None:
    """Area in px of the outline of `points` [8, 3] within the image; None if it reaches behind the camera."""
    import cv2

    pixels, depth = camera.project(points)
    if (depth < 0.1).all():
        return 0.0
    if (depth < 0.1).any():
        return None
    if (pixels.max(0) <= 0).any() or (pixels.min(0) >= (camera.width, camera.height)).any():
        return 0.0
    hull = cv2.convexHull(pixels.astype(np.float32))
    w, h = float(camera.width), float(camera.height)
    image = np.array([[[0.0, 0.0]], [[w, 0.0]], [[w, h]], [[0.0, h]]], np.float32)
    return float(cv2.intersectConvexConvex(hull, image)[0])


def _parked(track: Track) -> bool:
    places = track.world_from_box[:, :3, 3]
    return bool(np.linalg.norm(places - places[0], axis=1).max() < _STILL_M)
