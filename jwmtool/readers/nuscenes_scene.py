"""One scene of nuScenes from the devkit's records: frames, sweeps, tracks. The conventions stand in `nuscenes.py`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.clip import Track
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.recording import Matrix, SourceCamera, SourceFrame, SourceImage, SourceSweep

Record = dict[str, Any]

LICENCE = "CC BY-NC-SA 4.0 and the nuScenes terms of use (non-commercial)"
REFERENCE = "CAM_FRONT"
_ORDER = (REFERENCE, "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
_WEATHER = {"clear": "clear|sunny", "overcast": "overcast|cloudy", "fog": "fog|foggy", "snow": "snow|snowing"}
_WEATHER |= {"rain": "rain|rainy|raining"}
_TIMES = {"day": "day|daytime", "dusk": "dusk|dawn|sunset|sunrise", "night": "night|nighttime"}
_CAN_STEP_US = 50_000


@dataclass(frozen=True)
class Place:
    """What all parts of a scene share.

    Attributes:
        root: the data set; file names in the tables are relative to it.
        world_from_global: [4, 4]; the identity but for our own exports.
        offset_us: to take off all times.
        center_px: to add to cx, cy.
    """

    root: Path
    scene: str
    world_from_global: Matrix
    offset_us: int
    center_px: float

    def time_us(self, record: Record) -> int:
        """When it was recorded."""
        return int(record["timestamp"]) - self.offset_us


def frames_of(nusc: Any, place: Place, records: list[Record]) -> tuple[dict[str, SourceCamera], list[SourceFrame]]:
    """Cameras, and a frame for each image of the reference camera, from the scene's camera records."""
    keys = _there(place, [r for r in records if r["is_key_frame"]], "key frames of the cameras", required=True)
    records = keys + _there(place, [r for r in records if not r["is_key_frame"]], "sweeps of the cameras")
    if not keys:
        raise InputError(place.root, f"images of {place.scene} in the tables", "none")
    by_camera: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: int(r["timestamp"])):
        by_camera.setdefault(record["channel"], []).append(record)
    ranks = {name: _ORDER.index(name) if name in _ORDER else len(_ORDER) for name in by_camera}
    seen_first = {r["channel"]: i for i, r in reversed(list(enumerate(keys)))}
    names = sorted(by_camera, key=lambda name: (ranks[name], seen_first.get(name, len(keys)), name))
    cameras = {name: _camera(nusc, place, name, by_camera[name]) for name in names}
    reference = REFERENCE if REFERENCE in by_camera else max(names, key=lambda name: len(by_camera[name]))
    steps = by_camera[reference]
    taken: list[dict[str, Record]] = [{} for _ in steps]
    for name in names:
        for index, record in _by_step(steps, by_camera[name]).items():
            taken[index][name] = record
    frames = []
    for step, images in zip(steps, taken, strict=True):
        sources = {
            name: SourceImage(
                place.root / record["filename"],
                place.time_us(record),
                _world_from_rig(nusc, place, record) @ cameras[name].rig_from_cam,
            )
            for name, record in images.items()
        }
        world_from_rig = _world_from_rig(nusc, place, step)
        frames.append(SourceFrame(place.time_us(step), world_from_rig, sources, bool(step["is_key_frame"])))
    return cameras, frames


def _by_step(steps: list[Record], records: list[Record]) -> dict[int, Record]:
    """{index of the reference's image: the image of this camera that was taken with it}."""
    times_us = np.array([r["timestamp"] for r in steps], np.int64)
    half_step_us = float(np.median(np.diff(times_us))) / 2 if len(steps) > 1 else 50_000.0
    step_of = {r["sample_token"]: i for i, r in enumerate(steps) if r["is_key_frame"]}
    keys = [r for r in records if r["is_key_frame"] and r["sample_token"] in step_of]
    lags_us = [r["timestamp"] - int(times_us[step_of[r["sample_token"]]]) for r in keys]
    lag_us = float(np.median(lags_us)) if lags_us else 0.0
    chosen = {step_of[r["sample_token"]]: (0.0, r) for r in keys}
    for record in records:
        gaps_us = np.abs(times_us - (record["timestamp"] - lag_us))
        index = int(gaps_us.argmin())
        gap_us = float(gaps_us[index])
        if gap_us <= half_step_us and (index not in chosen or gap_us < chosen[index][0]):
            chosen[index] = (gap_us, record)
    return {index: record for index, (_, record) in chosen.items()}


def _camera(nusc: Any, place: Place, name: str, records: list[Record]) -> SourceCamera:
    tokens = dict.fromkeys(r["calibrated_sensor_token"] for r in records)
    calibrations = [nusc.get("calibrated_sensor", token) for token in tokens]
    told = {json.dumps([c["camera_intrinsic"], c["translation"], c["rotation"]]) for c in calibrations}
    sizes = {(int(r["width"]), int(r["height"])) for r in records}
    if len(told) != 1 or len(sizes) != 1:
        found = f"{len(told)} calibrations, {len(sizes)} sizes"
        raise InputError(place.root, f"one calibration and one size of {name} in {place.scene}", found)
    K = np.array(calibrations[0]["camera_intrinsic"], np.float64).reshape(3, 3)
    K[:2, 2] += place.center_px
    return SourceCamera(name, K, *sizes.pop(), rig_from_cam=_pose(calibrations[0]))


def sweeps_of(nusc: Any, place: Place, records: list[Record]) -> list[SourceSweep]:
    """Sweeps of LIDAR_TOP in order of time, from its records."""
    keys = _there(place, [r for r in records if r["is_key_frame"]], "key frames of the lidar")
    records = keys + _there(place, [r for r in records if not r["is_key_frame"]], "sweeps of the lidar")
    sweeps = []
    for record in sorted(records, key=lambda r: int(r["timestamp"])):
        rig_from_lidar = _pose(nusc.get("calibrated_sensor", record["calibrated_sensor_token"]))
        world_from_lidar = _world_from_rig(nusc, place, record) @ rig_from_lidar
        load = partial(read_points, place.root / record["filename"])
        sweeps.append(SourceSweep(place.time_us(record), world_from_lidar, load))
    return sweeps


def read_points(file: Path) -> NDArray[np.float32]:
    """[M, 4] x, y, z metres in the lidar's frame, intensity (0 to 255); the file's fifth column is the beam."""
    try:
        data = np.fromfile(file, "<f4")
    except FileNotFoundError:
        raise InputError(file, "a lidar sweep", "no such file") from None
    if data.size % 5:
        raise InputError(file, "float32 x, y, z, intensity, ring for each point", f"{data.size} values")
    return data.reshape(-1, 5)[:, :4]


def tracks_of(nusc: Any, place: Place, samples: list[Record]) -> list[Track]:
    """A track for each instance that is annotated in these samples."""
    boxes: dict[str, list[tuple[int, list[float], Matrix]]] = {}
    for sample in sorted(samples, key=lambda r: int(r["timestamp"])):
        for token in sample["anns"]:
            record = nusc.get("sample_annotation", token)
            width, length, height = record["size"]
            world_from_box = place.world_from_global @ _pose(record)
            if not np.isfinite(world_from_box).all():
                raise InputError(place.root, f"a place and a unit quaternion in sample_annotation {token}", "others")
            box = (place.time_us(sample), [length, width, height], world_from_box)
            boxes.setdefault(record["instance_token"], []).append(box)
    tracks = []
    for token, seen in boxes.items():
        instance = nusc.get("instance", token)
        category = instance.get("source_category") or nusc.get("category", instance["category_token"])["name"]
        sizes = np.array([size for _, size, _ in seen], np.float64)
        length, width, height = sizes.max(0).tolist()
        times_us = np.array([time_us for time_us, _, _ in seen], np.int64)
        poses = np.stack([pose for _, _, pose in seen])
        changing = None if np.ptp(sizes, axis=0).max() < 1e-6 else sizes
        id_ = str(instance.get("source_id") or token)
        tracks.append(Track(id_, str(category), (length, width, height), times_us, poses, changing))
    return tracks


def tags_of(description: str) -> dict[str, str]:
    """Weather and time of day, as far as the scene's description has a word for them."""
    tags = {}
    text = re.sub(r"\bafter (\w+ )?rain\b", "", description.lower())
    for group, words in (("weather", _WEATHER), ("time_of_day", _TIMES)):
        for value, pattern in words.items():
            if re.search(rf"\b(?:{pattern})\b", text):
                tags[group] = value
    return tags


def can_bus(folder: Path, scene: str) -> dict[str, Any]:
    """Speed (m/s) and angle of the steering wheel (rad, positive to the left), some 20 times a second; {} without."""
    result = {}
    for key, message, unit, value_of in (
        ("speed", "pose", "mps", lambda m: float(m["vel"][0])),
        ("steering_wheel", "steeranglefeedback", "rad", lambda m: float(m["value"])),
    ):
        file = folder / f"{scene}_{message}.json"
        if not file.is_file():
            continue
        try:
            told = [(int(m["utime"]), value_of(m)) for m in json.loads(file.read_text(encoding="utf-8"))]
        except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(file, "messages of the CAN bus", f"{type(error).__name__} {error}") from None
        kept: list[tuple[int, float]] = []
        for time_us, value in sorted(told):
            if not kept or time_us - kept[-1][0] >= _CAN_STEP_US:
                kept.append((time_us, value))
        result[key] = {"time_us": [t for t, _ in kept], unit: [round(v, 6) for _, v in kept]}
    return result


def _there(place: Place, records: list[Record], what: str, required: bool = False) -> list[Record]:
    """The records if all of their files are there, none if none is (parts of nuScenes are downloaded one by one)."""
    missing = [r["filename"] for r in records if not (place.root / r["filename"]).is_file()]
    if not missing:
        return records
    if len(missing) == len(records) and not required:
        console.notice(f"{place.root}: no {what} of {place.scene}; read without them")
        return []
    found = f"no such file, nor {len(missing) - 1} others of {len(records)}"
    raise InputError(place.root / missing[0], f"all {what} of {place.scene}", found)


def _world_from_rig(nusc: Any, place: Place, record: Record) -> Matrix:
    return place.world_from_global @ _pose(nusc.get("ego_pose", record["ego_pose_token"]))


def _pose(record: Record) -> Matrix:
    """[4, 4] of a record with `rotation` (wxyz) and `translation`."""
    quat = np.array(record["rotation"], np.float64)
    if quat.shape != (4,) or not abs(float(np.linalg.norm(quat)) - 1.0) < 1e-3:
        return np.full((4, 4), np.nan)  # refused by name afterwards
    return se3.from_quat(quat, record["translation"])
