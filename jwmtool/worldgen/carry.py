"""What a known picture says of the frames that follow when there is no scene: it is carried along the ego's path.

The street is taken for a room: a flat road below the camera, a wall to either side, and an end. Where the room is
wrong (a car ahead, a house nearer than the wall) the carried picture is wrong, and the transformer has to mend it;
but the road flows at the right speed, and what is far turns as the ego turns.
"""

# H, W: height and width, px.
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.imaging.push_pull import push_pull

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]
TRUST = 0.5  # coverage of what is carried: a scene's counts 1, holes 0
_CAMERA_HEIGHT_M = 1.5  # where the rig stands at the camera
_LEAST_HEIGHT_M = 0.5


@dataclass(frozen=True)
class Room:
    """The street as a room about the ego, m: the side walls' distance and the end's.

    The defaults carry frames of made worlds over 0.4 to 1.6 s best (`bench/carry.py`).
    """

    side_m: float = 12.0
    end_m: float = 120.0


def carried(
    picture: Picture,  # [H, W, 3] in [0, 1]
    source: Camera,  # that took it
    world_from_rig: Floats,  # [4, 4] of the rig that carried the camera then
    target: Camera,  # of the same size
    room: Room = Room(),
) -> tuple[Picture, Picture]:
    """The picture as another camera would see it: color [H, W, 3] without holes, coverage [H, W] in [0, TRUST]."""
    import cv2

    world_from_room = _room_pose(source, world_from_rig)
    room_from_target = se3.inverse(world_from_room) @ target.world_from_cam
    points = _met(room_from_target, _rays(target), room)
    u, v, depth = _seen(source, se3.apply(world_from_room, points.reshape(-1, 3)), target)
    inside = (depth > 0) & (u >= 0) & (u <= source.width) & (v >= 0) & (v <= source.height)
    maps = [np.where(inside, x - 0.5, 0.0).astype(np.float32) for x in (u, v)]
    moved = cv2.remap(picture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    coverage = inside.astype(np.float32)
    return push_pull(np.asarray(moved, np.float32), coverage), TRUST * coverage


def _room_pose(source: Camera, world_from_rig: Floats) -> Floats:
    """world_from_room [4, 4]: below the camera, on the road; axes are the rig's."""
    rig_from_cam = se3.inverse(world_from_rig) @ source.world_from_cam
    x, y, height_m = rig_from_cam[:3, 3]
    floor_m = 0.0 if height_m >= _LEAST_HEIGHT_M else height_m - _CAMERA_HEIGHT_M
    return world_from_rig @ se3.translation([x, y, floor_m])


def _rays(camera: Camera) -> Floats:
    """[H, W, 3] directions in the camera's axes, through the centers of pixels."""
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    rays: Floats = pixels @ np.linalg.inv(camera.K).T
    return rays


def _met(room_from_cam: Floats, rays: Floats, room: Room) -> Floats:
    """[H, W, 3] where rays meet the room."""
    origin, directions = room_from_cam[:3, 3], rays @ room_from_cam[:3, :3].T
    # Walls are met from within; a ray that runs along one meets it nowhere.
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(directions[..., 2] < 0, -origin[2] / directions[..., 2], np.inf)
        sides = (np.copysign(room.side_m, directions[..., 1]) - origin[1]) / directions[..., 1]
        ends = (np.copysign(room.end_m, directions[..., 0]) - origin[0]) / directions[..., 0]
    met = np.stack([np.where(far > 0, far, np.inf) for far in (floor, sides, ends)]).min(axis=0)
    points: Floats = origin + np.minimum(met, 1e6)[..., None] * directions
    return points


def _seen(source: Camera, points: Floats, target: Camera) -> tuple[Floats, Floats, Floats]:
    """Pixels u, v [H, W] of points in the world, and their depth, m."""
    cam = se3.apply(se3.inverse(source.world_from_cam), points).reshape(target.height, target.width, 3)
    depth = cam[..., 2]
    pixels = cam @ source.K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return pixels[..., 0] / depth, pixels[..., 1] / depth, depth
