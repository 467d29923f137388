"""KITTI odometry: calib.txt, poses.txt (or poses/NN.txt), image_0 to image_3 (or image_l, image_r), times.txt.

Conventions: poses are world_from_cam0, world = left grey camera of frame 0, x right, y down, z forward; turned here to
a world with z up, and a rig that stands at camera 0. `P_i` = K [I | t] of the rectified cameras. Pixel centers are at
integers in KITTI, so 0.5 is added to cx, cy. Pictures are rectified: no distortion. Grey pictures become RGB when they
are loaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.images import image_size
from jwmtool.errors import InputError
from jwmtool.geometry import se3
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

# Folder -> row of calib.txt. image_l and image_r are what small extracts call the stereo pair.
_FOLDERS = {"image_0": 0, "image_1": 1, "image_2": 2, "image_3": 3, "image_l": 0, "image_r": 1}
_SUFFIXES = (".png", ".jpg", ".jpeg")
_AXES = se3.RIG_FROM_CAM_AXES


def detects(path: Path) -> bool:
    """True for a sequence folder (calib.txt and an image folder) or the data set's root (sequences/)."""
    if not path.is_dir():
        return False
    folders = [path] if (path / "calib.txt").is_file() else sorted((path / "sequences").glob("*"))
    return any((f / "calib.txt").is_file() and any((f / name).is_dir() for name in _FOLDERS) for f in folders)


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one sequence; `scene` names it (`00`) where `path` is the root of the data set.

    Raises:
        InputError: missing files, rows of a wrong length, numbers of images and poses that differ.
    """
    folder = _sequence(path, scene)
    poses_file = _poses_file(folder)
    poses = _read_matrices(poses_file)
    projections, cam0_from_velo = _read_calibration(folder / "calib.txt")
    times_us = _read_times(folder, len(poses))
    world_from_cam0 = [_AXES @ pose for pose in poses]
    for index, matrix in enumerate(poses):
        problem = se3.rigid_problem(matrix)
        if problem:
            raise InputError(poses_file, f"a rigid transform in row {index + 1}", problem)
    cameras: dict[str, SourceCamera] = {}
    images: list[dict[str, SourceImage]] = [{} for _ in poses]
    for name, row in _FOLDERS.items():
        if not (folder / name).is_dir():
            continue
        if row not in projections:
            raise InputError(folder / "calib.txt", f"P{row} for the images in {name}", "no such row")
        files = _image_files(folder / name, len(poses), poses_file)
        cam0_from_cam, K = _split_projection(projections[row])
        cameras[name] = SourceCamera(name, K, *image_size(files[0]), rig_from_cam=_AXES @ cam0_from_cam)
        for index, file in enumerate(files):
            images[index][name] = SourceImage(file, times_us[index], world_from_cam0[index] @ cam0_from_cam)
    if not cameras:
        raise InputError(folder, f"at least one of the folders {', '.join(_FOLDERS)}", "none")
    frames = [
        SourceFrame(time_us, pose @ se3.inverse(_AXES), pictures)
        for time_us, pose, pictures in zip(times_us, world_from_cam0, images, strict=True)
    ]
    return Recording(
        name=safe_name(folder.resolve().name),
        format="kitti-odometry",
        path=folder,
        cameras=cameras,
        frames=frames,
        index_files=tuple(f for f in (folder / "calib.txt", poses_file, folder / "times.txt") if f.is_file()),
        licence=find_licence(folder, "CC BY-NC-SA 3.0 (KITTI)"),
        lidar=[]
        if cam0_from_velo is None
        else _sweeps(folder, times_us, [p @ cam0_from_velo for p in world_from_cam0]),
    )


def scenes(path: Path) -> list[str]:
    """Sequences that have poses.

    Raises:
        InputError: no sequence.
    """
    found = [name for name in _sequences(path) if (path / "poses" / f"{name}.txt").is_file()]
    if not found:
        raise InputError(path, "sequences/ with poses/NN.txt", "none")
    return found


def _sequences(path: Path) -> list[str]:
    return sorted(p.name for p in (path / "sequences").glob("*") if (p / "calib.txt").is_file())


def _sweeps(folder: Path, times_us: list[int], world_from_velo: list[Matrix]) -> list[SourceSweep]:
    """Sweeps of velodyne/NNNNNN.bin, as far as there are poses."""
    files = [file for file in sorted((folder / "velodyne").glob("*.bin")) if _number(file) < len(times_us)]
    return [SourceSweep(times_us[_number(f)], world_from_velo[_number(f)], partial(read_velodyne, f)) for f in files]


def _split_projection(P: Matrix) -> tuple[Matrix, Matrix]:
    """Return cam0_from_cam [4, 4] and K [3, 3] (pixel centers at halves) of a rectified projection P [3, 4]."""
    K = P[:, :3].copy()
    try:
        cam_from_cam0 = np.linalg.solve(K, P[:, 3])
    except np.linalg.LinAlgError:
        cam_from_cam0 = np.zeros(3)  # K is refused by name afterwards
    K[:2, 2] += 0.5
    return se3.translation(-cam_from_cam0), K


def _sequence(path: Path, scene: str | None) -> Path:
    if (path / "calib.txt").is_file():
        return path
    found = _sequences(path)
    if scene is None and len(found) == 1:
        scene = found[0]
    if scene not in found:
        expected = "a folder with calib.txt, or --scene to choose a sequence"
        raise InputError(path, expected, f"{scene or 'sequences'}: {', '.join(found) or 'no such file'}")
    return path / "sequences" / str(scene)


def _poses_file(folder: Path) -> Path:
    resolved = folder.resolve()
    official = resolved.parent.parent / "poses" / f"{resolved.name}.txt"
    for file in (folder / "poses.txt", official):
        if file.is_file():
            return file
    raise InputError(folder / "poses.txt", "poses (here, or in ../../poses/NN.txt)", "no such file")


def _read_matrices(file: Path) -> list[Matrix]:
    rows = [_numbers(file, i, line.split(), 12) for i, line in enumerate(_lines(file))]
    return [np.vstack([row.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]) for row in rows]


def _read_calibration(file: Path) -> tuple[dict[int, Matrix], Matrix | None]:
    """Projections P0 ... [3, 4] by number, and cam0_from_velo if there is a row `Tr:`. Rows may come without labels."""
    projections: dict[int, Matrix] = {}
    cam0_from_velo = None
    for index, line in enumerate(_lines(file)):
        label, _, rest = line.rpartition(":")
        matrix = _numbers(file, index, rest.split(), 12).reshape(3, 4)
        if label in ("Tr", "Tr_velo_to_cam"):
            cam0_from_velo = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
        elif not label:
            projections[index] = matrix
        elif label[0] == "P" and label[1:].isdigit():
            projections[int(label[1:])] = matrix
    return projections, cam0_from_velo


def _read_times(folder: Path, count: int) -> list[int]:
    file = folder / "times.txt"
    if not file.is_file():
        console.notice(f"{folder}: no times.txt; 10 Hz assumed")
        return [100_000 * i for i in range(count)]
    times = [float(_numbers(file, i, line.split(), 1)[0]) for i, line in enumerate(_lines(file))]
    if len(times) < count:
        raise InputError(file, f"{count} times, one a pose", f"{len(times)}")
    for i in range(1, count):
        if not times[i] > times[i - 1]:
            raise InputError(file, "times in order", f"{times[i]:g} s in row {i + 1} after {times[i - 1]:g} s")
    return [round(1e6 * t) for t in times[:count]]


def _image_files(folder: Path, count: int, poses_file: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and p.stem.isdigit())
    numbers = [_number(f) for f in files]
    if numbers != list(range(len(files))):
        gap = next(i for i, n in enumerate(numbers) if n != i)
        raise InputError(folder, "images numbered 0, 1, 2, ...", f"{files[gap].name} where number {gap} should be")
    if len(files) != count:
        raise InputError(folder, f"{count} images, one for each row of {poses_file.name}", f"{len(files)}")
    return files


def _number(file: Path) -> int:
    return int(file.stem) if file.stem.isdigit() else 1 << 31


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(file, "a text file", "no such file") from None
    except UnicodeDecodeError:
        raise InputError(file, "a text file", "bytes that are not text") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(file, "at least one row", "an empty file")
    return lines


def _numbers(file: Path, index: int, parts: list[str], count: int) -> NDArray[np.float64]:
    try:
        values = np.array([float(p) for p in parts])
    except ValueError:
        raise InputError(file, f"numbers in row {index + 1}", " ".join(parts)[:40]) from None
    if len(values) != count:
        raise InputError(file, f"{count} numbers in row {index + 1}", f"{len(values)}")
    return values
