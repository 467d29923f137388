"""KITTI raw, synced and rectified: DATE/calib_*.txt, DATE/DATE_drive_NNNN_sync/{image_0N, oxts, velodyne_points}.

Conventions:
- oxts is a GPS/IMU unit: latitude, longitude (degrees), altitude (metres); roll, pitch, yaw (radians) with
  world_from_imu = Rz(yaw) Ry(pitch) Rx(roll), yaw from east to the left; IMU x forward, y left, z up, about 0.9 m above
  the road. The rig is the IMU. World: x east, y north, z up, origin where the first packet is; Mercator with scale
  cos(first latitude), as KITTI's tools have it.
- calib_imu_to_velo.txt and calib_velo_to_cam.txt: velo_from_imu, cam0_from_velo (R, T). A point of camera 0 turns
  by R_rect_00; camera i is at P_rect_0i = K [I | t] from there. Pictures are rectified: no distortion. Grey
  ones become RGB when they are loaded. Pixel centers are at integers, so 0.5 is added to cx, cy.
- Times are local time with nanoseconds, taken as if they were UTC. What has one number belongs together: the pose of a
  number is that of its pictures, its sweep and its boxes, whose own times are a few milliseconds off. The time of a
  sweep is when the laser looks ahead and triggers the cameras, the middle of its turn. Points are not corrected for
  motion. Cameras have a global shutter.
- Velodyne: x forward, y left, z up, reflectance. Boxes: `kitti_tracklets.py`.

Without oxts/ there are no poses (one frame at a time). So it is with bare extracts that hold calibration.json
(P_rect_0i, R_rect_00, Tr_velo_to_cam0), image_0N/ and velodyne/: 10 Hz assumed, the rig stands at the velodyne.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from jwmtool import console
from jwmtool.errors import InputError
from jwmtool.geometry.earth import mercator
from jwmtool.readers.kitti_raw_files import (
    CAMERAS,
    numbered_files,
    numbers_in,
    read_calibration,
    read_extract_calibration,
    read_text,
    read_times,
)
from jwmtool.readers.kitti_tracklets import read_tracklets
from jwmtool.readers.kitti_velodyne import read_velodyne
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

_SUFFIXES = (".png", ".jpg", ".jpeg")
_LICENCE = "CC BY-NC-SA 3.0 (KITTI)"


def detects(path: Path) -> bool:
    """True for a drive (image_0N/data), a day or the root above drives, or a bare extract (calibration.json)."""
    return path.is_dir() and (bool(_drives(path)) or _is_extract(path))


def scenes(path: Path) -> list[str]:
    """Names of the drives in `path`, as `2011_09_26_drive_0095_sync`.

    Raises:
        InputError: no drive.
    """
    if _is_extract(path):
        return [path.resolve().name]
    return [drive.resolve().name for drive in _found_drives(path)]


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one drive; `scene` is its name, with or without `_sync`, or its number (`0095`) where that is unique.

    Raises:
        InputError: missing files, numbers of pictures and packets that differ, an unsynced drive.
    """
    return _read_extract(path) if _is_extract(path) else _read_drive(_choose(path, scene))


def _read_drive(drive: Path) -> Recording:
    if drive.resolve().name.endswith("_extract"):
        raise InputError(drive, "a synced and rectified drive (..._sync)", "an unsynced, unrectified one (..._extract)")
    calibration, calibration_files = read_calibration(drive)
    folders = [name for name in CAMERAS if (drive / name / "data").is_dir()]
    times = {name: read_times(drive / name / "timestamps.txt") for name in folders}
    count = len(times[folders[0]])
    cameras: dict[str, SourceCamera] = {}
    pictures: dict[str, list[Path]] = {}
    for name in folders:
        expected = f"{count} times, as in {folders[0]}"
        if len(times[name]) != count:
            raise InputError(drive / name / "timestamps.txt", expected, str(len(times[name])))
        pictures[name] = numbered_files(drive / name / "data", _SUFFIXES, count, f"row of {name}/timestamps.txt")
        if name not in calibration.projections:
            raise InputError(calibration_files[0], f"P_rect_{name[-2:]} for {name}", "no such row")
        cameras[name] = calibration.camera(name, pictures[name][0])
        size = (cameras[name].width, cameras[name].height)
        if calibration.sizes.get(name, size) != size:
            width, height = calibration.sizes[name]
            expected = f"rectified pictures of {width}x{height} px (S_rect_{name[-2:]}, ..._sync)"
            raise InputError(pictures[name][0], expected, f"{size[0]}x{size[1]} px")
    times_us = _known(times[folders[0]], drive / folders[0] / "timestamps.txt")
    packets = _read_oxts(drive, count)
    poses = [np.eye(4)] * count if packets is None else _poses(packets)
    frames = []
    for index, (time_us, pose) in enumerate(zip(times_us, poses, strict=True)):
        images = {
            name: SourceImage(pictures[name][index], times[name][index] or time_us, pose @ camera.rig_from_cam)
            for name, camera in cameras.items()
        }
        frames.append(SourceFrame(time_us, pose, images))
    world_from_velo = [pose @ calibration.rig_from_velo for pose in poses]
    labels = drive / "tracklet_labels.xml"
    return Recording(
        name=safe_name(drive.resolve().name),
        format="kitti-raw",
        path=drive,
        cameras=cameras,
        frames=frames,
        index_files=tuple(
            f for f in (*calibration_files, *(drive / n / "timestamps.txt" for n in folders), labels) if f.is_file()
        ),
        licence=find_licence(drive, _LICENCE),
        lidar=_sweeps(drive / "velodyne_points", times_us, world_from_velo),
        tracks=read_tracklets(labels, times_us, world_from_velo) if labels.is_file() else [],
        extras={} if packets is None else {"origin": _origin(packets)},
        posed=packets is not None,
    )


def _is_extract(path: Path) -> bool:
    return (
        (path / "calibration.json").is_file()
        and (path / "velodyne").is_dir()
        and any((path / name).is_dir() for name in CAMERAS)
    )


def _read_extract(path: Path) -> Recording:
    file = path / "calibration.json"
    names = [name for name in CAMERAS if (path / name).is_dir()]
    calibration = read_extract_calibration(file, names)
    counts = {name: sum(f.suffix.lower() in _SUFFIXES for f in (path / name).iterdir()) for name in names}
    count = counts[names[0]]
    pictures = {name: numbered_files(path / name, _SUFFIXES, count, f"picture of {names[0]}") for name in names}
    if count == 0:
        raise InputError(path / names[0], "pictures", "none")
    cameras = {name: calibration.camera(name, files[0]) for name, files in pictures.items()}
    times_us = [100_000 * index for index in range(count)]
    console.notice(f"{path}: no poses and no times; single frames only, 10 Hz assumed")
    frames = []
    for index, time_us in enumerate(times_us):
        images = {n: SourceImage(pictures[n][index], time_us, camera.rig_from_cam) for n, camera in cameras.items()}
        frames.append(SourceFrame(time_us, np.eye(4), images))
    sweeps = sorted(f for f in (path / "velodyne").glob("*.bin") if f.stem.isdigit() and int(f.stem) < count)
    return Recording(
        name=safe_name(path.resolve().name),
        format="kitti-raw",
        path=path,
        cameras=cameras,
        frames=frames,
        index_files=(file,),
        licence=find_licence(path, _LICENCE),
        lidar=[SourceSweep(times_us[int(f.stem)], np.eye(4), partial(read_velodyne, f)) for f in sweeps],
        posed=False,
    )


def _drives(path: Path) -> list[Path]:
    """Folders with pictures as raw drives have them: `path` itself, those in it, or those in its days."""
    if _is_drive(path):
        return [path]
    for pattern in ("*_drive_*", "*/*_drive_*"):
        found = sorted(folder for folder in path.glob(pattern) if _is_drive(folder))
        if found:
            return found
    return []


def _is_drive(folder: Path) -> bool:
    return any((folder / name / "data").is_dir() for name in CAMERAS)


def _found_drives(path: Path) -> list[Path]:
    drives = _drives(path)
    if not drives:
        raise InputError(path, "KITTI raw drives (DATE/DATE_drive_NNNN_sync/image_02/data)", "none")
    return drives


def _choose(path: Path, scene: str | None) -> Path:
    drives = _found_drives(path)
    chosen = drives if scene is None else [drive for drive in drives if scene in _names(drive)]
    if len(chosen) != 1:
        names = [drive.resolve().name for drive in (chosen or drives)]
        found = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        expected = "one drive (--scene chooses)" if len(chosen) > 1 else f"a drive {scene!r}"
        raise InputError(path, expected, found)
    return chosen[0]


def _names(drive: Path) -> set[str]:
    name = drive.resolve().name
    stem = name.removesuffix("_sync").removesuffix("_extract")
    number = stem.rpartition("_drive_")[2]
    return {name, stem, number, number.lstrip("0")}


def _known(times: list[int | None], file: Path) -> list[int]:
    if None in times:
        raise InputError(file, f"a time in row {times.index(None) + 1}", "an empty row")
    return [time for time in times if time is not None]


def _read_oxts(drive: Path, count: int) -> NDArray[np.float64] | None:
    """Latitude, longitude, altitude, roll, pitch, yaw [count, 6], or None with a notice where there is no oxts/data."""
    folder = drive / "oxts" / "data"
    if not folder.is_dir():
        console.notice(f"{drive}: no oxts/data, so no poses; single frames only")
        return None
    files = numbered_files(folder, (".txt",), count, "picture")
    rows = []
    for file in files:
        parts = read_text(file).split()
        if len(parts) < 6:
            raise InputError(file, "a packet of 30 numbers (lat lon alt roll pitch yaw ...)", str(len(parts)))
        rows.append(numbers_in(file, "lat lon alt roll pitch yaw", parts[:6], 6))
    return np.stack(rows)


def _poses(packets: NDArray[np.float64]) -> list[Matrix]:
    """world_from_imu [4, 4] of each packet [N, 6]."""
    poses = np.tile(np.eye(4), (len(packets), 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("ZYX", packets[:, [5, 4, 3]]).as_matrix()
    poses[:, :2, 3] = mercator(packets[:, 0], packets[:, 1], packets[0, 0])
    poses[:, 2, 3] = packets[:, 2]
    poses[:, :3, 3] -= poses[0, :3, 3]
    return list(poses)


def _origin(packets: NDArray[np.float64]) -> dict[str, float]:
    """Where the world's origin lies on the earth."""
    return dict(zip(("latitude_deg", "longitude_deg", "altitude_m"), packets[0, :3].tolist(), strict=True))


def _sweeps(folder: Path, times_us: list[int], world_from_velo: list[Matrix]) -> list[SourceSweep]:
    if not (folder / "data").is_dir():
        return []
    numbers = {int(f.stem): f for f in (folder / "data").glob("*.bin") if f.stem.isdigit()}
    missing = [number for number in range(len(times_us)) if number not in numbers]
    if missing:  # some drives lack sweeps (2011_09_26_drive_0009: four)
        console.notice(f"{folder}: {len(missing)} of {len(times_us)} sweeps missing, first {missing[0]:010d}.bin")
    own = read_times(folder / "timestamps.txt") if (folder / "timestamps.txt").is_file() else []
    own += [None] * (len(times_us) - len(own))
    return [
        SourceSweep(own[k] or times_us[k], world_from_velo[k], partial(read_velodyne, numbers[k]))
        for k in range(len(times_us))
        if k in numbers
    ]
