"""A Waymo segment as its files tell it (either version), and how it becomes a Recording; conventions in waymo.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError
from scipy.spatial.transform import Rotation

from jwmtool import console
from jwmtool.artifacts.clip import Track
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.recording import (
    Matrix,
    Recording,
    SourceCamera,
    SourceFrame,
    SourceImage,
    SourceSweep,
    find_licence,
    safe_name,
)

# The numbers of dataset.proto and label.proto; version 2 has the same.
CAMERAS = {
    1: "FRONT", 2: "FRONT_LEFT", 3: "FRONT_RIGHT", 4: "SIDE_LEFT", 5: "SIDE_RIGHT",
    6: "REAR_LEFT", 7: "REAR", 8: "REAR_RIGHT",
}  # fmt: skip
_READOUTS = ("unknown", "top_to_bottom", "left_to_right", "bottom_to_top", "right_to_left", "global_shutter")
_CATEGORIES = ("unknown", "vehicle", "pedestrian", "sign", "cyclist")
_WEATHER = {"sunny": "clear"}
_TIMES_OF_DAY = {"dawn/dusk": "dusk"}
_LICENCE = "Waymo Dataset License Agreement for Non-Commercial Use (waymo.com/open/terms)"
_WORLD = "Waymo's global frame: x east, y north, z up"
_VEHICLE_FROM_CAM_AXES = se3.RIG_FROM_CAM_AXES  # Waymo's camera axes are those of a rig: x forward, y left, z up
_FAR_S = 0.5  # further from its pose's time no picture is taken
_BASE_US, _LEAST_BASE_US = 50_000, 5_000  # of what a pose beyond the first or last known one is extrapolated from


@dataclass(frozen=True)
class RawCamera:
    """Calibration of one camera: f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3; axes x forward, y left, z up."""

    intrinsics: tuple[float, ...]
    vehicle_from_camera: Matrix  # [4, 4]
    width: int
    height: int
    readout: int  # number in RollingShutterReadOutDirection


@dataclass(frozen=True)
class RawImage:
    """One picture; times in seconds since 1970, 0 where they are not told."""

    source: Callable[[], NDArray[np.uint8]]
    world_from_vehicle: Matrix  # [4, 4] at pose_s
    pose_s: float
    shutter_s: float
    trigger_s: float
    readout_done_s: float


@dataclass(frozen=True)
class RawLabel:
    """One box of a lidar label, upright in the vehicle's frame."""

    id: str
    type: int
    center: tuple[float, float, float]
    size: tuple[float, float, float]  # length, width, height
    heading_rad: float


@dataclass(frozen=True)
class RawFrame:
    """One frame. `points` returns [M, 4] in the vehicle's frame; None without a lidar."""

    timestamp_us: int
    world_from_vehicle: Matrix  # [4, 4]
    images: dict[int, RawImage]  # by camera number
    labels: list[RawLabel]
    points: Callable[[], NDArray[np.float32]] | None


@dataclass(frozen=True)
class Segment:
    """One segment; `stats` has weather, time_of_day and location as the files say them, where they do."""

    name: str
    path: Path
    cameras: dict[int, RawCamera]
    frames: list[RawFrame]
    stats: dict[str, str] = field(default_factory=dict)
    index_files: tuple[Path, ...] = ()


def transform(values: ArrayLike, path: Path, what: str) -> Matrix:
    """A rigid [4, 4] from 16 numbers, row by row.

    Raises:
        InputError: something else.
    """
    flat = np.asarray(values, np.float64).ravel()
    problem = se3.rigid_problem(flat.reshape(4, 4)) if flat.size == 16 else f"{flat.size} numbers"
    if problem:
        raise InputError(path, f"a rigid 4x4 transform as {what}", problem)
    return flat.reshape(4, 4)


def decode_picture(data: bytes, path: Path, what: str) -> NDArray[np.uint8]:
    """A JPEG as sRGB [H, W, 3].

    Raises:
        InputError: damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        found = "no picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise InputError(path, f"a JPEG as {what}", found) from None


def to_recording(segment: Segment) -> Recording:
    """The segment in our frames and units.

    Raises:
        InputError: times or intrinsics that cannot be.
    """
    path = segment.path
    cameras = {number: _camera(path, number, raw) for number, raw in sorted(segment.cameras.items())}
    raw_frames = [frame for frame in segment.frames if frame.images]
    if len(raw_frames) < len(segment.frames):
        console.notice(f"{path}: {len(segment.frames) - len(raw_frames)} frames without a picture are left out")
    raw_frames.sort(key=lambda frame: frame.timestamp_us)
    taken = [(frame, number, frame.images[number]) for frame in raw_frames for number in sorted(frame.images)]
    for frame, number, _ in taken:
        if number not in cameras:
            expected = f"a calibration of camera {camera_name(number)}"
            raise InputError(path, expected, f"none, but a picture of it at {frame.timestamp_us} us")
    times_us = [_middle_us(path, number, image) for _, number, image in taken]
    known = {_us(image.pose_s): image.world_from_vehicle for _, _, image in reversed(taken)}
    ego = iter(zip(times_us, poses_at(known, times_us), strict=True))
    frames, sweeps = [], []
    boxes: dict[str, list[tuple[int, RawLabel, Matrix]]] = {}
    shutters: dict[str, list[list[int]]] = {camera.name: [] for camera in cameras.values()}
    for frame in raw_frames:
        time_us = _frame_time_us(frame)
        images = {}
        for number, image in sorted(frame.images.items()):
            camera = cameras[number]
            image_us, world_from_vehicle = next(ego)
            images[camera.name] = SourceImage(image.source, image_us, world_from_vehicle @ camera.rig_from_cam)
            told = [image_us, _us(image.trigger_s), _us(image.readout_done_s), _us(image.shutter_s)]
            shutters[camera.name].append(told)
        frames.append(SourceFrame(time_us, frame.world_from_vehicle, images))
        if frame.points is not None:
            sweeps.append(SourceSweep(time_us, frame.world_from_vehicle, frame.points))
        for label in frame.labels:
            boxes.setdefault(label.id, []).append((time_us, label, frame.world_from_vehicle))
    rolling = {
        cameras[number].name: {
            "direction": _READOUTS[raw.readout] if 0 <= raw.readout < len(_READOUTS) else "unknown",
            "time_trigger_done_shutter_us": shutters[cameras[number].name],
        }
        for number, raw in sorted(segment.cameras.items())
    }
    timestamps = [[f.time_us, raw.timestamp_us] for f, raw in zip(frames, raw_frames, strict=True)]
    return Recording(
        name=safe_name(segment.name),
        format="waymo",
        path=path,
        cameras={camera.name: camera for camera in cameras.values()},
        frames=frames,
        index_files=segment.index_files,
        licence=find_licence(path if path.is_dir() else path.parent, _LICENCE),
        lidar=sweeps,
        tracks=[_track(id_, seen) for id_, seen in boxes.items()],
        tags=_tags(segment.stats),
        extras={"waymo": {"world": _WORLD, "time_and_timestamp_us": timestamps, "rolling_shutter": rolling}},
    )


def camera_name(number: int) -> str:
    """`FRONT`; a number that nobody knows is named as such."""
    return CAMERAS.get(number, f"camera_{number}")


def poses_at(known: dict[int, Matrix], times_us: list[int]) -> Matrix:
    """Poses [Q, 4, 4] between those known at their times; beyond the ends the car goes on as it did there."""
    at = sorted(known)
    poses = np.stack([known[t] for t in at])
    times = np.array(at, np.int64)
    queries = np.array(times_us, np.int64)
    result = se3.interpolate(times - times[0], poses, queries - times[0])
    for end, before in ((-1, times <= times[-1] - _BASE_US), (0, times >= times[0] + _BASE_US)):
        candidates = np.flatnonzero(before)
        base = (int(candidates[-1]) if end else int(candidates[0])) if len(candidates) else (0 if end else -1)
        span_us = int(times[end] - times[base])
        if abs(span_us) < _LEAST_BASE_US:
            continue
        turn = Rotation.from_matrix(poses[end, :3, :3] @ poses[base, :3, :3].T).as_rotvec() / span_us
        velocity = (poses[end, :3, 3] - poses[base, :3, 3]) / span_us
        for k in np.flatnonzero(queries > times[-1] if end else queries < times[0]):
            beyond_us = int(queries[k] - times[end])
            result[k, :3, :3] = Rotation.from_rotvec(turn * beyond_us).as_matrix() @ poses[end, :3, :3]
            result[k, :3, 3] = poses[end, :3, 3] + velocity * beyond_us
    return result


def _camera(path: Path, number: int, raw: RawCamera) -> SourceCamera:
    name = camera_name(number)
    if len(raw.intrinsics) != 9:
        expected = f"f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3 of camera {name}"
        raise InputError(path, expected, f"{len(raw.intrinsics)} numbers")
    f_u, f_v, c_u, c_v, *distortion = raw.intrinsics
    K = np.array([[f_u, 0.0, c_u], [0.0, f_v, c_v], [0.0, 0.0, 1.0]])
    rig_from_cam = raw.vehicle_from_camera @ _VEHICLE_FROM_CAM_AXES
    return SourceCamera(name, K, raw.width, raw.height, rig_from_cam, "opencv", tuple(distortion))


def _middle_us(path: Path, number: int, image: RawImage) -> int:
    """When the middle column (or row) of a picture was in the middle of its exposure."""
    if image.pose_s <= 0:
        raise InputError(path, f"the time of the pose of a picture of {camera_name(number)}", f"{image.pose_s}")
    if image.trigger_s == 0 or image.readout_done_s == 0:
        return _us(image.pose_s)
    middle_s = 0.5 * (image.trigger_s + image.readout_done_s)
    if not image.readout_done_s >= image.trigger_s or not abs(middle_s - image.pose_s) < _FAR_S:
        found = f"{image.trigger_s:.6f} and {image.readout_done_s:.6f} s"
        expected = f"trigger and readout of camera {camera_name(number)} about its pose's time {image.pose_s:.6f} s"
        raise InputError(path, expected, found)
    return _us(middle_s)


def _frame_time_us(frame: RawFrame) -> int:
    """When the car was at the frame's pose: at the time of that picture's pose that it is, or is nearest to."""

    def off(item: tuple[int, RawImage]) -> float:
        difference = item[1].world_from_vehicle - frame.world_from_vehicle
        return float(np.abs(difference[:3, 3]).sum() + np.abs(difference[:3, :3]).sum())

    return _us(min(sorted(frame.images.items()), key=off)[1].pose_s)


def _track(id_: str, seen: list[tuple[int, RawLabel, Matrix]]) -> Track:
    labels = [label for _, label, _ in seen]
    sizes = np.array([label.size for label in labels], np.float64)
    length, width, height = sizes.max(0).tolist()
    kind = labels[0].type
    poses = [p @ se3.translation(label.center) @ se3.rotation_z(label.heading_rad) for _, label, p in seen]
    return Track(
        id=id_,
        category=_CATEGORIES[kind] if 0 <= kind < len(_CATEGORIES) else _CATEGORIES[0],
        size=(length, width, height),
        times_us=np.array([time_us for time_us, _, _ in seen], np.int64),
        world_from_box=np.stack(poses),
        sizes=None if np.ptp(sizes, axis=0).max() < 1e-3 else sizes,
    )


def _tags(stats: dict[str, str]) -> dict[str, Any]:
    told = {key: value.strip().lower() for key, value in stats.items() if value.strip()}
    words = {"weather": _WEATHER, "time_of_day": _TIMES_OF_DAY}
    return {key: words.get(key, {}).get(value, value) for key, value in told.items()}


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
