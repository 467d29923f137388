"""DGP scenes (DDAD and others): scene_*.json, calibration/, rgb/, point_cloud/, bounding_box_3d/.

Conventions: extrinsics are rig_from_sensor (rig x forward, y left, z up), a datum's pose is world_from_sensor at that
sensor's own time; cameras have OpenCV axes. Pixel centers are at integers (DGP projects with OpenCV and scales K as
(c + 0.5) * s - 0.5), so 0.5 is added to cx, cy. Boxes of a lidar datum are in the frame of that lidar, centered,
x along the length.

Times: DDAD writes its times ten times too large (units of 1e-7 s read as microseconds: the year 2464). Whatever lies
beyond the year 2100 is divided by ten.

Own car: masks in the folder (ego_mask/CAMERA.png or masks/CAMERA.png) are used; otherwise, for the DDAD rig, polygons
drawn by hand (ddad_ego_masks.json, approximate).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.clip import Track
from jwmtool.artifacts.json_file import read_json
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.readers.recording import (
    MaskSource,
    Matrix,
    Recording,
    SourceCamera,
    SourceFrame,
    SourceImage,
    SourceSweep,
    find_licence,
    safe_name,
)

_YEAR_2100_US = 4_102_444_800_000_000
_BOXES = "1"  # DGP's annotation type BOUNDING_BOX_3D
_MASK_FOLDERS = ("ego_mask", "ego_masks", "masks")


def detects(path: Path) -> bool:
    """True for a scene folder, its scene_*.json, or a folder of scene folders."""
    if path.is_file():
        return path.name.startswith("scene") and path.suffix == ".json" and (path.parent / "calibration").is_dir()
    return bool(_scene_files(path))


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one scene; `scene` names its folder (or json) where `path` holds several.

    Raises:
        InputError: missing files or keys, times out of order.
    """
    file = _choose(path, scene)
    folder = file.parent
    document = read_json(file)
    try:
        return _read(file, folder, document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(file, "a DGP scene", found) from None


def _read(file: Path, folder: Path, document: dict[str, Any]) -> Recording:
    by_key = {datum["key"]: datum for datum in document["data"]}
    cameras: dict[str, SourceCamera] = {}
    frames: list[SourceFrame] = []
    lidar: list[SourceSweep] = []
    boxes: dict[str, list[tuple[int, str, Any, Matrix]]] = {}
    class_names = _class_names(folder, document.get("ontologies", {}).get(_BOXES))
    keys = dict.fromkeys(sample["calibration_key"] for sample in document["samples"])
    calibration_files = [folder / "calibration" / f"{key}.json" for key in keys]
    calibrations = dict(zip(keys, (_calibration(f) for f in calibration_files), strict=True))
    for index, sample in enumerate(document["samples"]):
        calibration = calibrations[sample["calibration_key"]]
        images: dict[str, SourceImage] = {}
        for key in sample["datum_keys"]:
            if key not in by_key:
                raise InputError(file, f"the datum {key} of sample {index}", "no such datum")
            datum = by_key[key]
            name, time_us = datum["id"]["name"], _time_us(file, datum["id"]["timestamp"])
            kind, body = next(iter(datum["datum"].items()))
            world_from_sensor = _pose(body["pose"])
            if kind == "image":
                safe = safe_name(name)
                if safe not in cameras:
                    K, rig_from_cam = calibration[name]
                    cameras[safe] = SourceCamera(safe, K, body["width"], body["height"], rig_from_cam)
                images[safe] = SourceImage(folder / body["filename"], time_us, world_from_sensor)
            elif kind == "point_cloud":
                load = partial(_read_points, folder / body["filename"], tuple(body.get("point_format", ())))
                lidar.append(SourceSweep(time_us, world_from_sensor, load))
                annotations = body.get("annotations", {})
                if _BOXES in annotations:
                    _add_boxes(boxes, folder / annotations[_BOXES], time_us, world_from_sensor)
        if images:
            first = next(iter(images))
            world_from_rig = images[first].world_from_cam @ se3.inverse(cameras[first].rig_from_cam)
            frames.append(SourceFrame(images[first].time_us, world_from_rig, images))
    return Recording(
        name=safe_name(document.get("name") or folder.resolve().name),
        format="dgp",
        path=file,
        cameras=_with_masks(folder, cameras),
        frames=frames,
        index_files=(file, *calibration_files),
        licence=find_licence(folder),
        lidar=sorted(lidar, key=lambda sweep: sweep.time_us),
        tracks=_tracks(boxes, class_names),
        tags={},
    )


def scenes(path: Path, split: str = "all") -> list[str]:
    """Folders of the scenes of a set.

    Raises:
        UsageError: a split other than "all". InputError: no scene.
    """
    if split != "all":
        raise UsageError(f"--split: expected all, found {split!r}")
    found = [file.parent.name for file in _scene_files(path)]
    if not found:
        raise InputError(path, "scenes (scene_*.json beside calibration/)", "none")
    return found


def _scene_files(path: Path) -> list[Path]:
    own = sorted(path.glob("scene_*.json"))
    own = [f for f in own if (f.parent / "calibration").is_dir()]
    return own or sorted(f for f in path.glob("*/scene_*.json") if (f.parent / "calibration").is_dir())


def _choose(path: Path, scene: str | None) -> Path:
    if path.is_file():
        return path
    found = _scene_files(path)
    chosen = found if scene is None else [f for f in found if scene in (f.parent.name, f.stem, f.name)]
    if len(chosen) != 1:
        names = ", ".join(f.parent.name for f in found[:8]) + (" ..." if len(found) > 8 else "")
        raise InputError(path, "one scene (--scene chooses among several)", names or "none")
    return chosen[0]


def _time_us(file: Path, text: str) -> int:
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    time_us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return time_us if time_us < _YEAR_2100_US else round(time_us / 10)


def _pose(pose: dict[str, Any]) -> Matrix:
    rotation, translation = pose["rotation"], pose["translation"]
    quat = [float(rotation[k]) for k in ("qw", "qx", "qy", "qz")]
    xyz = [float(translation[k]) for k in "xyz"]
    if not np.isfinite(quat).all() or abs(np.linalg.norm(quat) - 1.0) > 1e-3:
        return np.full((4, 4), np.nan)  # refused by name afterwards
    return se3.from_quat(quat, xyz)


def _calibration(file: Path) -> dict[str, tuple[Matrix, Matrix]]:
    """K [3, 3] (pixel centers at halves) and rig_from_sensor [4, 4] by sensor name."""
    document = read_json(file)
    result = {}
    for name, k, pose in zip(document["names"], document["intrinsics"], document["extrinsics"], strict=True):
        K = [[k["fx"], k.get("skew", 0.0), k["cx"] + 0.5], [0.0, k["fy"], k["cy"] + 0.5], [0.0, 0.0, 1.0]]
        result[name] = (np.array(K, np.float64), _pose(pose))
    return result


def _read_points(file: Path, fields: tuple[str, ...]) -> NDArray[np.float32]:
    try:
        with np.load(file) as archive:
            data = np.asarray(archive["data"], np.float32)
    except FileNotFoundError:
        raise InputError(file, "a lidar sweep", "no such file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(file, "a .npz with `data`", str(error)) from None
    if data.ndim != 2 or data.shape[1] < 3:
        raise InputError(file, "points [M, 3] or more columns", f"shape {data.shape}")
    column = fields.index("INTENSITY") if "INTENSITY" in fields else 3
    intensity = data[:, column : column + 1] if data.shape[1] > column else np.zeros((len(data), 1), np.float32)
    return np.hstack([data[:, :3], intensity])


def _class_names(folder: Path, key: str | None) -> dict[int, str]:
    file = folder / "ontology" / f"{key}.json"
    return {item["id"]: item["name"] for item in read_json(file)["items"]} if key and file.is_file() else {}


def _add_boxes(boxes: dict[str, list[Any]], file: Path, time_us: int, world_from_lidar: Matrix) -> None:
    for item in read_json(file)["annotations"]:
        world_from_box = world_from_lidar @ _pose(item["box"]["pose"])
        boxes.setdefault(str(item["instance_id"]), []).append((time_us, item["class_id"], item["box"], world_from_box))


def _tracks(boxes: dict[str, list[tuple[int, Any, Any, Matrix]]], class_names: dict[int, str]) -> list[Track]:
    tracks = []
    for instance, seen in boxes.items():
        seen.sort(key=lambda item: item[0])
        sizes = [[box["length"], box["width"], box["height"]] for _, _, box, _ in seen]
        length, width, height = np.median(sizes, axis=0).tolist()
        category = class_names.get(seen[0][1], f"class {seen[0][1]}")
        times_us = np.array([item[0] for item in seen], np.int64)
        tracks.append(
            Track(instance, category, (length, width, height), times_us, np.stack([item[3] for item in seen]))
        )
    return tracks


def _with_masks(folder: Path, cameras: dict[str, SourceCamera]) -> dict[str, SourceCamera]:
    table = json.loads(files("jwmtool.readers").joinpath("ddad_ego_masks.json").read_text("utf-8"))
    result = dict(cameras)
    drawn = []
    for name, camera in cameras.items():
        own = [folder / place / f"{name}.png" for place in _MASK_FOLDERS]
        mask: MaskSource | None = next((f for f in own if f.is_file()), None)
        if mask is None and _same_mount(camera, table, table["cameras"].get(name)):
            mask = _drawn_mask(camera, table, table["cameras"][name]["polygons"])
            drawn.append(name)
        result[name] = replace(camera, mask=mask)
    if drawn:
        console.notice(f"{folder}: own car masked approximately in {', '.join(drawn)}; --mask CAMERA=FILE replaces it")
    return result


def _same_mount(camera: SourceCamera, table: dict[str, Any], entry: dict[str, Any] | None) -> bool:
    """True if focal length (3 %), shape and direction (3 degrees) are those that the polygons were drawn for."""
    if entry is None or not np.isfinite(camera.rig_from_cam).all():
        return False
    forward = np.array(entry["forward_rig"])
    aligned = float(forward @ camera.rig_from_cam[:3, 2]) / np.linalg.norm(forward)
    scale = camera.width / table["width"]
    return bool(
        aligned > np.cos(np.radians(3.0))
        and abs(camera.K[0, 0] / (scale * entry["focal_px"]) - 1) < 0.03
        and abs(camera.height / (scale * table["height"]) - 1) < 0.01
    )


def _drawn_mask(camera: SourceCamera, table: dict[str, Any], polygons: list[Any]) -> NDArray[np.bool_]:
    from PIL import Image, ImageDraw

    picture = Image.new("L", (camera.width, camera.height), 255)
    scale = camera.width / table["width"]
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([(x * scale, y * scale) for x, y in polygon], fill=0)
    return np.asarray(picture) > 0
