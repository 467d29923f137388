"""A small Argoverse 2 log in the true layout: a car that drives along +y of the city, two ring cameras, one stereo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from small_recordings import save, write_json

from jwmtool.geometry import se3

START_NS = 315_968_112_437_425_433  # nanoseconds beyond what float64 tells apart
STEP_NS = 50_000_000
SPEED_MPS = 8.0
REAR_LATE_NS = 24_000_000  # the rear camera fires nearly half a step after the front one
SIZES = {"ring_front_center": (32, 48), "ring_rear_left": (48, 32), "stereo_front_left": (48, 32)}
CENTER = {name: (width / 2 + 0.7, height / 2 - 0.3) for name, (width, height) in SIZES.items()}
FOCAL_PX = 40.0
ORIGIN_M = np.array([1747.4, 5275.3, -24.2])
RIG_FROM_CAM = {
    "ring_front_center": se3.translation([1.6, 0.0, 1.4]) @ se3.RIG_FROM_CAM_AXES,
    "ring_rear_left": se3.translation([1.1, 0.1, 1.4]) @ se3.rotation_z(np.pi - 0.5) @ se3.RIG_FROM_CAM_AXES,
    "stereo_front_left": se3.translation([1.6, 0.25, 1.2]) @ se3.RIG_FROM_CAM_AXES,
}
CAR_FROM_START = se3.translation([12.0, 2.0, 0.4]) @ se3.rotation_z(0.3)  # parked, in the first ego frame
CAR_SIZE = (4.5, 1.9, 1.6)
WALKER_M = np.array([1.0, 9.0, 0.5])  # from the first ego place
LOG = "00a6ffc1-6ce9-3bc3-a060-6006e9893a1a"


def city_from_ego(time_ns: int) -> np.ndarray:
    """The ego's pose: along +y, nose up by 1 degree."""
    pitch = np.eye(4)
    c, s = np.cos(np.radians(-1)), np.sin(np.radians(-1))
    pitch[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    moved = ORIGIN_M + np.array([0.0, SPEED_MPS * (time_ns - START_NS) * 1e-9, 0.0])
    return np.asarray(se3.translation(moved) @ se3.rotation_z(np.pi / 2) @ pitch)


def log(folder: Path, frames: int = 6, boxes: bool = True) -> Path:
    """Write one log; returns its folder."""
    times = {
        "ring_front_center": [START_NS + i * STEP_NS for i in range(frames)],
        # Jitter about half a step: taken each by itself, some would belong to the frame after.
        "ring_rear_left": [START_NS + i * STEP_NS + REAR_LATE_NS + 2_000_000 * (i % 2) for i in range(frames)],
        "stereo_front_left": [START_NS + i * STEP_NS + 300_000 for i in range(0, frames, 4)],
    }
    for name, own in times.items():
        for i, time_ns in enumerate(own):
            save(folder / "sensors" / "cameras" / name / f"{time_ns}.jpg", i, SIZES[name])
    sweeps_ns = [START_NS + i * STEP_NS + 7_000_000 for i in range(0, frames, 2)]
    poses_ns = sorted(
        {*(t for own in times.values() for t in own), *sweeps_ns, START_NS - 9_000_000, START_NS + frames * STEP_NS}
    )
    poses_ns.insert(2, poses_ns[1] + 1)  # real tables hold poses one nanosecond apart
    feather(
        folder / "city_SE3_egovehicle.feather",
        {"timestamp_ns": np.array(poses_ns, np.int64), **pose_columns([city_from_ego(t) for t in poses_ns])},
    )
    names = [*RIG_FROM_CAM, "ring_side_left"]  # a camera whose pictures were not fetched
    mounts = [*RIG_FROM_CAM.values(), np.eye(4), se3.translation([1.35, 0.0, 1.64])]
    feather(
        folder / "calibration" / "egovehicle_SE3_sensor.feather",
        {"sensor_name": [*names, "up_lidar"], **pose_columns(mounts)},
    )
    sizes = [SIZES.get(name, (48, 32)) for name in names]
    feather(
        folder / "calibration" / "intrinsics.feather",
        {
            "sensor_name": names,
            "fx_px": np.full(len(names), FOCAL_PX),
            "fy_px": np.full(len(names), FOCAL_PX),
            "cx_px": np.array([w / 2 + 0.7 for w, _ in sizes]),
            "cy_px": np.array([h / 2 - 0.3 for _, h in sizes]),
            "k1": np.full(len(names), -0.27),
            "k2": np.full(len(names), -0.21),
            "k3": np.full(len(names), 0.32),
            "height_px": np.array([h for _, h in sizes], np.uint16),
            "width_px": np.array([w for w, _ in sizes], np.uint16),
        },
    )
    for time_ns in sweeps_ns:
        ego_from_start = se3.inverse(city_from_ego(time_ns)) @ city_from_ego(START_NS)
        points = se3.apply(ego_from_start @ CAR_FROM_START, np.array([[0.0, 0.0, 0.0], [2.0, 0.9, 0.7]]))
        columns: dict[str, Any] = {axis: points[:, i].astype(np.float16) for i, axis in enumerate("xyz")}
        columns |= {"intensity": np.array([24, 255], np.uint8), "laser_number": np.array([31, 5], np.uint8)}
        feather(
            folder / "sensors" / "lidar" / f"{time_ns}.feather", {**columns, "offset_ns": np.array([0, 9], np.int32)}
        )
    if boxes:
        ego_from_car = [
            se3.inverse(city_from_ego(t)) @ city_from_ego(START_NS) @ CAR_FROM_START for t in sweeps_ns[::-1]
        ]
        ego_from_walker = [se3.inverse(city_from_ego(sweeps_ns[0])) @ se3.translation(ORIGIN_M + WALKER_M)]
        count = len(sweeps_ns)
        size = np.array([CAR_SIZE] * count + [(0.6, 0.7, 1.8)])
        feather(
            folder / "annotations.feather",
            {
                "timestamp_ns": np.array([*sweeps_ns[::-1], sweeps_ns[0]], np.int64),
                "track_uuid": ["car"] * count + ["walker"],
                "category": ["REGULAR_VEHICLE"] * count + ["PEDESTRIAN"],
                "length_m": size[:, 0],
                "width_m": size[:, 1],
                "height_m": size[:, 2],
                **pose_columns(ego_from_car + ego_from_walker),
                "num_interior_pts": np.full(count + 1, 2, np.int64),
            },
        )
    lane = {
        "id": 42,
        "is_intersection": False,
        "lane_type": "VEHICLE",
        "left_lane_boundary": [place(-1.8, 0.0), place(-1.8, 10.0), place(-1.8, 40.0)],
        "right_lane_boundary": [place(1.8, 0.0), place(1.8, 40.0)],
    }
    write_json(
        folder / "map" / f"log_map_archive_{folder.name}____PIT_city_31785.json", {"lane_segments": {"42": lane}}
    )
    return folder


def place(x: float, y: float) -> dict[str, float]:
    """A point of the map, from the ego's start on the road."""
    return {"x": ORIGIN_M[0] + x, "y": ORIGIN_M[1] + y, "z": ORIGIN_M[2] - 0.3}


def pose_columns(poses: list[np.ndarray]) -> dict[str, np.ndarray]:
    """qw ... tz_m of poses [N, 4, 4]."""
    stacked = np.stack(poses)
    quats = se3.to_quat(stacked)
    columns = {f"q{axis}": quats[:, i] for i, axis in enumerate("wxyz")}
    return columns | {f"t{axis}_m": stacked[:, i, 3] for i, axis in enumerate("xyz")}


def feather(file: Path, columns: dict[str, Any]) -> Path:
    """Write a table as the data set's own (compressed feather)."""
    import pyarrow as pa
    from pyarrow.feather import write_feather

    file.parent.mkdir(parents=True, exist_ok=True)
    write_feather(pa.table(columns), file, compression="lz4")
    return file


def edit(file: Path, change: Any) -> None:
    """Rewrite a table by `change(columns)`."""
    from pyarrow.feather import read_table

    table = read_table(file, memory_map=False)
    columns = {name: table.column(name) for name in table.column_names}
    change(columns)
    feather(file, columns)
