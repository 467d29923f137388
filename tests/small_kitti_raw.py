"""A small KITTI raw drive in the true layout: a car that drives north at 12 m/s, four cameras, lidar, boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from small_recordings import SIZE, save

DAY = "2011_09_26"
EQUATOR_M = 6378137.0
LAT_DEG, LON_DEG, ALTITUDE_M = 49.0, 8.4, 116.4
STEP_M = 1.2  # each 0.1 s

# As the files have them: velo_from_imu, cam0_from_velo, the turn by which camera 0 is rectified, K and baselines.
VELO_FROM_IMU = (np.eye(3), np.array([-0.81, 0.32, -0.80]))
CAM0_FROM_VELO = (np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.array([-0.004, -0.076, -0.272]))
RECTIFICATION = Rotation.from_euler("xyz", [0.01, -0.02, 0.005]).as_matrix()
K = np.array([[50.0, 0, 33], [0, 50.0, 15], [0, 0, 1]])
BASELINES_M = {"00": 0.0, "01": -0.54, "02": 0.06, "03": -0.47}
LIDAR_POINT = (14.0, 1.5, -0.4)


def projection(number: str) -> np.ndarray:
    """P_rect_0N."""
    return np.hstack([K, K @ np.array([[BASELINES_M[number]], [0.002], [0.003]])])


def kitti_raw(root: Path, drive: str = "0095", frames: int = 4, oxts: bool = True, kind: str = "sync") -> Path:
    """Write DATE/DATE_drive_NNNN_sync under `root`; returns the drive's folder."""
    day = root / DAY
    folder = day / f"{DAY}_drive_{drive}_{kind}"
    calibration(day)
    for number in BASELINES_M:
        camera = folder / f"image_{number}"
        for i in range(frames):
            save(camera / "data" / f"{i:010d}.png", i, mode="L" if number in ("00", "01") else "RGB")
        (camera / "timestamps.txt").write_text("".join(f"{stamp(i, 4_389_445)}\n" for i in range(frames)))
    velodyne = folder / "velodyne_points"
    (velodyne / "data").mkdir(parents=True)
    for i in range(frames):
        np.array([[*LIDAR_POINT, 0.5], [20, 1, 0, 0.1]], np.float32).tofile(velodyne / "data" / f"{i:010d}.bin")
    for name, offset_ns in (
        ("timestamps", 6_000_000),
        ("timestamps_start", -45_000_000),
        ("timestamps_end", 58_000_000),
    ):
        (velodyne / f"{name}.txt").write_text("".join(f"{stamp(i, offset_ns)}\n" for i in range(frames)))
    if oxts:
        (folder / "oxts" / "data").mkdir(parents=True)
        for i in range(frames):
            lat_deg = LAT_DEG + float(np.degrees(STEP_M * i / EQUATOR_M))
            packet(folder, i, lat_deg, LON_DEG, ALTITUDE_M + 0.1 * i, 0.0, 0.0, np.pi / 2)
        (folder / "oxts" / "timestamps.txt").write_text("".join(f"{stamp(i, 0)}\n" for i in range(frames)))
    return folder


def packet(drive: Path, index: int, *values: float) -> None:
    """An oxts packet: latitude, longitude (degrees), altitude, roll, pitch, yaw (radians), and 24 more numbers."""
    rest = " ".join(["0.5"] * 19 + ["4", "11", "6", "6", "6"])
    text = " ".join(f"{value:.14f}" for value in values) + f" {rest}\n"
    (drive / "oxts" / "data" / f"{index:010d}.txt").write_text(text)


def calibration(day: Path) -> None:
    """The day's three files."""
    day.mkdir(parents=True, exist_ok=True)
    rows = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.950000e-02"]
    for number in BASELINES_M:
        rows += [f"S_{number}: 1.392000e+03 5.120000e+02", f"K_{number}: {numbers(np.eye(3) * 984)}"]
        rows += [f"D_{number}: {numbers([-0.37, 0.2, 0.001, 0.002, -0.07])}", f"S_rect_{number}: {numbers(SIZE)}"]
        turn = RECTIFICATION if number == "00" else np.eye(3)  # only camera 0's counts
        rows += [f"R_rect_{number}: {numbers(turn)}", f"P_rect_{number}: {numbers(projection(number))}"]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(rows) + "\n")
    for name, (turn, shift) in (("velo_to_cam", CAM0_FROM_VELO), ("imu_to_velo", VELO_FROM_IMU)):
        text = f"calib_time: 25-May-2012 16:47:16\nR: {numbers(turn)}\nT: {numbers(shift)}\n"
        (day / f"calib_{name}.txt").write_text(text + ("delta_f: 0 0\ndelta_c: 0 0\n" if "cam" in name else ""))


def numbers(values: object) -> str:
    """As KITTI writes them, but with all digits."""
    return " ".join(f"{value:.15e}" for value in np.asarray(values, np.float64).ravel())


def stamp(index: int, offset_ns: int) -> str:
    """A time with nanoseconds; frame 0 at 13:02:25.96."""
    total_ns = (2 * 60 + 25) * 10**9 + 960_000_000 + 100_000_000 * index + offset_ns
    seconds, nanoseconds = divmod(total_ns, 10**9)
    return f"2011-09-26 13:{seconds // 60:02d}:{seconds % 60:02d}.{nanoseconds:09d}"


def tracklets(drive: Path, size_hwl: tuple[float, float, float] = (1.5, 1.7, 4.2), first: int = 1) -> Path:
    """One car, seen from frame `first` to one past the drive's end, 20 m ahead and 3 m to the left, heading left."""
    poses = "".join(
        f"<item><tx>{20 - i}</tx><ty>3</ty><tz>-1.73</tz><rx>0</rx><ry>0</ry><rz>1.5707963267948966</rz>"
        "<state>2</state><occlusion>0</occlusion><truncation>0</truncation></item>"
        for i in range(4)
    )
    h, w, l = size_hwl  # noqa: E741
    file = drive / "tracklet_labels.xml"
    file.write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>\n<!DOCTYPE boost_serialization>\n'
        '<boost_serialization signature="serialization::archive" version="9">\n<tracklets class_id="0" version="0">\n'
        "<count>1</count><item_version>1</item_version><item class_id='1'><objectType>Van</objectType>"
        f"<h>{h}</h><w>{w}</w><l>{l}</l><first_frame>{first}</first_frame><poses><count>4</count><item_version>2</item_version>{poses}"
        "</poses><finished>1</finished></item></tracklets>\n</boost_serialization>\n"
    )
    return file


def bare_extract(folder: Path, frames: int = 5) -> Path:
    """image_02/, velodyne/ with scans of some frames, calibration.json; no poses."""
    for i in range(frames):
        save(folder / "image_02" / f"{i:010d}.jpg", i)
    (folder / "velodyne").mkdir()
    for i in (0, 3):
        np.array([[*LIDAR_POINT, 0.5]], np.float32).tofile(folder / "velodyne" / f"{i:010d}.bin")
    cam0_from_velo = np.eye(4)
    cam0_from_velo[:3, :3], cam0_from_velo[:3, 3] = CAM0_FROM_VELO
    document = {
        "P_rect_02": projection("02").tolist(),
        "R_rect_00": RECTIFICATION.tolist(),
        "Tr_velo_to_cam0": cam0_from_velo.tolist(),
    }
    (folder / "calibration.json").write_text(json.dumps(document))
    return folder
