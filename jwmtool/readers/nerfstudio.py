"""nerfstudio `transforms.json`: poses and intrinsics as nerfstudio, instant-ngp and many exporters write them.

Conventions: `transform_matrix` is world_from_cam with OpenGL axes (x right, y up, z backward), turned here to x right,
y down, z forward. The world is z up and is taken as it is, in meters. Pixel centers are at halves (nerfstudio shoots
its rays through +0.5, COLMAP's K is kept), so cx, cy are taken as they are. `applied_transform` is already in the
matrices and is not undone; `applied_scale` is divided out, since it says by how much the lengths were multiplied.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.images import image_size
from jwmtool.artifacts.json_file import read_json
from jwmtool.artifacts.ply_vertices import read_vertices
from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.readers.recording import Matrix, Recording, SourceCamera, SourceFrame, SourceImage, find_licence, safe_name

_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_MODELS = {"OPENCV", "OPENCV_FISHEYE", "PINHOLE", "SIMPLE_PINHOLE"}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_model", "camera_angle_x", "camera_angle_y",
               "k1", "k2", "k3", "k4", "p1", "p2")  # fmt: skip


def detects(path: Path) -> bool:
    """True for a file with `transform_matrix` entries, or a folder that holds a transforms*.json."""
    if path.is_dir():
        return any(path.glob("transforms*.json"))
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open(errors="replace") as stream:
        return '"transform_matrix"' in stream.read(100_000)


def read(path: Path, scene: str | None = None) -> Recording:
    """Read a transforms.json, or the one in a folder (`scene` names the file where there are several).

    Raises:
        InputError: missing keys, unsupported camera model, times out of order, missing images.
    """
    file = _find(path, scene)
    meta = read_json(file)
    entries = meta.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(file, "a list `frames` with at least one entry", "none")
    sequences: dict[str, list[tuple[int, SourceImage]]] = {}  # camera -> (time, image)
    cameras: dict[str, SourceCamera] = {}
    names: dict[tuple[Any, ...], str] = {}
    if not all("time" in e for e in entries if isinstance(e, dict)):
        rate_hz = _rate(file, meta)
        entries = sorted(
            entries, key=lambda e: natural_order(str(e.get("file_path", ""))) if isinstance(e, dict) else []
        )
    scale = _number(file, meta, "applied_scale", 1.0)
    if scale != 1.0:
        console.notice(f"{file}: lengths divided by applied_scale {scale:g}")
    for index, entry in enumerate(entries):
        where = f"frames[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise InputError(file, f"file_path in {where}", "none")
        image_path = _image_path(file.parent / entry["file_path"])
        inherited = {**{k: meta[k] for k in _INTRINSICS if k in meta}, **entry}
        label = entry.get("camera", entry.get("camera_label"))
        key = (label,) if label is not None else tuple(entry.get(k) for k in _INTRINSICS)
        if key not in names:
            names[key] = safe_name(str(label)) if label is not None else f"camera_{len(names)}"
            cameras[names[key]] = _camera(file, where, names[key], inherited, image_path)
            sequences[names[key]] = []
        sequence = sequences[names[key]]
        time_us = round(1e6 * (_number(file, entry, "time", 0.0) if "time" in entry else len(sequence) / rate_hz))
        if sequence and time_us <= sequence[-1][0]:
            found = f"{where} at {time_us / 1e6:g} s after {sequence[-1][0] / 1e6:g} s"
            raise InputError(file, "frames in order of time", found)
        pose = _pose(file, where, entry.get("transform_matrix"), scale)
        mask = file.parent / entry["mask_path"] if "mask_path" in entry else None
        sequence.append((time_us, SourceImage(image_path, time_us, pose, mask)))
    cameras, frames = grouped_by_time(cameras, sequences)
    folder_name = file.parent.resolve().name
    points_file = meta.get("ply_file_path")
    return Recording(
        name=safe_name(folder_name if file.stem == "transforms" else f"{folder_name}-{file.stem}"),
        format="nerfstudio",
        path=file,
        cameras=cameras,
        frames=frames,
        index_files=(file,),
        licence=find_licence(file.parent),
        points=None if not points_file else lambda: _read_points(file.parent / points_file, scale),
    )


def grouped_by_time(
    cameras: dict[str, SourceCamera], sequences: dict[str, list[tuple[int, SourceImage]]]
) -> tuple[dict[str, SourceCamera], list[SourceFrame]]:
    """Group images of one time. The rig stands at the first camera; others are fixed to it where both first appear."""
    first = next(iter(cameras))
    by_time: dict[int, dict[str, SourceImage]] = {}
    for name, sequence in sequences.items():
        for time_us, image in sequence:
            by_time.setdefault(time_us, {})[name] = image
    rig_from_cam = {first: se3.RIG_FROM_CAM_AXES}
    for images in by_time.values():
        for name, image in images.items():
            if name not in rig_from_cam and first in images:
                rig_from_first = se3.RIG_FROM_CAM_AXES @ se3.inverse(images[first].world_from_cam)
                rig_from_cam[name] = rig_from_first @ image.world_from_cam
    frames = []
    for time_us, images in sorted(by_time.items()):
        # A camera never seen together with the first one gets a rig of its own making: its own axes.
        name = next((n for n in cameras if n in images and n in rig_from_cam), next(iter(images)))
        mount = rig_from_cam.setdefault(name, se3.RIG_FROM_CAM_AXES)
        frames.append(SourceFrame(time_us, images[name].world_from_cam @ se3.inverse(mount), images))
    turned = {n: replace(c, rig_from_cam=rig_from_cam.get(n, se3.RIG_FROM_CAM_AXES)) for n, c in cameras.items()}
    return turned, frames


def _camera(file: Path, where: str, name: str, entry: dict[str, Any], image: Path) -> SourceCamera:
    model = entry.get("camera_model", "OPENCV")
    if model not in _MODELS:
        raise InputError(file, f"camera_model {', '.join(sorted(_MODELS))} in {where}", repr(model))
    if "w" in entry and "h" in entry:
        width, height = int(_number(file, entry, "w", 0)), int(_number(file, entry, "h", 0))
    else:
        width, height = image_size(image)
    if "fl_x" in entry:
        fx = _number(file, entry, "fl_x", 0.0)
    elif "camera_angle_x" in entry:
        fx = 0.5 * width / np.tan(0.5 * _number(file, entry, "camera_angle_x", 1.0))
    else:
        raise InputError(file, f"fl_x (or camera_angle_x) globally or in {where}", "neither")
    fy = _number(file, entry, "fl_y", fx)
    cx, cy = _number(file, entry, "cx", width / 2), _number(file, entry, "cy", height / 2)
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    k1, k2, k3, k4, p1, p2 = (_number(file, entry, k, 0.0) for k in ("k1", "k2", "k3", "k4", "p1", "p2"))
    if model == "OPENCV_FISHEYE":
        return SourceCamera(name, K, width, height, np.eye(4), "fisheye", (k1, k2, k3, k4))
    if k4 != 0.0:
        raise InputError(file, f"k4 = 0 with camera_model {model} in {where}", f"k4 = {k4:g}")
    return SourceCamera(name, K, width, height, np.eye(4), "opencv", (k1, k2, p1, p2, k3))


def _pose(file: Path, where: str, value: Any, scale: float) -> Matrix:
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    problem = se3.rigid_problem(matrix)
    if problem:
        raise InputError(file, f"a rigid transform_matrix in {where}", problem)
    matrix[:3, 3] /= scale
    return matrix @ _OPENGL_FROM_OPENCV


def _find(path: Path, scene: str | None) -> Path:
    if path.is_file():
        return path
    files = sorted(path.glob("transforms*.json"))
    if scene is not None:
        files = [f for f in files if f.stem in (scene, f"transforms_{scene}")]
    elif path / "transforms.json" in files:
        return path / "transforms.json"
    if len(files) == 1:
        return files[0]
    found = ", ".join(f.name for f in sorted(path.glob("transforms*.json"))) or "no such file"
    raise InputError(path, "one transforms.json (or --scene to choose)", found)


def _image_path(path: Path) -> Path:
    """Some exporters leave the extension out."""
    if path.suffix not in _SUFFIXES and not path.is_file():
        return next((p for p in (path.with_name(path.name + s) for s in _SUFFIXES) if p.is_file()), path)
    return path


def _rate(file: Path, meta: dict[str, Any]) -> float:
    rate_hz = _number(file, meta, "fps", 0.0)
    if rate_hz > 0:
        console.notice(f"{file}: no time per frame; taken from fps {rate_hz:g} in the order of file names")
        return rate_hz
    console.notice(f"{file}: neither time per frame nor fps; 10 Hz in the order of file names assumed")
    return 10.0


def _number(file: Path, entry: dict[str, Any], key: str, default: float) -> float:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise InputError(file, f"a finite number as {key}", repr(value))
    return float(value)


def natural_order(text: str) -> list[Any]:
    """Sort key under which 10 follows 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def _read_points(path: Path, scale: float) -> tuple[Matrix, NDArray[np.uint8]]:
    """Sparse points of a PLY: xyz [M, 3] in meters and rgb [M, 3], grey where the file has no color."""
    vertices = read_vertices(path)
    names = set(vertices.dtype.names or ())
    if not {"x", "y", "z"} <= names:
        raise InputError(path, "points with x, y, z", ", ".join(sorted(names)))
    rgb = np.full((len(vertices), 3), 128, np.uint8)
    if {"red", "green", "blue"} <= names:
        rgb = np.stack([vertices[k] for k in ("red", "green", "blue")], 1).astype(np.uint8)
    return np.stack([vertices[k] for k in "xyz"], 1).astype(np.float64) / scale, rgb
