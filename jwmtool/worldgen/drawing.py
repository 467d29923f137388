"""Layout drawn into a camera's view: boxes of vehicles and of other bodies, and lanes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.tracks import EDGES, box_at
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.worldgen.known import LAYOUT_MAPS, SUBCELL

VEHICLES, BODIES, LANES = range(LAYOUT_MAPS)
_VEHICLE_WORDS = frozenset({"car", "truck", "lorry", "bus", "van", "trailer", "vehicle", "motorcycle"})
_NEAR_M, _HALF_M = 0.3, 10.0  # a body at `_HALF_M` is drawn half as bright as one at hand
_STEP_M = 0.5  # between points of a lane that is drawn
Floats = NDArray[np.float64]


def is_vehicle(category: str) -> bool:
    """Whether a category is that of a motor vehicle, in the words of nuScenes ("vehicle.car"), Argoverse or others."""
    words = re.split("[^a-z]+", category.lower())
    return not _VEHICLE_WORDS.isdisjoint(words) and "bicycle" not in words


@dataclass(frozen=True)
class Box:
    """A body at one moment."""

    category: str
    size: tuple[float, float, float]  # length, width, height, m
    world_from_box: Floats  # [4, 4], its origin at the box's center


def boxes_at(tracks: Iterable[Track], time_us: int) -> list[Box]:
    """Of tracks that are there at a time."""
    poses = [(track, box_at(track, time_us)) for track in tracks]
    return [Box(track.category, track.size_at(time_us), pose) for track, pose in poses if pose is not None]


def draw_layout(
    camera: Camera,  # pose in the world
    boxes: Sequence[Box],
    lanes: Sequence[Floats],  # points [N, 3] along each line, in the world
) -> NDArray[np.float32]:  # [LAYOUT_MAPS, height / SUBCELL, width / SUBCELL] in [0, 1]
    """Boxes as filled outlines, the nearer the brighter; lanes as lines."""
    size = (camera.height // SUBCELL, camera.width // SUBCELL)
    maps = np.zeros((LAYOUT_MAPS, *size), np.float32)
    depths = [float((camera.cam_from_world @ box.world_from_box[:, 3])[2]) for box in boxes]
    for k in np.argsort(depths)[::-1]:  # far ones first
        outline = _outline(camera, boxes[k])
        if outline is not None:
            which = VEHICLES if is_vehicle(boxes[k].category) else BODIES
            cv2.fillConvexPoly(maps[which], outline, float(_HALF_M / (_HALF_M + max(depths[k], 0.0))))
    for line in lanes:
        _draw_line(maps[LANES], camera, line)
    return maps


def _outline(camera: Camera, box: Box) -> NDArray[np.int32] | None:
    """The hull of what of a box lies before the camera."""
    corners = np.array([[(k >> axis & 1) - 0.5 for axis in range(3)] for k in range(8)]) * box.size
    points = se3.apply(camera.cam_from_world @ box.world_from_box, corners)
    before = points[:, 2] > _NEAR_M
    if not before.any():
        return None
    kept = [*points[before]]
    for a, b in EDGES:
        if before[a] != before[b]:
            share = (_NEAR_M - points[a, 2]) / (points[b, 2] - points[a, 2])
            kept.append(points[a] + share * (points[b] - points[a]))
    pixels = _pixels(camera, np.array(kept))
    return cv2.convexHull(pixels).astype(np.int32) if len(pixels) > 2 else None


def _draw_line(target: NDArray[np.float32], camera: Camera, line: Floats) -> None:
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(0.0, along[-1], _STEP_M)
    points = se3.apply(camera.cam_from_world, np.stack([np.interp(at, along, line[:, k]) for k in range(3)], axis=1))
    before = points[:, 2] > _NEAR_M
    starts = np.flatnonzero(before[:-1] & before[1:])
    pixels = np.zeros((len(points), 2), np.int32)
    pixels[before] = _pixels(camera, points[before])
    for k in starts:
        cv2.line(target, pixels[k].tolist(), pixels[k + 1].tolist(), 1.0)


def _pixels(camera: Camera, points: Floats) -> NDArray[np.int32]:
    """Of points in the camera's frame, in cells of `SUBCELL` px; far outside counts as at the rim of 16 bits."""
    pixels = (points[:, :2] / points[:, 2:]) @ camera.K[:2, :2].T + camera.K[:2, 2]
    return np.floor(pixels / SUBCELL).clip(-16_000, 16_000).astype(np.int32)
