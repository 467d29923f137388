"""nuScenes through nuscenes-devkit: v1.0-*/ (tables), samples/, sweeps/, maps/, can_bus/; one scene a recording.

The tables are loaded by the devkit (extra [nuscenes]), as published: it installs beside this package, with numpy below
2. Only `scene.json` is read here before that, so that a wrong folder or scene is told without it. A data set of
`jwm export --to nuscenes` is read back likewise: `jwm_export.json` gives the clip's own coordinates, times and licence.
A folder or file in mmdetection3d's info form needs no devkit: `nuscenes_info.py`.

Conventions: `calibrated_sensor` is rig_from_sensor, `ego_pose` is global_from_rig at the time of its own image or sweep
(rig x forward, y left, z up, on the ground below the rear axle; its height is always 0); quaternions are wxyz, meters,
times in microseconds. The world is the map's frame: x east, y north, z up, origin at the map's south-west corner, a few
km away at most, so nothing is subtracted. Cameras have OpenCV axes and a global shutter; an image's time is that of its
trigger. Pictures are undistorted. Pixel centers are at integers (the devkit draws K's projections over matplotlib's
imshow, whose pixels are centered there), so 0.5 is added to cx, cy; our own exports hold K with centers at halves,
unless jwm_export.json says `"pixel_centers": "integers"`. The lidar has x right, y forward, z up; a sweep's time is the
end of its turn, to which its points are compensated. Boxes: translation is the center, size is (width, length, height),
x along the length; annotated twice a second at the sample's (that is the lidar's) time.

Frames: one for each image of CAM_FRONT, key frames and sweeps. The cameras fire one after another as the lidar turns
past them, up to 40 ms apart, and the steps are 50 or 100 ms; so an image belongs to the image of CAM_FRONT that is
nearest once its camera's usual lag (median over the samples) is taken off, and those of a sample stay together.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jwmtool.artifacts.nuscenes_tables import TABLES
from jwmtool.errors import InputError, MissingPartError, UsageError
from jwmtool.geometry import se3
from jwmtool.readers import nuscenes_info
from jwmtool.readers.nuscenes_scene import LICENCE, Place, can_bus, frames_of, sweeps_of, tags_of, tracks_of
from jwmtool.readers.recording import Recording, safe_name

HAS_SPLITS = True
_INDEX = ("scene", "sample", "sensor", "calibrated_sensor", "log")  # small enough to be hashed
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def detects(path: Path) -> bool:
    """True for a folder with v1.0-* tables, for such a folder of tables, and for mmdetection3d's info files."""
    return nuscenes_info.detects(path) or bool(_versions(path))


def scenes(path: Path, split: str) -> list[str]:
    """Names of the scenes, in the table's order; `split` is all, or one of the devkit's (train, val, mini_train ...).

    Raises:
        UsageError: no such split. InputError: tables missing, or no scene of that split among them.
        MissingPartError: a split is asked for, and the devkit, which has the lists, is not installed.
    """
    if nuscenes_info.detects(path):
        if split != "all":
            raise UsageError(f"--split: expected all for an info file, found {split!r}")
        return [nuscenes_info.read(path).name]
    tables = _tables(path)
    names = [str(record["name"]) for record in _scenes(tables)]
    if split == "all":
        return names
    lists = _devkit_splits()
    if split not in lists:
        raise UsageError(f"--split: expected one of all, {', '.join(lists)}, found {split!r}")
    found = [name for name in names if name in set(lists[split])]
    if not found:
        raise InputError(tables / "scene.json", f"scenes of the split {split}", _listed(names))
    return found


def read(path: Path, scene: str | None = None) -> Recording:
    """Read one scene; `scene` is its name (scene-0061), its token, or a part of the name that only one has.

    Raises:
        InputError: missing or damaged tables, files that they name and that are not there, no such scene.
        MissingPartError: nuscenes-devkit is not installed.
    """
    if nuscenes_info.detects(path):
        return nuscenes_info.read(path, scene)
    tables = _tables(path)
    record = _choose(tables, scene)
    note = _export_note(tables.parent, record["name"])
    nusc = _load(tables)
    try:
        return _read(tables, nusc, record, note)
    except _DAMAGED as error:
        raise InputError(tables, "tables of nuScenes v1.0", _message(error)) from None


def _read(tables: Path, nusc: Any, scene: dict[str, Any], note: dict[str, Any]) -> Recording:
    place = Place(
        root=tables.parent,
        scene=scene["name"],
        world_from_global=se3.inverse(np.array(note["global_from_world"], np.float64)) if note else np.eye(4),
        offset_us=int(note.get("time_offset_us", 0)),
        # Exports of ours that do not say so hold K as our clips do.
        center_px=0.0 if note and note.get("pixel_centers") != "integers" else 0.5,
    )
    samples = {r["token"]: r for r in nusc.sample if r["scene_token"] == scene["token"]}
    records = [r for r in nusc.sample_data if r["sample_token"] in samples]
    cameras, frames = frames_of(nusc, place, [r for r in records if r["sensor_modality"] == "camera"])
    no_lidar = str(note.get("lidar", "")).startswith("none")  # the empty sweeps of a clip without one
    lidar = [] if no_lidar else [r for r in records if r["channel"] == "LIDAR_TOP"]
    log = nusc.get("log", scene["log_token"])
    told = {"scene_token": scene["token"], "description": scene.get("description", "")}
    driven = can_bus(tables.parent / "can_bus", scene["name"])
    return Recording(
        name=safe_name(scene["name"]),
        format="nuscenes",
        path=tables,
        cameras=cameras,
        frames=frames,
        index_files=tuple(tables / f"{name}.json" for name in _INDEX),
        licence=str(note.get("licence", LICENCE)),
        lidar=sweeps_of(nusc, place, lidar),
        tracks=tracks_of(nusc, place, list(samples.values())),
        tags=tags_of(told["description"]),
        extras={"nuscenes": {**told, "location": log["location"]}} | ({"can_bus": driven} if driven else {}),
    )


def _versions(path: Path) -> list[Path]:
    """Folders of tables: `path` itself, else those in it. nuImages has such folders too, but no scenes."""
    if not path.is_dir():
        return []
    folders = [path.absolute(), *sorted(path.absolute().glob("v[0-9]*"))]
    found = []
    for folder in folders:
        there = {name for name in TABLES if (folder / f"{name}.json").is_file()}
        if len(there) > 2 and there & {"scene", "sample_annotation"}:
            found.append(folder)
    return found[:1] if found and found[0] == folders[0] else found


def _tables(path: Path) -> Path:
    """The one folder of tables, checked for completeness."""
    found = _versions(path)
    if not found:
        wanted = "a folder v1.0-mini, v1.0-trainval or v1.0-test with the tables (scene.json ...)"
        raise InputError(path, wanted, "none" if path.exists() else "no such file or folder")
    if len(found) > 1:
        names = ", ".join(f.name for f in found)
        raise InputError(path, "one version, or the path of one of its versions", names)
    tables = found[0]
    if not tables.name.startswith("v1.0-"):
        raise InputError(tables, "tables of version v1.0-*", tables.name)
    missing = [name for name in TABLES if not (tables / f"{name}.json").is_file()]
    if missing:
        expected = f"all {len(TABLES)} tables of nuScenes"
        raise InputError(tables / f"{missing[0]}.json", expected, f"no {', '.join(f'{n}.json' for n in missing)}")
    return tables


def _scenes(tables: Path) -> list[dict[str, Any]]:
    file = tables / "scene.json"
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        if not records or not all({"name", "token", "log_token"} <= set(record) for record in records):
            raise ValueError(f"{len(records)} records, not all with name, token and log_token")
    except (OSError, TypeError, ValueError) as error:
        raise InputError(file, "nuScenes' table of scenes", str(error)) from None
    return list(records)


def _choose(tables: Path, scene: str | None) -> dict[str, Any]:
    records = _scenes(tables)
    chosen = records if scene is None else [r for r in records if scene in (r["name"], r["token"])]
    if scene and not chosen:
        chosen = [r for r in records if scene in r["name"]]
    if len(chosen) != 1:
        among = _listed([r["name"] for r in chosen or records])
        what = f"one scene for --scene {scene}" if scene else "one scene (--scene chooses among several)"
        raise InputError(tables / "scene.json", what, among)
    return chosen[0]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" ... ({len(names)} scenes)" if len(names) > 8 else "")


def _export_note(root: Path, scene: str) -> dict[str, Any]:
    """What jwm_export.json says of a scene; empty for nuScenes itself."""
    file = root / "jwm_export.json"
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        note = next((dict(n) for n in document["scenes"] if n["name"] == scene), None)
        problem = "no such scene" if note is None else se3.rigid_problem(note["global_from_world"])
    except (OSError, *_DAMAGED) as error:
        note, problem = None, _message(error)
    if note is None or problem:
        raise InputError(file, f"what was exported as {scene}", str(problem))
    return note


def _load(tables: Path) -> Any:
    files = [tables / f"{name}.json" for name in TABLES]
    return _loaded(tables, tuple(f.stat().st_mtime_ns for f in files))


@lru_cache(maxsize=1)  # v1.0-trainval takes a minute and gigabytes: scenes that follow each other share them
def _loaded(tables: Path, times_ns: tuple[int, ...]) -> Any:
    try:
        from nuscenes.nuscenes import NuScenes
    except ImportError as error:
        raise _missing(error) from None
    try:
        return NuScenes(version=tables.name, dataroot=str(tables.parent), verbose=False)
    except (AssertionError, OSError, *_DAMAGED) as error:
        raise InputError(tables, "tables that nuscenes-devkit loads", _message(error)) from None


def _devkit_splits() -> dict[str, list[str]]:
    try:
        from nuscenes.utils.splits import create_splits_scenes
    except ImportError as error:
        raise _missing(error) from None
    return dict(create_splits_scenes())


def _missing(error: ImportError) -> MissingPartError:
    return MissingPartError(
        f"nuScenes needs nuscenes-devkit: {error}; pip install 'jwmtool[nuscenes]' in an environment of its own"
    )


def _message(error: BaseException) -> str:
    return f"no record or key {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
