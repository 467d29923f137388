"""Argoverse 2 sensor logs (also TbV, which has no boxes): feather tables, sensors/cameras/, sensors/lidar/, map/.

Conventions: the world is the log's city frame (z up, coordinates of some km, kept in float64); the ego frame has x
forward, y left, z up and its origin on the rear axle, some 0.3 m above the road. `city_SE3_egovehicle` is
world_from_rig, `egovehicle_SE3_sensor` is rig_from_sensor, quaternions are qw, qx, qy, qz; cameras have OpenCV axes.
Times are nanoseconds (file names, timestamp_ns), here cut to microseconds; they are no calendar's. Poses stand at
irregular times, among them those of all sensors: each picture, sweep and box gets the pose at its own time,
interpolated where the table does not hold that very time.

The pictures are undistorted as they are published ("all camera imagery is provided in an undistorted format", user
guide); k1, k2, k3 of intrinsics.feather describe the lens before that and are left aside, as by the authors' API. The
shutter is global. Pixel centers: the files do not say. The API rounds projected coordinates to indices of pixels,
hence centers at integers, so 0.5 is added to cx, cy (its `scale`, which multiplies cx alone, would mean halves).

Sweeps hold both lidars, in the ego frame at the sweep's time, the car's own motion undone. Boxes are in the ego frame
at their timestamp, centered, x along the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError, UsageError
from jwmtool.readers.argoverse2_tables import POSE, EgoPath, Times, nearest, read_table, transforms
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

HAS_SPLITS = True
SPLITS = ("train", "val", "test")
_POSES = "city_SE3_egovehicle.feather"
_INTRINSICS = "calibration/intrinsics.feather"
_EXTRINSICS = "calibration/egovehicle_SE3_sensor.feather"
_BOXES = "annotations.feather"
_CAMERAS = "sensors/cameras"
_REFERENCE = "ring_front_center"  # frames stand at its times
_PERIOD_NS = 50e6  # of the ring cameras
_LENS = ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px")
_SIZE = ("length_m", "width_m", "height_m")
_LANE_KINDS = {"VEHICLE": "driving"}  # as worlds say; others in lower case


def detects(path: Path) -> bool:
    """True for a log, or for a folder of logs or of splits with logs."""
    try:
        return path.is_dir() and bool(_logs(path, first=True))
    except OSError:
        return False


def scenes(path: Path, split: str) -> list[str]:
    """Log ids, in order of their names.

    Raises:
        UsageError: a split other than all, train, val or test. InputError: no such split here, no logs.
    """
    if split not in ("all", *SPLITS):
        raise UsageError(f"--split: expected one of all, {', '.join(SPLITS)}, found {split!r}")
    logs = _logs(path)
    if not logs:
        raise InputError(path, f"Argoverse 2 logs (folders with {_POSES})", "none")
    chosen = [log for log in logs if split in ("all", _split_of(log))]
    if not chosen:
        known = ", ".join(dict.fromkeys(_split_of(log) or "no split" for log in logs))
        raise InputError(path, f"a folder {split}/ with logs", f"logs in {known}")
    return [log.name for log in chosen]


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one log; `scene` is its id, or a part of it that no other id has, where `path` holds several.

    Raises:
        InputError: missing or damaged files, times without poses. MissingPartError: pyarrow is not installed.
    """
    folder = _choose(path, scene)
    for name in (_POSES, _INTRINSICS, _EXTRINSICS):
        if not (folder / name).is_file():
            raise InputError(folder / name, "a table of an Argoverse 2 log", "no such file")
    files = _pictures(folder)
    path_of_ego = EgoPath(folder / _POSES)
    cameras = _cameras(folder, files)
    names = sorted(cameras, key=lambda name: (name != _REFERENCE, not name.startswith("ring"), name))
    cameras = {name: cameras[name] for name in names}
    boxes = _Boxes(folder / _BOXES, path_of_ego) if (folder / _BOXES).is_file() else None
    maps = sorted((folder / "map").glob("log_map_archive_*.json"))
    told: dict[str, Any] = {"log": folder.resolve().name, "split": _split_of(folder) or None}
    if maps and "____" in maps[0].name:
        told["city"] = maps[0].stem.split("____")[1].split("_")[0]
    extras: dict[str, Any] = {"argoverse2": told}
    if maps:
        extras["lanes"] = _lanes(maps[0])
    tables = [folder / name for name in (_POSES, _INTRINSICS, _EXTRINSICS, _BOXES)]
    return Recording(
        name=safe_name(folder.resolve().name),
        format="argoverse2",
        path=folder,
        cameras=cameras,
        frames=_frames(folder, cameras, files, path_of_ego, boxes),
        index_files=tuple(f for f in (*tables, *maps[:1]) if f.is_file()),
        licence=find_licence(folder, "CC BY-NC-SA 4.0 (Argoverse 2)"),
        lidar=_sweeps(folder, path_of_ego),
        tracks=boxes.tracks() if boxes is not None else [],
        extras=extras,
    )


# Folders


def _logs(path: Path, first: bool = False) -> list[Path]:
    """Log folders in `path`, its splits or its sensor/; `first` stops at the first place that has some."""
    if (path / _POSES).is_file():
        return [path]
    found: list[Path] = []
    for place in (path, *(path / s for s in SPLITS), *(path / "sensor" / s for s in SPLITS)):
        found += sorted(file.parent for file in place.glob(f"*/{_POSES}"))
        if found and first:
            break
    return found


def _split_of(log: Path) -> str:
    parent = log.resolve().parent.name
    return parent if parent in SPLITS else ""


def _choose(path: Path, scene: str | None) -> Path:
    found = _logs(path)
    chosen = [f for f in found if scene is None or scene == f.name] or [f for f in found if str(scene) in f.name]
    if len(chosen) != 1:
        names = ", ".join(f.name for f in (chosen or found)[:8]) + (" ..." if len(chosen or found) > 8 else "")
        expected = f"an Argoverse 2 log ({_POSES} and more)" if not found else "one log (--scene chooses among several)"
        raise InputError(path, expected, (f"no {scene} among " if found and not chosen else "") + (names or "none"))
    return chosen[0]


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """Pictures of each camera, in order of time."""
    found: dict[str, list[Path]] = {}
    for place in sorted(p for p in (folder / _CAMERAS).glob("*") if p.is_dir()):
        files = _by_time(place, ".jpg")
        if files:
            found[place.name] = files
    if not found:
        raise InputError(folder / _CAMERAS, "pictures of cameras, <camera>/<timestamp_ns>.jpg", "none")
    return found


def _by_time(folder: Path, suffix: str) -> list[Path]:
    files = list(folder.glob(f"*{suffix}"))
    odd = next((f for f in files if not f.stem.isdecimal()), None)
    if odd is not None:
        raise InputError(odd, "a file named by its time in nanoseconds", odd.name)
    return sorted(files, key=lambda file: int(file.stem))


def _times_ns(files: Sequence[Path]) -> Times:
    return np.array([int(f.stem) for f in files], np.int64)


def _cameras(folder: Path, files: dict[str, list[Path]]) -> dict[str, SourceCamera]:
    lenses = read_table(
        folder / _INTRINSICS, ("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px")
    )
    mounts = read_table(folder / _EXTRINSICS, ("sensor_name", *POSE))
    rig_from_sensor = dict(zip(mounts["sensor_name"], transforms(folder / _EXTRINSICS, mounts), strict=True))
    rows = {name: row for row, name in enumerate(lenses["sensor_name"])}
    result = {}
    for name in files:
        for file, known in ((_INTRINSICS, rows), (_EXTRINSICS, rig_from_sensor)):
            if name not in known:
                raise InputError(folder / file, f"a row for the camera {name}", ", ".join(known) or "none")
        fx, fy, cx, cy, width, height = (float(lenses[key][rows[name]]) for key in _LENS)
        if not (np.isfinite(width) and np.isfinite(height)):
            raise InputError(folder / _INTRINSICS, f"a picture size of {name}", f"{width:g}x{height:g}")
        K = np.array([[fx, 0.0, cx + 0.5], [0.0, fy, cy + 0.5], [0.0, 0.0, 1.0]])
        result[name] = SourceCamera(name, K, int(width), int(height), rig_from_sensor[name])
    missing = [name for name in rows if name not in files]
    if missing:
        console.notice(f"{folder}: no pictures of {', '.join(missing)}")
    return result


# What the log holds


def _frames(
    folder: Path, cameras: dict[str, SourceCamera], files: dict[str, list[Path]], path: EgoPath, boxes: _Boxes | None
) -> list[SourceFrame]:
    """Frames at the times of the first camera; the others' pictures go to the frame that they belong to."""
    reference = next(iter(cameras))
    times_ns = _times_ns(files[reference])
    images: list[dict[str, SourceImage]] = [{} for _ in times_ns]
    num_left = 0
    for name, camera in cameras.items():
        own_ns = _times_ns(files[name])
        poses = path.at(own_ns, f"the picture of {name} at") @ camera.rig_from_cam
        for which, frame in enumerate(_grouped(times_ns, own_ns)):
            if frame < 0:
                num_left += 1
            else:
                images[frame][name] = SourceImage(files[name][which], int(own_ns[which]) // 1000, poses[which])
    if num_left:
        console.detail(f"{folder}: {num_left} pictures left out, far from every picture of {reference}")
    world_from_rig = path.at(times_ns, f"the picture of {reference} at")
    keys = set() if boxes is None else set(nearest(times_ns, boxes.times_ns).tolist())
    return [
        SourceFrame(int(times_ns[i]) // 1000, world_from_rig[i], pictures, key=i in keys)
        for i, pictures in enumerate(images)
    ]


def _grouped(times: Times, own: Times) -> list[int]:
    """For each picture at `own` the frame of `times` that it belongs to, or -1. A frame takes one picture.

    Cameras at the side and rear fire up to half a frame before or after the one ahead: their common shift is found
    first, so that jitter does not send one picture to the frame before and the next to the frame after.
    """
    period = float(np.median(np.diff(times))) if len(times) > 1 else _PERIOD_NS
    offsets = (own - times[nearest(times, own)]) / period
    turn = np.exp(2j * np.pi * offsets[np.abs(offsets) < 1.0]).sum()
    shift = period * float(np.angle(turn)) / (2 * np.pi)
    shifted = own - np.int64(round(shift))
    frames = nearest(times, shifted)
    away = np.abs(times[frames] - shifted)
    result = [-1] * len(own)
    taken: set[int] = set()
    for which in np.argsort(away, kind="stable").tolist():
        if away[which] < 0.5 * period and int(frames[which]) not in taken:
            taken.add(int(frames[which]))
            result[which] = int(frames[which])
    return result


def _sweeps(folder: Path, path: EgoPath) -> list[SourceSweep]:
    files = _by_time(folder / "sensors" / "lidar", ".feather")
    poses: Matrix = path.at(_times_ns(files), "the sweep at")
    return [
        SourceSweep(int(file.stem) // 1000, pose, partial(_read_sweep, file))
        for file, pose in zip(files, poses, strict=True)
    ]


def _read_sweep(file: Path) -> NDArray[np.float32]:
    table = read_table(file, ("x", "y", "z", "intensity"))
    return np.column_stack([np.asarray(table[name], np.float32) for name in ("x", "y", "z", "intensity")])


class _Boxes:
    """annotations.feather, its boxes in the world."""

    def __init__(self, file: Path, path: EgoPath) -> None:
        self._table = read_table(file, ("timestamp_ns", "track_uuid", "category", *_SIZE, *POSE))
        rows_ns = np.asarray(self._table["timestamp_ns"], np.int64)
        self.times_ns, which = np.unique(rows_ns, return_inverse=True)
        world_from_rig = path.at(self.times_ns, "the boxes at")
        self._rows_us = rows_ns // 1000
        self._world_from_box = world_from_rig[which.reshape(-1)] @ transforms(file, self._table)

    def tracks(self) -> list[Track]:
        rows_of: dict[str, list[int]] = {}
        for row, track in enumerate(self._table["track_uuid"]):
            rows_of.setdefault(track, []).append(row)
        sizes = np.column_stack([np.asarray(self._table[name], np.float64) for name in _SIZE])
        result = []
        for track, listed in rows_of.items():
            times_us, first = np.unique(self._rows_us[listed], return_index=True)
            rows = np.array(listed)[first]
            length, width, height = np.median(sizes[rows], axis=0).tolist()
            category = self._table["category"][rows[0]]
            result.append(Track(track, category, (length, width, height), times_us, self._world_from_box[rows]))
        return result


def _lanes(file: Path) -> list[dict[str, Any]]:
    """Middle lines of the map's lanes, in the layout of worlds: id, kind, width_m, points [[x, y, z], ...]."""
    lanes = []
    document = read_json(file)
    try:
        for segment in document["lane_segments"].values():
            left, right = (
                np.array([[p["x"], p["y"], p["z"]] for p in segment[f"{side}_lane_boundary"]], np.float64)
                for side in ("left", "right")
            )
            if len(left) < 2 or len(right) < 2:
                continue
            count = max(len(left), len(right))
            left, right = _resampled(left, count), _resampled(right, count)
            lanes.append({
                "id": str(segment["id"]),
                "kind": _LANE_KINDS.get(segment["lane_type"], str(segment["lane_type"]).lower()),
                "width_m": round(float(np.linalg.norm(left - right, axis=1).mean()), 3),
                "intersection": bool(segment["is_intersection"]),
                "points": np.round(0.5 * (left + right), 3).tolist(),
            })  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(file, "a vector map of Argoverse 2", found) from None
    return lanes


def _resampled(line: Matrix, count: int) -> Matrix:
    """A line [N, 3] as `count` points at equal steps along it."""
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    steps = np.linspace(0.0, along[-1], count)
    return np.column_stack([np.interp(steps, along, line[:, axis]) for axis in range(3)])
