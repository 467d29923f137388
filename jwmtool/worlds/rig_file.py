"""A rig from a JSON file, checked: the cameras of a clip.json, or the same fields written by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.camera import Camera, intrinsics_problem
from jwmtool.worlds.rigs import Floats, LidarModel, Optics, Rig, RigCamera, lidar_model
from jwmtool.worlds.spec import MAX_SIDE_PX, MIN_SIDE_PX

MAX_REACH_M = 10.0
MIN_HEIGHT_M = 0.1
MIN_FOCAL = 0.05  # of the image's longer side: 168 degrees
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_CAMERA_KEYS = {"name", "K", "width", "height", "rig_from_cam"}
_LOOK_KEYS = {"gain", "white_balance", "gamma", "saturation", "vignetting"}
_LIDAR_KEYS = {"name", "rig_from_lidar", "beams", "elevations_deg", "num_azimuths", "max_range_m", "rate_hz"}


def read_rig(path: Path) -> Rig:
    """Read `{"cameras": [...], "lidar": {...}}`.

    A camera has name, K, width, height and rig_from_cam as in clip.json, and may have gain, white_balance, gamma,
    saturation and vignetting (see `Optics`). The lidar, which may be left out, has rig_from_lidar and either beams
    (32 or 64) or elevations_deg, and may have name, num_azimuths, max_range_m and rate_hz. Of a clip.json the cameras
    are taken.

    Raises:
        InputError: anything else, poses that are not rigid, a camera under the road or far from the car.
    """
    document = read_json(path)
    from_clip = document.get("format") == "jwm-clip"
    _check_keys(path, "the rig", document, {"cameras"}, document.keys() if from_clip else {"name", "lidar"})
    cameras = document["cameras"]
    if not isinstance(cameras, list) or not cameras:
        raise InputError(path, "at least one camera", "none" if cameras == [] else f"cameras = {cameras!r}"[:80])
    read = [_camera(path, i, camera) for i, camera in enumerate(cameras)]
    names = [camera.name for camera in read]
    for name in names:
        if names.count(name) > 1:
            raise InputError(path, "camera names that differ", f"{name!r} twice")
    lidar = None if from_clip or document.get("lidar") is None else _lidar(path, document["lidar"])
    return Rig(str(document.get("name", path.stem)), tuple(read), lidar)


def scaled(rig: Rig, width: int, height: int) -> Rig:
    """All cameras scaled to cover `width` x `height` px, unless the first has that size already."""
    first = rig.cameras[0]
    if (first.width, first.height) == (width, height):
        return rig
    cameras = []
    for c in rig.cameras:
        resized = Camera(c.K, c.width, c.height, c.rig_from_cam).resized(width, height)
        cameras.append(replace(c, K=resized.K, width=width, height=height))
    return replace(rig, cameras=tuple(cameras))


def _camera(path: Path, index: int, c: Any) -> RigCamera:
    where = f"cameras[{index}]"
    _check_keys(path, where, c, _CAMERA_KEYS, _LOOK_KEYS | {"undistorted"})
    name = c["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(path, f"a name of letters, digits, dot, dash and underscore in {where}", repr(name))
    where = f"camera {name}"
    width, height = (_whole(path, f"{key} of {where}", c[key], MIN_SIDE_PX, MAX_SIDE_PX) for key in ("width", "height"))
    K = _array(path, f"K of {where}", c["K"], (3, 3))
    problem = intrinsics_problem(K, width, height)
    if problem is None and min(K[0, 0], K[1, 1]) < MIN_FOCAL * max(width, height):
        problem = f"focal lengths {K[0, 0]:g}, {K[1, 1]:g} px for {width}x{height} px"
    if problem:
        raise InputError(path, f"intrinsics of {where} that fit its image", problem)
    look: dict[str, Any] = {
        key: _number(path, f"{key} of {where}", c[key], low, high)
        for key, low, high in (("gain", 0.01, 100), ("gamma", 0.1, 10), ("saturation", 0, 4), ("vignetting", 0, 1))
        if key in c
    }
    if "white_balance" in c:
        balance = _array(path, f"white_balance of {where}", c["white_balance"], (3,))
        look["white_balance"] = tuple(_number(path, f"white_balance of {where}", float(b), 0.01, 100) for b in balance)
    pose = _mount(path, where, "rig_from_cam", c["rig_from_cam"])
    return RigCamera(name, K, width, height, pose, Optics(**look))


def _lidar(path: Path, value: Any) -> LidarModel:
    _check_keys(path, "lidar", value, {"rig_from_lidar"}, _LIDAR_KEYS)
    pose = _mount(path, "the lidar", "rig_from_lidar", value["rig_from_lidar"])
    if ("beams" in value) == ("elevations_deg" in value):
        raise InputError(path, "beams or elevations_deg in lidar", "both" if "beams" in value else "neither")
    beams = value.get("beams", 32)
    if beams not in (32, 64):
        raise InputError(path, "32 or 64 beams in lidar", repr(beams))
    name = value.get("name", "lidar")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(path, "a name of letters, digits, dot, dash and underscore in lidar", repr(name))
    model = lidar_model(name, pose, beams)
    if "elevations_deg" in value:
        elevations = _array(path, "elevations_deg of the lidar", value["elevations_deg"], None)
        if elevations.ndim != 1 or not 1 <= len(elevations) <= 256 or np.abs(elevations).max() >= 90:
            raise InputError(path, "1 to 256 elevations_deg between -90 and 90", f"{elevations.tolist()}"[:80])
        model = replace(model, elevations_rad=np.radians(np.sort(elevations)))
    if "num_azimuths" in value:
        model = replace(model, num_azimuths=_whole(path, "num_azimuths of the lidar", value["num_azimuths"], 1, 36000))
    if "max_range_m" in value:
        model = replace(model, max_range_m=_number(path, "max_range_m of the lidar", value["max_range_m"], 1, 1000))
    if "rate_hz" in value:
        model = replace(model, rate_hz=_number(path, "rate_hz of the lidar", value["rate_hz"], 0.1, 100))
    return model


def _check_keys(path: Path, where: str, value: Any, needed: set[str], optional: Any) -> None:
    if not isinstance(value, dict):
        raise InputError(path, f"an object as {where}", f"{value!r}"[:80])
    missing, unknown = sorted(needed - value.keys()), sorted(value.keys() - needed - set(optional))
    if missing:
        raise InputError(path, f"{missing[0]} in {where}", "none")
    if unknown:
        raise InputError(path, f"known keys in {where}", repr(unknown[0]))


def _array(path: Path, what: str, value: Any, shape: tuple[int, ...] | None) -> Floats:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise InputError(path, f"numbers as {what}", f"{value!r}"[:80]) from None
    if shape is not None and array.shape != shape:
        raise InputError(path, f"{what} of shape {shape}", f"shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(path, f"finite numbers as {what}", "NaN or infinity")
    return array


def _whole(path: Path, what: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(path, f"a whole number from {low} to {high} as {what}", f"{value!r}"[:80])
    return value


def _number(path: Path, what: str, value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(path, f"a number from {low:g} to {high:g} as {what}", f"{value!r}"[:80])
    return float(value)


def _mount(path: Path, where: str, key: str, value: Any) -> Floats:
    """A pose in the rig [4, 4] that a car can carry."""
    pose = _array(path, f"{key} of {where}", value, (4, 4))
    problem = se3.rigid_problem(pose)
    if problem:
        raise InputError(path, f"a rigid transform as {key} of {where}", problem)
    x, y, z = pose[:3, 3]
    if z < MIN_HEIGHT_M:
        raise InputError(path, f"{where} above the road (z of {key} at least {MIN_HEIGHT_M} m)", f"z = {z:g} m")
    if np.linalg.norm(pose[:3, 3]) > MAX_REACH_M:
        raise InputError(path, f"{where} within {MAX_REACH_M:g} m of the car", f"({x:g}, {y:g}, {z:g}) m")
    return se3.orthonormalized(pose)
