"""A known picture carried along the ego's path, where there is no scene."""

from __future__ import annotations

import numpy as np
import pytest

from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera
from jwmtool.worldgen.carry import TRUST, Room, carried

K = np.array([[200.0, 0.0, 112.0], [0.0, 200.0, 64.0], [0.0, 0.0, 1.0]])
MOUNT = se3.translation([1.0, 0.0, 1.5]) @ se3.RIG_FROM_CAM_AXES


def camera(world_from_rig: np.ndarray, mount: np.ndarray = MOUNT) -> Camera:
    return Camera(K, 224, 128, world_from_rig @ mount)


def pixel(of: Camera, point: np.ndarray) -> np.ndarray:
    cam = se3.apply(se3.inverse(of.world_from_cam), point[None])[0]
    return (of.K @ cam / cam[2])[:2]


def dotted(place: np.ndarray) -> np.ndarray:
    """A soft white dot on gray."""
    v, u = np.mgrid[:128, :224] + 0.5
    dot = np.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / (2 * 2.0**2))
    return np.repeat((0.2 + 0.8 * dot)[..., None], 3, axis=2).astype(np.float32)


def brightest(picture: np.ndarray) -> np.ndarray:
    weight = np.clip(picture[..., 0] - 0.4, 0.0, None)
    v, u = np.mgrid[:128, :224] + 0.5
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


START = se3.translation([300.0, -40.0, 7.0]) @ se3.from_quat(np.array([np.cos(0.4), 0.0, 0.0, np.sin(0.4)]), [0, 0, 0])
AHEAD = START @ se3.translation([3.0, 0.0, 0.0])
TURNED = START @ se3.from_quat(np.array([np.cos(0.05), 0.0, 0.0, np.sin(0.05)]), [2.0, 0.2, 0.0])


@pytest.mark.parametrize("then", [AHEAD, TURNED], ids=["ahead", "turned"])
@pytest.mark.parametrize(
    "place", [(14.0, 1.5, 0.0), (40.0, 12.0, 3.0), (120.0, -5.0, 6.0)], ids=["road", "wall", "end"]
)
def test_points_of_the_room_land_where_geometry_says(then: np.ndarray, place: tuple[float, ...]) -> None:
    room = Room(side_m=12.0, end_m=120.0)  # counted from below the camera, which stands 1 m ahead of the rig
    point = se3.apply(START @ se3.translation([1.0, 0.0, 0.0]), np.array([place]))[0]
    source, target = camera(START), camera(then)
    color, coverage = carried(dotted(pixel(source, point)), source, START, target, room)
    expected = pixel(target, point)
    assert np.abs(brightest(color) - expected).max() < 0.5, "half a pixel"
    assert coverage[int(expected[1]), int(expected[0])] == pytest.approx(TRUST)


def test_the_same_camera_sees_the_same_picture() -> None:
    picture = np.random.default_rng(0).random((128, 224, 3), np.float32)
    color, coverage = carried(picture, camera(START), START, camera(START))
    assert np.abs(color - picture).max() < 1e-3 and (coverage == TRUST).all()


def test_what_was_not_in_the_picture_is_not_covered_but_filled() -> None:
    picture = np.full((128, 224, 3), 0.7, np.float32)
    left = START @ se3.from_quat(np.array([np.cos(0.3), 0.0, 0.0, np.sin(0.3)]), [0.0, 0.0, 0.0])
    color, coverage = carried(picture, camera(START), START, camera(left))
    assert (coverage[:, :40] == 0).all() and (coverage[:, -40:] == TRUST).all()
    assert np.abs(color - 0.7).max() < 1e-3


def test_a_rig_that_stands_at_its_camera_has_the_road_below_it() -> None:
    mount = se3.RIG_FROM_CAM_AXES
    source, target = camera(START, mount), camera(AHEAD, mount)
    point = se3.apply(START, np.array([[15.0, 1.0, -1.5]]))[0]
    color, _ = carried(dotted(pixel(source, point)), source, START, target)
    assert np.abs(brightest(color) - pixel(target, point)).max() < 0.5
