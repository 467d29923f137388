"""Version 2 of the Waymo Open Dataset: a folder for each component (camera_image/, lidar/ ...), a table a segment.

Columns are named as in the published components: `key.frame_timestamp_micros`, `[LiDARBoxComponent].box.heading`.
Needed are camera_image, camera_calibration and vehicle_pose; lidar needs lidar_calibration and lidar_pose; lidar_box
and stats are taken where they are. A component that is there must have the segment.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError
from jwmtool.readers.recording import Matrix
from jwmtool.readers.waymo_parquet import column_names, read_columns, read_rows, require_pyarrow
from jwmtool.readers.waymo_range_image import LidarCalibration, range_image_points
from jwmtool.readers.waymo_segment import (
    RawCamera,
    RawFrame,
    RawImage,
    RawLabel,
    Segment,
    camera_name,
    decode_picture,
    transform,
)

_TIME, _CAMERA, _LASER = "key.frame_timestamp_micros", "key.camera_name", "key.laser_name"
_PICTURE = ("[CameraImageComponent].image",)
_RANGES = tuple(f"[LiDARComponent].range_image_return{k}.{part}" for k in (1, 2) for part in ("values", "shape"))
_POSES = tuple(f"[LiDARPoseComponent].range_image_return1.{part}" for part in ("values", "shape"))
_INTRINSICS = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
_FOR_LIDAR = ("lidar_calibration", "lidar_pose")
_Rows = dict[tuple[int, int], int]  # frame's time and lidar -> row


def read_segment(root: Path, name: str) -> Segment:
    """Read the index of one segment.

    Args:
        root: the folder with the components.
        name: of the segment, as the files are named.

    Raises:
        InputError: a missing or damaged table. MissingPartError: no pyarrow.
    """
    file = {c: root / c / f"{name}.parquet" for c in _components(root)}
    for component in ("camera_image", "camera_calibration", "vehicle_pose"):
        if component not in file:
            raise InputError(root / component, f"{name}.parquet", "no such folder")
    for path in file.values():
        if not path.is_file():
            raise InputError(path, "the segment's table, as in camera_image/", "no such file")
    require_pyarrow()  # the layout is sound: only now
    frames = {time: RawFrame(time, pose, {}, [], None) for time, pose in _poses(file["vehicle_pose"])}
    _add_images(file["camera_image"], frames)
    if "lidar_box" in file:
        _add_labels(file["lidar_box"], frames)
    if "lidar" in file:
        frames = _with_points(root, file, frames)
    stats = _stats(file["stats"]) if "stats" in file else {}
    small = ("camera_calibration", "vehicle_pose", "lidar_calibration", "lidar_box", "stats")
    index_files = tuple(file[component] for component in small if component in file)
    return Segment(name, root, _cameras(file["camera_calibration"]), list(frames.values()), stats, index_files)


def _components(root: Path) -> list[str]:
    known = ("camera_image", "camera_calibration", "vehicle_pose", "lidar_box", "stats", "lidar", *_FOR_LIDAR)
    there = [component for component in known if (root / component).is_dir()]
    if "lidar" in there:
        for needed in _FOR_LIDAR:
            if needed not in there:
                raise InputError(root / needed, "the folder that lidar/ needs", "no such folder")
    return there


def _poses(path: Path) -> list[tuple[int, Matrix]]:
    column = "[VehiclePoseComponent].world_from_vehicle.transform"
    rows = read_columns(path, {"time": _TIME, "pose": column})
    poses = [(row["time"], transform(row["pose"], path, f"pose of the frame at {row['time']} us")) for row in rows]
    return sorted(poses, key=lambda item: item[0])


def _cameras(path: Path) -> dict[int, RawCamera]:
    prefix = "[CameraCalibrationComponent]"
    columns = {name: f"{prefix}.intrinsic.{name}" for name in _INTRINSICS}
    columns |= {
        "camera": _CAMERA, "extrinsic": f"{prefix}.extrinsic.transform", "width": f"{prefix}.width",
        "height": f"{prefix}.height", "readout": f"{prefix}.rolling_shutter_direction",
    }  # fmt: skip
    return {
        row["camera"]: RawCamera(
            tuple(float(row[name]) for name in _INTRINSICS),
            transform(row["extrinsic"], path, f"extrinsic of camera {camera_name(row['camera'])}"),
            row["width"],
            row["height"],
            row["readout"] or 0,
        )
        for row in read_columns(path, columns)
    }


def _add_images(path: Path, frames: dict[int, RawFrame]) -> None:
    prefix = "[CameraImageComponent]"
    shutter = f"{prefix}.rolling_shutter_params"
    columns = {
        "time": _TIME, "camera": _CAMERA, "pose": f"{prefix}.pose.transform", "at": f"{prefix}.pose_timestamp",
        "shutter": f"{shutter}.shutter", "trigger": f"{shutter}.camera_trigger_time",
        "done": f"{shutter}.camera_readout_done_time",
    }  # fmt: skip
    for number, row in enumerate(read_columns(path, columns)):
        what = f"the picture of {camera_name(row['camera'])} at {row['time']} us"
        if row["time"] not in frames:
            raise InputError(path, f"a frame in vehicle_pose/ for {what}", "none")
        frames[row["time"]].images[row["camera"]] = RawImage(
            source=partial(_read_picture, path, number, what),
            world_from_vehicle=transform(row["pose"], path, f"pose of {what}"),
            pose_s=row["at"] or 0.0,
            shutter_s=row["shutter"] or 0.0,
            trigger_s=row["trigger"] or 0.0,
            readout_done_s=row["done"] or 0.0,
        )


def _add_labels(path: Path, frames: dict[int, RawFrame]) -> None:
    prefix = "[LiDARBoxComponent]"
    columns = {"time": _TIME, "id": "key.laser_object_id", "type": f"{prefix}.type", "heading": f"{prefix}.box.heading"}
    columns |= {f"{part}.{axis}": f"{prefix}.box.{part}.{axis}" for part in ("center", "size") for axis in "xyz"}
    for row in read_columns(path, columns):
        if row["time"] in frames:
            x, y, z = (row[f"center.{axis}"] for axis in "xyz")
            length, width, height = (row[f"size.{axis}"] for axis in "xyz")
            label = RawLabel(row["id"], row["type"] or 0, (x, y, z), (length, width, height), row["heading"])
            frames[row["time"]].labels.append(label)


def _with_points(root: Path, file: dict[str, Path], frames: dict[int, RawFrame]) -> dict[int, RawFrame]:
    """The frames with a function that reads their points."""
    calibrations = _lidars(file["lidar_calibration"])
    ranges, poses = _row_numbers(file["lidar"]), _row_numbers(file["lidar_pose"])
    missing = [c for c in _RANGES if c not in column_names(file["lidar"])]
    missing += [c for c in _POSES if c not in column_names(file["lidar_pose"])]
    if missing:
        raise InputError(root, f"a column {missing[0]} of lidar/ or lidar_pose/", "none")
    unknown = sorted({laser for _, laser in ranges} - set(calibrations))
    if unknown:
        raise InputError(file["lidar_calibration"], f"a calibration of lidar {unknown[0]}", "none")
    result = {}
    for time, frame in frames.items():
        lasers = sorted(laser for at, laser in ranges if at == time)
        rows = tuple((laser, ranges[time, laser], poses.get((time, laser))) for laser in lasers)
        load = partial(
            _read_points, file["lidar"], file["lidar_pose"], time, rows, calibrations, frame.world_from_vehicle
        )
        result[time] = RawFrame(time, frame.world_from_vehicle, frame.images, frame.labels, load if rows else None)
    return result


def _row_numbers(path: Path) -> _Rows:
    rows = read_columns(path, {"time": _TIME, "laser": _LASER})
    return {(row["time"], row["laser"]): number for number, row in enumerate(rows)}


def _lidars(path: Path) -> dict[int, LidarCalibration]:
    prefix = "[LiDARCalibrationComponent]"
    columns = {"laser": _LASER, "extrinsic": f"{prefix}.extrinsic.transform"}
    columns |= {part: f"{prefix}.beam_inclination.{part}" for part in ("min", "max", "values")}
    return {
        row["laser"]: LidarCalibration(
            transform(row["extrinsic"], path, f"extrinsic of lidar {row['laser']}"),
            tuple(row["values"] if row["values"] is not None else ()),
            row["min"] or 0.0,
            row["max"] or 0.0,
        )
        for row in read_columns(path, columns)
    }


def _stats(path: Path) -> dict[str, str]:
    columns = {name: f"[StatsComponent].{name}" for name in ("time_of_day", "location", "weather")}
    rows = read_columns(path, columns)
    return {name: rows[0][name] or "" for name in columns} if rows else {}


def _read_picture(path: Path, row: int, what: str) -> NDArray[np.uint8]:
    data = read_rows(path, _PICTURE, [row])[0].column(0)[0].as_py()
    if not data:
        raise InputError(path, what, "none")
    return decode_picture(data, path, what)


def _read_points(
    path: Path,
    poses_path: Path,
    timestamp_us: int,
    rows: tuple[tuple[int, int, int | None], ...],  # lidar, its row, the row of its pixels' poses
    calibrations: dict[int, LidarCalibration],
    world_from_vehicle: Matrix,
) -> NDArray[np.float32]:
    clouds = []
    for laser, row, poses_row in rows:
        pixel_poses = _matrix(read_rows(poses_path, _POSES, [poses_row])[0], 0) if poses_row is not None else None
        batch = read_rows(path, _RANGES, [row])[0]
        for column in (0, 2):
            image = _matrix(batch, column)
            if image is None:
                continue
            try:
                clouds.append(range_image_points(image, calibrations[laser], world_from_vehicle, pixel_poses))
            except ValueError as error:
                what = f"a range image of lidar {laser} at {timestamp_us} us"
                raise InputError(path, what, str(error)) from None
    return np.concatenate(clouds) if clouds else np.zeros((0, 4), np.float32)


def _matrix(batch: Any, column: int) -> NDArray[np.float32] | None:
    """What lies in a column of values and the one after it, of their shape; None where there is nothing."""
    values, shape = batch.column(column)[0], batch.column(column + 1)[0]
    if not values.is_valid or not shape.is_valid:
        return None
    flat = np.asarray(values.values.to_numpy(zero_copy_only=False), np.float32)
    return flat.reshape(shape.as_py())
