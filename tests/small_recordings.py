"""Small recordings in the true layouts of each format, made on the spot, for tests that need no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (64, 32)
K = {"fl_x": 50.0, "fl_y": 51.0, "cx": 33.0, "cy": 15.0}


def picture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A smooth random picture [H, W, 3] uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def save(path: Path, seed: int = 0, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Path:
    """Write a picture of the kind that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, size)).convert(mode).save(path)
    return path


def opengl_pose(x_m: float) -> list[list[float]]:
    """A camera that looks along +x of a z-up world, at x: columns are right (-y), up (z), backward (-x)."""
    return [[0.0, 0.0, -1.0, x_m], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


def nerfstudio(folder: Path, frames: int = 6, suffix: str = ".jpg", **extra: Any) -> Path:
    """One camera driving along +x at 5 m/s and 10 Hz; returns transforms.json."""
    entries = []
    for i in range(frames):
        save(folder / "images" / f"{i:04d}{suffix}", i)
        entries.append(
            {"file_path": f"images/{i:04d}{suffix}", "time": i / 10, "transform_matrix": opengl_pose(0.5 * i)}
        )
    document = {"camera_model": "OPENCV", **K, "w": SIZE[0], "h": SIZE[1], "frames": entries, **extra}
    return write_json(folder / "transforms.json", document)


def edit_json(file: Path, change: Any) -> Path:
    """Apply `change(document)` to a JSON file."""
    document = json.loads(file.read_text())
    change(document)
    return write_json(file, document)


def write_json(file: Path, document: Any) -> Path:
    """Write JSON (NaN allowed: some tests want it)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def kitti(root: Path, frames: int = 4, official: bool = True) -> Path:
    """A grey and color stereo sequence; `official`: sequences/00 and poses/00.txt with labels, else a bare extract."""
    folder = root / "sequences" / "00" if official else root
    names = ["image_0", "image_1", "image_2"] if official else ["image_l", "image_r"]
    for name in names:
        for i in range(frames):
            save(folder / name / f"{i:06d}.png", i, mode="RGB" if name == "image_2" else "L")
    rows = [projection(0.0), projection(-0.54), projection(0.06), projection(-0.47)]
    labels = [f"P{i}: " for i in range(4)] if official else [""] * 2
    calibration = [label + row for label, row in zip(labels, rows, strict=False)]
    if official:
        # velodyne (x forward, y left, z up) to camera 0, 0.27 m behind and 0.08 m above it
        calibration.append("Tr: 0 -1 0 0.0 0 0 -1 -0.08 1 0 0 -0.27")
        (folder / "velodyne").mkdir()
        for i in range(frames):
            np.array([[10, 0, 0, 0.5], [20, 1, 0, 0.1]], np.float32).tofile(folder / "velodyne" / f"{i:06d}.bin")
        (folder / "times.txt").write_text("".join(f"{0.1037 * i:e}\n" for i in range(frames)))
    (folder / "calib.txt").write_text("\n".join(calibration))
    poses = [f"1 0 0 0 0 1 0 0 0 0 1 {1.2 * i}" for i in range(frames)]
    poses_file = root / "poses" / "00.txt" if official else root / "poses.txt"
    poses_file.parent.mkdir(exist_ok=True, parents=True)
    poses_file.write_text("\n".join(poses))
    return root


def projection(x_m: float) -> str:
    """A row of calib.txt: K [I | t] with the camera's origin at -t."""
    matrix = np.array([[50.0, 0, 33.0], [0, 50.0, 15.0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0, x_m], [0, 1, 0, 0], [0, 0, 1, 0]]
    )
    return " ".join(f"{v:e}" for v in matrix.ravel())


def dgp(folder: Path, frames: int = 3, tenfold: bool = True) -> Path:
    """Two cameras (front, rear) and a lidar on a car that drives along +x; one tracked car ahead of it."""
    extrinsics = {
        "LIDAR": ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        "CAMERA_01": ([0.5, -0.5, 0.5, -0.5], [1.5, 0.0, 1.6]),
        "CAMERA_09": ([0.5, -0.5, -0.5, 0.5], [0.1, 0.0, 1.5]),
    }
    write_json(
        folder / "calibration" / "abc.json",
        {
            "names": list(extrinsics),
            "extrinsics": [_dgp_pose(q, t) for q, t in extrinsics.values()],
            "intrinsics": [
                {"fx": 0.0 if n == "LIDAR" else 50.0, "fy": 50.0, "cx": 32.0, "cy": 15.0, "skew": 0.0}
                for n in extrinsics
            ],
        },
    )
    write_json(folder / "ontology" / "def.json", {"items": [{"id": 7, "name": "Car"}]})
    data, samples = [], []
    for i in range(frames):
        keys = []
        for name, (quat, mount) in extrinsics.items():
            key = f"{name}-{i}"
            keys.append(key)
            step_us = 1_000_000 if tenfold else 100_000
            stamp = _stamp(tenfold, i * step_us + (1000 if name == "LIDAR" else 0))
            pose = _dgp_pose(quat, [mount[0] + 1.2 * i, mount[1], mount[2]])
            if name == "LIDAR":
                file = folder / "point_cloud" / name / f"{i}.npz"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.savez(file, data=np.array([[12.0, 0.0, 0.5, 9.0]], np.float32))
                box = {"length": 4.0, "width": 2.0, "height": 1.5, "pose": _dgp_pose([1, 0, 0, 0], [12.0, 0.0, 0.8])}
                boxes = f"bounding_box_3d/LIDAR/{i}.json"
                write_json(folder / boxes, {"annotations": [{"box": box, "class_id": 7, "instance_id": 42}]})
                fields = {"filename": f"point_cloud/{name}/{i}.npz", "annotations": {"1": boxes}, "pose": pose}
                datum = {"point_cloud": {**fields, "point_format": ["X", "Y", "Z", "INTENSITY"]}}
            else:
                save(folder / "rgb" / name / f"{i}.jpg", i)
                size = {"width": SIZE[0], "height": SIZE[1]}
                datum = {"image": {"filename": f"rgb/{name}/{i}.jpg", "pose": pose, "annotations": {}, **size}}
            data.append({"key": key, "id": {"name": name, "timestamp": stamp}, "datum": datum})
        samples.append({"calibration_key": "abc", "datum_keys": keys, "id": {"timestamp": stamp}})
    document = {"name": "", "data": data, "samples": samples, "ontologies": {"1": "def"}}
    write_json(folder / "scene_123.json", document)
    return folder


def _dgp_pose(quat: list[float], xyz: list[float]) -> dict[str, Any]:
    rotation = dict(zip(("qw", "qx", "qy", "qz"), quat, strict=True))
    return {"rotation": rotation, "translation": dict(zip("xyz", xyz, strict=True))}


def _stamp(tenfold: bool, offset_us: int) -> str:
    from datetime import datetime, timedelta

    start = datetime.fromisoformat("2464-11-12T01:04:10.000000" if tenfold else "2019-06-27T14:30:25.000000")
    return (start + timedelta(microseconds=offset_us)).isoformat(timespec="microseconds") + "Z"
