"""Rigs: built-in layouts, lidars, rig files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import intrinsics_problem
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.rigs import RIGS, Rig, RigCamera, intrinsics, make_rig, rig_from_camera, rig_size

POSE = rig_from_camera((1.6, 0.0, 1.5), 0.0, 2.0, 0.0).tolist()


def drawn(name: str, seed: int, lidar: str = "auto") -> Rig:
    return make_rig(name, 224, 128, Stream(seed, "rig"), lidar)


def field_of_view_deg(camera: RigCamera) -> float:
    left, right = camera.K[0, 2], camera.width - camera.K[0, 2]
    return float(np.degrees(np.arctan(left / camera.K[0, 0]) + np.arctan(right / camera.K[0, 0])))


def write(path: Path, cameras: Any = None, **more: Any) -> Path:
    if cameras is None:
        cameras = [camera()]
    path.write_text(json.dumps({"cameras": cameras, **more}))
    return path


def camera(name: str = "front", **changes: Any) -> dict[str, Any]:
    K = [[300.0, 0.0, 160.0], [0.0, 300.0, 100.0], [0.0, 0.0, 1.0]]
    return {"name": name, "K": K, "width": 320, "height": 200, "rig_from_cam": POSE} | changes


@pytest.mark.parametrize("name", RIGS)
@pytest.mark.parametrize("seed", range(5))
def test_every_rig_is_sound_and_repeats(name: str, seed: int) -> None:
    rig, again = drawn(name, seed), drawn(name, seed)
    assert len({c.name for c in rig.cameras}) == len(rig.cameras)
    for one, other in zip(rig.cameras, again.cameras, strict=True):
        assert np.array_equal(one.K, other.K) and np.array_equal(one.rig_from_cam, other.rig_from_cam)
        assert one.optics.gain == other.optics.gain and one.optics.white_balance == other.optics.white_balance
        assert intrinsics_problem(one.K, one.width, one.height) is None
        assert se3.rigid_problem(one.rig_from_cam, 1e-12) is None
        x, y, z = one.rig_from_cam[:3, 3]
        assert -1.0 < x < 3.6 and abs(y) < 0.93 and 1.1 < z < 2.3, "on the car"
        assert one.rig_from_cam[2, 1] < -0.95, "the image's down is down"


def test_front1_varies_widely() -> None:
    cameras = [drawn("front1", seed).cameras[0] for seed in range(200)]
    heights = np.array([c.rig_from_cam[2, 3] for c in cameras])
    views = np.array([field_of_view_deg(c) for c in cameras])
    gains = np.array([c.optics.gain for c in cameras])
    assert heights.min() < 1.3 and heights.max() > 2.1
    assert 43 < views.min() < 52 and 94 < views.max() < 102
    assert gains.min() < 0.8 and gains.max() > 1.3
    assert np.std([c.K[1, 2] / c.height for c in cameras]) > 0.03


def test_surround6_is_laid_out_like_nuscenes() -> None:
    rig = drawn("surround6", 3)
    yaws = {c.name: np.degrees(np.arctan2(*c.rig_from_cam[[1, 0], 2])) for c in rig.cameras}
    expected = {"CAM_FRONT": 0, "CAM_FRONT_LEFT": 55, "CAM_FRONT_RIGHT": -55, "CAM_BACK_LEFT": 110}
    expected |= {"CAM_BACK_RIGHT": -110, "CAM_BACK": 180}
    assert yaws.keys() == expected.keys()
    for name, yaw in expected.items():
        assert abs((yaws[name] - yaw + 180) % 360 - 180) < 1.5
    # Every direction is seen by some camera.
    covered = np.zeros(360, bool)
    for c in rig.cameras:
        half = 0.5 * field_of_view_deg(c)
        covered |= np.abs((np.arange(360) - yaws[c.name] + 180) % 360 - 180) < half
    assert covered.all()
    assert rig.lidar is not None and rig.lidar.name == "LIDAR_TOP" and len(rig.lidar.elevations_rad) == 32
    assert np.allclose(rig.lidar.rig_from_lidar[:3, 1], [1, 0, 0]), "the sensor's y looks ahead"


@pytest.mark.parametrize("seed", range(10))
def test_front3_overlaps_but_little(seed: int) -> None:
    left, front, right = drawn("front3", seed).cameras
    for side, sign in ((left, 1), (right, -1)):
        yaw = np.degrees(np.arctan2(*side.rig_from_cam[[1, 0], 2]))
        overlap = field_of_view_deg(front) / 2 + field_of_view_deg(side) / 2 - abs(yaw)
        assert np.sign(yaw) == sign and 0 < overlap < 17


def test_stereo_is_a_rectified_pair() -> None:
    left, right = drawn("stereo", 4).cameras
    left_from_right = se3.inverse(left.rig_from_cam) @ right.rig_from_cam
    assert np.allclose(left_from_right, se3.translation((0.54, 0, 0)), atol=1e-12)
    assert np.array_equal(left.K, right.K) and 0.54 < left.K[0, 0] / left.width < 0.62


def test_lidar_choices() -> None:
    assert drawn("front1", 0).lidar is None and drawn("surround6", 0, "none").lidar is None
    for beams in ("32", "64"):
        for name in ("front1", "surround6"):
            lidar = drawn(name, 0, beams).lidar
            assert lidar is not None and len(lidar.elevations_rad) == int(beams)
            assert (np.diff(lidar.elevations_rad) > 0).all()
    with pytest.raises(UsageError, match=r"--lidar.*'16'"):
        drawn("front1", 0, "16")


def test_an_unknown_rig_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"--rig: expected one of front1.*'front9'"):
        drawn("front9", 0)


def test_a_rig_file_is_read_as_written(tmp_path: Path) -> None:
    look = {"gain": 1.5, "white_balance": [1.1, 1.0, 0.9], "gamma": 0.9, "saturation": 0.5, "vignetting": 0.2}
    lidar = {"rig_from_lidar": se3.translation((1, 0, 2)).tolist(), "elevations_deg": [10, -10, 0], "rate_hz": 5}
    path = write(tmp_path / "my.json", [camera(**look), camera("rear", undistorted=True)], lidar=lidar)
    rig = make_rig(path, 320, 200, Stream(0), "auto")
    assert rig.name == "my" and [c.name for c in rig.cameras] == ["front", "rear"]
    assert rig.camera("front").optics.gain == 1.5 and rig.camera("front").optics.white_balance == (1.1, 1.0, 0.9)
    assert rig.camera("rear").optics.gain == 1.0
    assert np.allclose(rig.camera("rear").rig_from_cam, POSE)
    assert rig.lidar is not None and np.allclose(np.degrees(rig.lidar.elevations_rad), [-10, 0, 10])
    assert rig.lidar.rate_hz == 5 and rig_size(path) == (320, 200) and rig_size("front1") == (448, 256)


def test_sizes_of_a_rig_file(tmp_path: Path) -> None:
    path = write(tmp_path / "rig.json", [camera(), camera("wide", width=640)])
    own = make_rig(path, 320, 200, Stream(0))
    assert [(c.width, c.height) for c in own.cameras] == [(320, 200), (640, 200)]
    small = make_rig(path, 160, 100, Stream(0))
    assert [(c.width, c.height) for c in small.cameras] == [(160, 100), (160, 100)]
    assert np.allclose(small.camera("front").K[:2, :3], np.array(camera()["K"])[:2] / 2)


def test_the_cameras_of_a_clip_are_a_rig(tmp_path: Path) -> None:
    document = {"format": "jwm-clip", "version": "1.0", "cameras": [camera()], "frames": [], "lidar": []}
    (tmp_path / "clip.json").write_text(json.dumps(document))
    rig = make_rig(tmp_path / "clip.json", 320, 200, Stream(0))
    assert [c.name for c in rig.cameras] == ["front"] and rig.lidar is None


BAD: dict[str, tuple[Any, str]] = {
    "no cameras": ([], "at least one camera"),
    "not a list": ("front", "at least one camera"),
    "twice": ([camera(), camera()], "names that differ.*'front' twice"),
    "no pose": ([{k: v for k, v in camera().items() if k != "rig_from_cam"}], "rig_from_cam in cameras.0."),
    "unknown key": ([camera(fov=90)], "known keys.*'fov'"),
    "mirrored": ([camera(rig_from_cam=np.diag([1, -1, 1, 1]).tolist())], "rigid transform.*mirrored"),
    "not rigid": ([camera(rig_from_cam=np.diag([2, 2, 2, 1]).tolist())], "not a rotation"),
    "a row short": ([camera(rig_from_cam=np.eye(3).tolist())], "shape .4, 4."),
    "words": ([camera(K="wide")], "numbers as K"),
    "under the road": ([camera(rig_from_cam=se3.translation((1, 0, -0.5)).tolist())], "above the road.*z = -0.5 m"),
    "far away": ([camera(rig_from_cam=se3.translation((50, 0, 1)).tolist())], "within 10 m of the car"),
    "negative focal": ([camera(K=[[-300, 0, 160], [0, 300, 100], [0, 0, 1]])], "focal lengths -300"),
    "no focal": ([camera(K=[[1, 0, 160], [0, 1, 100], [0, 0, 1]])], "focal lengths 1, 1 px for 320x200"),
    "no size": ([camera(width=0)], "whole number from 16 to 8192 as width"),
    "size in words": ([camera(height="200")], "whole number"),
    "name with a slash": ([camera("../front")], "letters, digits"),
    "negative gain": ([camera(gain=-1)], "number from 0.01 to 100 as gain"),
}


@pytest.mark.parametrize("what", BAD)
def test_absurd_rigs_get_one_line(what: str, tmp_path: Path) -> None:
    cameras, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        make_rig(write(tmp_path / "rig.json", cameras), 320, 200, Stream(0))
    assert "rig.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lidar", "message"),
    [
        ({"beams": 32}, "rig_from_lidar in lidar"),
        ({"rig_from_lidar": POSE}, "beams or elevations_deg.*neither"),
        ({"rig_from_lidar": POSE, "beams": 16}, "32 or 64"),
        ({"rig_from_lidar": POSE, "elevations_deg": [100]}, "between -90 and 90"),
        ({"rig_from_lidar": POSE, "elevations_deg": []}, "1 to 256"),
        ({"rig_from_lidar": POSE, "beams": 32, "max_range_m": 0}, "max_range_m"),
    ],
)
def test_absurd_lidars_get_one_line(lidar: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        make_rig(write(tmp_path / "rig.json", lidar=lidar), 320, 200, Stream(0))


def test_a_broken_file_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "rig.json").write_text("{")
    with pytest.raises(InputError, match="expected JSON"):
        make_rig(tmp_path / "rig.json", 320, 200, Stream(0))
    with pytest.raises(InputError, match="no such file"):
        make_rig(tmp_path / "none.json", 320, 200, Stream(0))


def test_intrinsics_are_in_shares() -> None:
    assert intrinsics(200, 100, 0.5, (0.5, 0.6)).tolist() == [[100, 0, 100], [0, 100, 60], [0, 0, 1]]
