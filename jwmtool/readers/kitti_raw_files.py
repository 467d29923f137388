"""KITTI raw's small files: the day's calibration, rows of numbers, rows of times, numbered files."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.artifacts.images import image_size
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.recording import Matrix, SourceCamera

CAMERAS = ("image_00", "image_01", "image_02", "image_03")
_CAM_FILE, _VELO_FILE, _IMU_FILE = "calib_cam_to_cam.txt", "calib_velo_to_cam.txt", "calib_imu_to_velo.txt"
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9})")


@dataclass(frozen=True)
class Calibration:
    """How the sensors stand to each other; the rig is the IMU, or the velodyne where no file tells of the IMU."""

    rig_from_velo: Matrix  # [4, 4]
    rect_from_velo: Matrix  # [4, 4]; rect: camera 0 after rectification
    projections: dict[str, Matrix]  # [3, 4] by camera
    sizes: dict[str, tuple[int, int]]  # of rectified pictures, where the files tell

    def camera(self, name: str, picture: Path) -> SourceCamera:
        """The rectified camera whose pictures are in the folder `name`."""
        projection = self.projections[name]
        K = projection[:, :3].copy()
        try:
            cam_from_rect = se3.translation(np.linalg.solve(K, projection[:, 3]))
        except np.linalg.LinAlgError:
            cam_from_rect = np.eye(4)  # K is refused by name afterwards
        K[:2, 2] += 0.5
        rig_from_cam = self.rig_from_velo @ se3.inverse(cam_from_rect @ self.rect_from_velo)
        return SourceCamera(name, K, *image_size(picture), rig_from_cam=rig_from_cam)


def read_calibration(drive: Path) -> tuple[Calibration, list[Path]]:
    """From the files of the day's folder or the drive's own, and which they are.

    Raises:
        InputError: a file or row that is missing (the IMU's may, in a drive without oxts/), or not rigid.
    """
    folder = next((f for f in (drive.resolve().parent, drive) if (f / _CAM_FILE).is_file()), drive.resolve().parent)
    files = [folder / _CAM_FILE, folder / _VELO_FILE, folder / _IMU_FILE]
    if not files[2].is_file() and not (drive / "oxts" / "data").is_dir():
        files = files[:2]
    for file in files:
        if not file.is_file():
            raise InputError(file, "the day's calibration (DATE_calib.zip)", "no such file")
    rows = _read_rows(files[0])
    rectification = np.eye(4)
    rectification[:3, :3] = _row(files[0], rows, "R_rect_00", 9).reshape(3, 3)
    projections, sizes = {}, {}
    for name in CAMERAS:
        number = name[-2:]
        if f"P_rect_{number}" in rows:
            projections[name] = _row(files[0], rows, f"P_rect_{number}", 12).reshape(3, 4)
        if f"S_rect_{number}" in rows:
            width, height = _row(files[0], rows, f"S_rect_{number}", 2)
            sizes[name] = (round(float(width)), round(float(height)))
    rig_from_velo = se3.inverse(_read_transform(files[2])) if len(files) == 3 else np.eye(4)
    cam0_from_velo = _read_transform(files[1])
    return Calibration(rig_from_velo, rectification @ cam0_from_velo, projections, sizes), files


def read_extract_calibration(file: Path, names: list[str]) -> Calibration:
    """From the calibration.json of a bare extract, for the cameras `names`; the rig is the velodyne."""
    document = read_json(file)
    rectification = np.eye(4)
    rectification[:3, :3] = _array(file, document, "R_rect_00", (3, 3))
    cam0_from_velo = _array(file, document, "Tr_velo_to_cam0", (4, 4))
    projections = {name: _array(file, document, f"P_rect_{name[-2:]}", (3, 4)) for name in names}
    return Calibration(np.eye(4), rectification @ cam0_from_velo, projections, {})


def _read_transform(file: Path) -> Matrix:
    rows = _read_rows(file)
    matrix = np.eye(4)
    matrix[:3, :3] = _row(file, rows, "R", 9).reshape(3, 3)
    matrix[:3, 3] = _row(file, rows, "T", 3)
    problem = se3.rigid_problem(matrix)
    if problem:
        raise InputError(file, "a rigid transform R, T", problem)
    return se3.orthonormalized(matrix)


def _read_rows(file: Path) -> dict[str, list[str]]:
    lines = (line.partition(":") for line in read_text(file).splitlines())
    return {key.strip(): rest.split() for key, colon, rest in lines if colon}


def _row(file: Path, rows: dict[str, list[str]], key: str, count: int) -> NDArray[np.float64]:
    if key not in rows:
        raise InputError(file, f"a row {key}", "no such row")
    return numbers_in(file, f"row {key}", rows[key], count)


def numbers_in(file: Path, where: str, parts: list[str], count: int) -> NDArray[np.float64]:
    """So many finite numbers; `where` is told if they are not."""
    try:
        values = np.array([float(part) for part in parts])
    except ValueError:
        raise InputError(file, f"numbers in {where}", " ".join(parts)[:40]) from None
    if len(values) != count or not np.isfinite(values).all():
        found = str(len(values)) if len(values) != count else "NaN or infinity"
        raise InputError(file, f"{count} numbers in {where}", found)
    return values


def _array(file: Path, document: dict[str, Any], key: str, shape: tuple[int, int]) -> Matrix:
    try:
        value = np.array(document[key], np.float64)
    except (KeyError, TypeError, ValueError):
        value = np.zeros(0)
    if value.shape != shape:
        raise InputError(file, f"{key} of shape {shape}", "no such key" if key not in document else str(value.shape))
    return value


def read_times(file: Path) -> list[int | None]:
    """Microseconds of each row; None for the empty rows of sweeps that were lost."""
    times: list[int | None] = []
    for number, line in enumerate(read_text(file).rstrip().splitlines(), 1):
        match = _TIME.fullmatch(line.strip())
        if line.strip() and match is None:
            raise InputError(file, f"a time like 2011-09-26 13:02:25.964389445 in row {number}", repr(line[:40]))
        times.append(None if match is None else _time_us(match))
    if not times:
        raise InputError(file, "a time for each frame", "an empty file")
    return times


def _time_us(match: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(match[k]) for k in range(1, 7))
    nanoseconds = int(match[7].ljust(9, "0"))
    return calendar.timegm((year, month, day, hour, minute, second)) * 1_000_000 + round(nanoseconds / 1000)


def numbered_files(folder: Path, suffixes: tuple[str, ...], count: int, each: str) -> list[Path]:
    """Files named by their number 0, 1, ... count - 1."""
    found = (f for f in folder.iterdir() if f.suffix.lower() in suffixes and f.stem.isdigit())
    files = sorted(found, key=lambda f: int(f.stem))
    kind = " or ".join(suffixes[:2])
    for number, file in enumerate(files):
        if int(file.stem) != number:
            raise InputError(
                folder, f"{kind} files numbered 0, 1, 2, ...", f"{file.name} where number {number} should be"
            )
    if len(files) != count:
        raise InputError(folder, f"{count} {kind} files, one for each {each}", str(len(files)))
    return files


def read_text(file: Path) -> str:
    """The whole of a small file."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(file, "a text file", "no such file") from None
    except UnicodeDecodeError:
        raise InputError(file, "a text file", "bytes that are not text") from None
