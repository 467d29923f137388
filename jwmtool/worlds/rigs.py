"""Rigs: the cameras and the lidar that a world is seen with: four layouts drawn widely by seed, or a JSON file.

The rig's origin lies on the road under the middle of the rear axle: x forward, y left, z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.worlds.random_stream import Stream

Floats = NDArray[np.float64]

RIGS = ("front1", "front3", "surround6", "stereo")
LIDARS = ("auto", "none", "32", "64")
DEFAULT_SIZE = (448, 256)


@dataclass(frozen=True)
class Optics:
    """What a camera's sensor makes of the light.

    Attributes:
        gain: factor on the world's own exposure.
        white_balance: factors on linear red, green and blue.
        gamma: exponent of the tone curve beside sRGB's own; above 1 is more contrast.
        saturation: 0 gray, 1 as it is.
        vignetting: share of the light that is missing in the corners.
    """

    gain: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    saturation: float = 1.0
    vignetting: float = 0.0


@dataclass(frozen=True)
class RigCamera:
    """One camera of a rig.

    Attributes:
        K: [3, 3] px, first pixel's center at (0.5, 0.5), no skew.
        width, height: px.
        rig_from_cam: [4, 4].
        optics: what its sensor makes of the light.
    """

    name: str
    K: Floats
    width: int
    height: int
    rig_from_cam: Floats
    optics: Optics = Optics()


@dataclass(frozen=True)
class LidarModel:
    """A spinning lidar.

    Attributes:
        rig_from_lidar: [4, 4]; the sensor's z is its axis, azimuth 0 its x.
        elevations_rad: [B] of its beams, positive up, increasing.
        num_azimuths: shots of each beam per turn.
        max_range_m: farther hits are lost.
        rate_hz: turns a second.
    """

    name: str
    rig_from_lidar: Floats
    elevations_rad: Floats
    num_azimuths: int
    max_range_m: float
    rate_hz: float


@dataclass(frozen=True)
class Rig:
    """Cameras, and perhaps a lidar."""

    name: str
    cameras: tuple[RigCamera, ...]
    lidar: LidarModel | None = None

    def camera(self, name: str) -> RigCamera:
        """The camera of this name; KeyError if there is none."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(name)


def make_rig(name: str | Path, width: int, height: int, stream: Stream, lidar: str = "auto") -> Rig:
    """Draw a built-in rig, or read one from a JSON file.

    Args:
        name: one of RIGS, or the path of a JSON file (see `rig_file.read_rig`; a clip.json does as well).
        width, height: px of every image. Cameras of a file keep their own sizes if the first has this one; else all
            are scaled to cover it and cropped about the center.
        stream: decides what the layout leaves open: heights, fields of view, exposure.
        lidar: `auto` (what the rig has), `none`, `32` or `64` beams.

    Raises:
        UsageError: an unknown rig or lidar. InputError: a rig file that makes no sense.
    """
    if lidar not in LIDARS:
        raise UsageError(f"--lidar: expected one of {', '.join(LIDARS)}, found {lidar!r}")
    if str(name) in RIGS:
        rig = _BUILDERS[str(name)](width, height, stream)
    elif is_rig_file(name):
        from jwmtool.worlds.rig_file import read_rig, scaled

        rig = scaled(read_rig(Path(name)), width, height)
    else:
        raise UsageError(f"--rig: expected one of {', '.join(RIGS)} or a JSON file, found {str(name)!r}")
    if lidar == "none":
        return replace(rig, lidar=None)
    if lidar == "auto":
        return rig
    place = translation(0.95, 0.0, 1.84) if rig.lidar is None else rig.lidar.rig_from_lidar
    return replace(rig, lidar=lidar_model("lidar" if rig.lidar is None else rig.lidar.name, place, int(lidar)))


def is_rig_file(name: str | Path) -> bool:
    """True if this names a file rather than a built-in rig."""
    return str(name) not in RIGS and (Path(name).suffix == ".json" or Path(name).is_file())


def rig_size(name: str | Path) -> tuple[int, int]:
    """(width, height) px of pictures if nobody asks for another: a file's first camera's, else DEFAULT_SIZE."""
    if not is_rig_file(name):
        return DEFAULT_SIZE
    from jwmtool.worlds.rig_file import read_rig

    first = read_rig(Path(name)).cameras[0]
    return first.width, first.height


def lidar_model(name: str, rig_from_lidar: Floats, num_beams: int) -> LidarModel:
    """A 32-beam sensor (as on nuScenes: 20 Hz, 10.67 to -30.67 degrees) or a 64-beam one (KITTI: 10 Hz, 2 to -24.8)."""
    if num_beams == 32:
        elevations, num_azimuths, max_range_m, rate_hz = np.linspace(-30.67, 10.67, 32), 1085, 100.0, 20.0
    else:
        elevations = np.concatenate([np.linspace(-24.8, -8.83, 32), np.linspace(-8.33, 2.0, 32)])
        num_azimuths, max_range_m, rate_hz = 1800, 120.0, 10.0
    return LidarModel(name, rig_from_lidar, np.radians(elevations), num_azimuths, max_range_m, rate_hz)


def translation(x_m: float, y_m: float, z_m: float) -> Floats:
    """[4, 4]."""
    return se3.translation((x_m, y_m, z_m))


def rig_from_camera(position_m: tuple[float, float, float], yaw: float, pitch: float, roll: float) -> Floats:
    """Pose [4, 4] of a camera; degrees: yaw to the left, pitch down, roll clockwise as seen by the camera."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_y = np.array([[math.cos(p), 0, math.sin(p)], [0, 1, 0], [-math.sin(p), 0, math.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(r), -math.sin(r)], [0, math.sin(r), math.cos(r)]])
    pose = np.eye(4)
    pose[:3, :3] = se3.rotation_z(y)[:3, :3] @ about_y @ about_x @ se3.RIG_FROM_CAM_AXES[:3, :3]
    pose[:3, 3] = position_m
    return pose


def intrinsics(width: int, height: int, focal: float, center: tuple[float, float]) -> Floats:
    """K [3, 3]: `focal` in image widths, `center` in shares of width and height."""
    f = round(focal * width, 4)
    return np.array([[f, 0.0, round(center[0] * width, 4)], [0.0, f, round(center[1] * height, 4)], [0.0, 0.0, 1.0]])


def _focal(field_of_view_deg: float) -> float:
    """In image widths."""
    return 0.5 / math.tan(math.radians(0.5 * field_of_view_deg))


@dataclass(frozen=True)
class _Mount:
    """How one camera sits: metres in the rig, yaw in degrees, focal length in image widths."""

    name: str
    position_m: tuple[float, float, float]
    yaw_deg: float
    focal: float
    center: tuple[float, float] = (0.5, 0.5)


def _cameras(mounts: list[_Mount], width: int, height: int, stream: Stream) -> tuple[RigCamera, ...]:
    """Cameras of one make: one look for all, with small differences of angle, exposure and color between them."""
    look = stream.sub("look")
    gain, gamma, saturation = 2.0 ** look.uniform(-0.5, 0.5), look.uniform(0.85, 1.2), look.uniform(0.75, 1.2)
    warm, green = 2.0 ** look.uniform(-0.2, 0.2), 2.0 ** look.uniform(-0.06, 0.06)
    vignetting = look.uniform(0.0, 0.3)
    cameras = []
    for mount in mounts:
        own = stream.sub(mount.name)
        pose = rig_from_camera(
            mount.position_m, mount.yaw_deg + own.uniform(-1, 1), own.uniform(-1.5, 2.5), own.uniform(-0.8, 0.8)
        )
        own_warm = warm * 2.0 ** own.uniform(-0.04, 0.04)
        cameras.append(
            RigCamera(
                mount.name,
                intrinsics(width, height, mount.focal, mount.center),
                width,
                height,
                pose,
                Optics(
                    gain=gain * 2.0 ** own.uniform(-0.1, 0.1),
                    white_balance=(own_warm, green, 1.0 / own_warm),
                    gamma=gamma,
                    saturation=saturation,
                    vignetting=vignetting,
                ),
            )
        )
    return tuple(cameras)


def _center(stream: Stream, spread: float) -> tuple[float, float]:
    """Principal point in shares of the image; crops move it more in height than in width."""
    return 0.5 + stream.uniform(-spread, spread), 0.5 + 2.0 * stream.uniform(-spread, spread)


def _front1(width: int, height: int, stream: Stream) -> Rig:
    place = stream.sub("place")
    position = (place.uniform(0.6, 2.2), place.uniform(-0.25, 0.25), place.uniform(1.2, 2.2))
    focal, center = _focal(place.uniform(45.0, 100.0)), _center(place, 0.04)
    mounts = [_Mount("front", position, place.uniform(-2.0, 2.0), focal, center)]
    return Rig("front1", _cameras(mounts, width, height, stream))


def _front3(width: int, height: int, stream: Stream) -> Rig:
    place = stream.sub("place")
    x, z = place.uniform(1.2, 1.8), place.uniform(1.4, 2.2)
    yaw = place.uniform(44.0, 56.0)
    focal = _focal(yaw + place.uniform(4.0, 12.0))  # neighbors overlap by a few degrees
    mounts = [
        _Mount("front_left", (x - 0.05, 0.12, z), yaw, focal, _center(place, 0.015)),
        _Mount("front", (x, 0.0, z), 0.0, focal, _center(place, 0.015)),
        _Mount("front_right", (x - 0.05, -0.12, z), -yaw, focal, _center(place, 0.015)),
    ]
    return Rig("front3", _cameras(mounts, width, height, stream))


# Names, places and focal ratios of the nuScenes cars (published with that data set's calibration).
_NUSCENES = (
    _Mount("CAM_FRONT", (1.70, 0.02, 1.51), 0.0, 0.791, (0.510, 0.546)),
    _Mount("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55.0, 0.788, (0.505, 0.550)),
    _Mount("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55.0, 0.795, (0.517, 0.533)),
    _Mount("CAM_BACK", (0.03, 0.00, 1.58), 180.0, 0.506, (0.518, 0.535)),
    _Mount("CAM_BACK_LEFT", (1.04, 0.48, 1.59), 110.0, 0.785, (0.495, 0.548)),
    _Mount("CAM_BACK_RIGHT", (1.01, -0.48, 1.56), -110.0, 0.787, (0.505, 0.557)),
)


def _surround6(width: int, height: int, stream: Stream) -> Rig:
    place = stream.sub("place")
    rise, zoom = place.uniform(-0.15, 0.35), place.uniform(0.95, 1.04)
    mounts = [
        replace(m, position_m=(m.position_m[0], m.position_m[1], m.position_m[2] + rise), focal=m.focal * zoom)
        for m in _NUSCENES
    ]
    # nuScenes' sensor has x to the right and y ahead.
    rig_from_lidar = translation(0.94, 0.0, 1.84 + rise) @ se3.rotation_z(-0.5 * math.pi)
    return Rig("surround6", _cameras(mounts, width, height, stream), lidar_model("LIDAR_TOP", rig_from_lidar, 32))


def _stereo(width: int, height: int, stream: Stream) -> Rig:
    """A rectified pair: same intrinsics, same orientation, 0.54 m apart along the image rows."""
    place = stream.sub("place")
    position = (1.03 + place.uniform(-0.1, 0.3), 0.27, 1.65 + place.uniform(-0.2, 0.25))
    mount = _Mount("left", position, 0.0, 0.58 * place.uniform(0.95, 1.05), (0.491, 0.46 + place.uniform(-0.03, 0.03)))
    left = _cameras([mount], width, height, stream)[0]
    right_from_left = translation(0.54, 0.0, 0.0)
    right = replace(
        left,
        name="right",
        rig_from_cam=left.rig_from_cam @ right_from_left,
        optics=replace(left.optics, gain=left.optics.gain * 1.02),
    )
    return Rig("stereo", (left, right), lidar_model("lidar", translation(0.76, 0.0, 1.73), 64))


_BUILDERS = {"front1": _front1, "front3": _front3, "surround6": _surround6, "stereo": _stereo}
