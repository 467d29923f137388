"""COLMAP's sparse models (cameras, images, points3D as .bin or .txt) with the pictures they were made from.

Conventions: images give cam_from_world, quaternion wxyz, OpenCV axes. Pixel centers are at halves, so K is taken as it
is. Distortion as OpenCV has it: SIMPLE_RADIAL and RADIAL are k1[, k2] of `opencv`, OPENCV k1 k2 p1 p2, FULL_OPENCV with
k3..k6, OPENCV_FISHEYE `fisheye`; other models are refused by name. The model's world is any similarity of the true one:
it is turned z up, x along the first camera's view, origin at the first camera (`road_frame.upright`) and scaled so that
the cameras run `--camera-height` above the road; without that one unit is taken for a meter.

Times: numbers in file names that are Unix times (ms, us or ns: 13, 16 or 19 digits), else the numbers at their ends in
steps of 10 Hz, so that pictures left out leave gaps, else their order at 10 Hz.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.readers.colmap_files import ModelCamera, ModelImage, read_cameras, read_images, read_points
from jwmtool.readers.nerfstudio import grouped_by_time, natural_order
from jwmtool.readers.recording import (
    DistortionModel,
    Hints,
    Matrix,
    Recording,
    SourceCamera,
    SourceImage,
    find_licence,
    safe_name,
)
from jwmtool.readers.road_frame import Similarity, heights_along, scaled, upright

TAKES_HINTS = True
_RATE_HZ = 10.0
_MOST_CAMERAS = 32
_PLACES = ("", "sparse", "colmap", "colmap/sparse")  # of a model or of numbered ones, in a project's folder
_UNIX_US = {13: 1000.0, 16: 1.0, 19: 0.001}  # digits -> microseconds a unit


def detects(path: Path) -> bool:
    """True for a folder with a model (cameras and images, .bin or .txt), here or in sparse/0."""
    return path.is_dir() and bool(_models(path))


def scenes(path: Path) -> list[str]:
    """The numbers of the models: COLMAP makes several where it cannot join all pictures.

    Raises:
        InputError: no model.
    """
    models = _models(path)
    if not models:
        raise InputError(path, "cameras and images, .bin or .txt, here or in sparse/0", "none")
    return list(models)


def read(path: Path, scene: str | None = None, hints: Hints = Hints()) -> Recording:
    """Read a model; `scene` is its number where there are several.

    Raises:
        InputError: missing or cut off files, another camera model, pictures that are not there, no road for the scale.
        UsageError: intrinsics, which the model says itself.
    """
    if hints.intrinsics is not None:
        raise UsageError("--intrinsics: COLMAP's cameras say them; leave it out")
    folder = _choose(path, scene)
    files = {part: _required(folder, part) for part in ("cameras", "images")}
    cameras, images = read_cameras(files["cameras"]), read_images(files["images"])
    for part, rows in (("cameras", cameras), ("images", images)):
        if not rows:
            raise InputError(files[part], f"rows of {part}", "none")
    root = _picture_folder(path, folder, images)
    images = sorted(images, key=lambda image: natural_order(image.name))
    labels = _labels(files["images"], images, cameras)
    times_us = _times_us(folder, images, labels)
    poses = np.stack([_pose(files["images"], image) for image in images])
    points_file = _find(folder, "points3D")
    frame = _frame(path, points_file, poses, labels, hints.camera_height_m)
    poses = frame.poses(poses)
    sequences: dict[str, list[tuple[int, SourceImage]]] = {}
    sources: dict[str, SourceCamera] = {}
    for image, label, time_us, pose in zip(images, labels, times_us, poses, strict=True):
        if label not in sources:
            sources[label] = _camera(label, cameras[image.camera])
        sequences.setdefault(label, []).append((time_us, SourceImage(root / image.name, time_us, pose)))
    for label, sequence in sequences.items():
        if len({time_us for time_us, _ in sequence}) < len(sequence):
            raise InputError(files["images"], f"one picture of camera {label} at a time", "several")
    sources, frames = grouped_by_time(sources, sequences)
    project = path if path.name not in ("0", "sparse") else path.resolve().parent
    name = safe_name(project.resolve().name)
    return Recording(
        name=name if len(_models(path)) == 1 else f"{name}-{folder.name}",
        format="colmap",
        path=folder,
        cameras=sources,
        frames=frames,
        index_files=tuple(f for f in (*files.values(), points_file) if f is not None),
        licence=find_licence(project),
        points=None if points_file is None else partial(_points, points_file, frame),
        extras={"scale": "camera height" if hints.camera_height_m is not None else "unknown: one unit is a meter"},
    )


def _models(path: Path) -> dict[str, Path]:
    """Folders that hold a model, by name; the first place that has any."""
    for place in _PLACES:
        folder = path / place if place else path
        if _is_model(folder):
            return {folder.name: folder}
        found = {f.name: f for f in sorted(folder.glob("[0-9]*"), key=lambda f: natural_order(f.name)) if _is_model(f)}
        if found:
            return found
    return {}


def _is_model(folder: Path) -> bool:
    """A half model counts: what is missing is then told by name."""
    parts = [_find(folder, part) for part in ("cameras", "images", "points3D")]
    return parts[0] is not None and (parts[1] is not None or parts[2] is not None)


def _choose(path: Path, scene: str | None) -> Path:
    models = _models(path)
    if not models:
        raise InputError(path, "cameras and images, .bin or .txt, here or in sparse/0", "none")
    if scene is None and len(models) == 1:
        return next(iter(models.values()))
    if scene not in models:
        listed = ", ".join(list(models)[:8])
        raise InputError(path, "one model, or --scene to choose", f"{f'{scene}: ' if scene else ''}{listed}")
    return models[scene]


def _find(folder: Path, part: str) -> Path | None:
    return next((f for f in (folder / f"{part}.bin", folder / f"{part}.txt") if f.is_file()), None)


def _required(folder: Path, part: str) -> Path:
    file = _find(folder, part)
    if file is None:
        raise InputError(folder / f"{part}.bin", f"{part}.bin or {part}.txt", "no such file")
    return file


def _picture_folder(path: Path, folder: Path, images: list[ModelImage]) -> Path:
    """images/ beside or above the model, or the folder itself: where the first picture lies."""
    above = [folder, *folder.resolve().parents[:3]]
    places = [place / name for place in above for name in ("images", "")]
    for place in places:
        if (place / images[0].name).is_file():
            missing = [image.name for image in images if not (place / image.name).is_file()]
            if missing:
                raise InputError(place / missing[0], f"all {len(images)} pictures", f"{len(missing)} are missing")
            return place
    raise InputError(path, f"images/{images[0].name} beside or above the model", "no such file")


def _labels(file: Path, images: list[ModelImage], cameras: dict[int, ModelCamera]) -> list[str]:
    """A camera's name for each image: its folder, and the camera's number where a folder holds several."""
    by_folder: dict[str, dict[int, None]] = {}
    for image in images:
        if image.camera not in cameras:
            raise InputError(file, f"camera {image.camera} of {image.name} among the cameras", "no such camera")
        by_folder.setdefault(str(Path(image.name).parent), {})[image.camera] = None
    if sum(len(numbers) for numbers in by_folder.values()) > _MOST_CAMERAS:
        found = f"{len(cameras)} for {len(images)} pictures"
        raise InputError(file, "one camera a folder of pictures (COLMAP's single_camera_per_folder)", found)
    labels = []
    for image in images:
        folder = str(Path(image.name).parent)
        label = "camera" if folder == "." else safe_name(folder)
        labels.append(label if len(by_folder[folder]) == 1 else f"{label}_{image.camera}")
    return labels


def _times_us(folder: Path, images: list[ModelImage], labels: list[str]) -> list[int]:
    """A time for each image; see the module's docstring."""
    ends = [re.search(r"(\d+)\D*$", Path(image.name).stem) for image in images]
    texts = [match[1] for match in ends if match]
    if len(texts) == len(images) and len({(a, b) for a, b in zip(labels, texts, strict=True)}) == len(images):
        numbers = [int(text) for text in texts]
        digits = {len(text) for text in texts}
        unit = _UNIX_US.get(digits.pop()) if len(digits) == 1 else None
        if unit is not None and all(9e14 < number * unit < 4.2e15 for number in numbers):
            console.notice(f"{folder}: times taken from the file names")
            return [round(number * unit) for number in numbers]
        if len(images) > 1:
            values = np.unique(numbers)
            step = int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 1
            console.notice(f"{folder}: no times; the numbers in the file names taken as {_RATE_HZ:g} Hz")
            return [round(1e6 * (number - int(values[0])) / step / _RATE_HZ) for number in numbers]
    console.notice(f"{folder}: no times; {_RATE_HZ:g} Hz in the order of file names assumed")
    counts: dict[str, int] = {}
    times_us = []
    for label in labels:
        times_us.append(round(1e6 * counts.get(label, 0) / _RATE_HZ))
        counts[label] = counts.get(label, 0) + 1
    return times_us


def _pose(file: Path, image: ModelImage) -> Matrix:
    values = np.array([*image.quat, *image.translation])
    if not np.isfinite(values).all() or abs(np.linalg.norm(image.quat) - 1.0) > 1e-3:
        raise InputError(file, f"a unit quaternion and a translation of {image.name}", str(values.tolist()))
    return se3.inverse(se3.from_quat(image.quat, image.translation))


def _frame(
    path: Path, points_file: Path | None, poses: Matrix, labels: list[str], height_m: float | None
) -> Similarity:
    """World z up, in meters if the camera's height is known."""
    names = np.array(labels)
    paths = [poses[names == label] for label in dict.fromkeys(labels)]
    frame = upright(poses, np.concatenate([np.diff(p[:, :3, 3], axis=0) for p in paths]))
    if height_m is None:
        console.notice(f"{path}: the scale is unknown, one unit is taken for a meter; --camera-height M gives it")
        return frame
    if points_file is None:
        raise InputError(path, "points3D for the road under --camera-height", "no such file")
    points = frame.points(read_points(points_file)[0])
    first = frame.poses(paths[0])[:, :3, 3]
    height = float(heights_along(first, points, [(0, len(first))])[0])
    if not np.isfinite(height):
        raise InputError(points_file, "points of the road below the path, for --camera-height", "too few")
    return scaled(frame, height_m / height)


def _camera(name: str, camera: ModelCamera) -> SourceCamera:
    """K and distortion in our words."""
    p = camera.params
    single = camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
    fx, fy, cx, cy = (p[0], p[0], p[1], p[2]) if single else p[:4]
    rest = p[3:] if single else p[4:]
    model: DistortionModel = "opencv"
    if camera.model == "OPENCV_FISHEYE":
        model = "fisheye"
    elif camera.model in ("SIMPLE_RADIAL", "RADIAL"):
        rest = (*rest, *(0.0,) * (4 - len(rest)))
    elif not rest:
        model = "none"
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    return SourceCamera(name, K, camera.width, camera.height, np.eye(4), model, tuple(rest))


def _points(file: Path, frame: Similarity) -> tuple[Matrix, NDArray[np.uint8]]:
    xyz, rgb = read_points(file)
    return frame.points(xyz), rgb
