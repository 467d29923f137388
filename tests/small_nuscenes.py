"""Small data sets in nuScenes' true layout, and a stand-in for the devkit where it is not installed (numpy 2)."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_recordings import SIZE, save, write_json

from jwmtool.geometry import se3

START_US = 1_532_402_927_647_951  # of the first sample, that is of its sweep
SPEED_MPS = 10.0
TURN_US = 50_000
FRONT_TURNS = (0, 2, 3, 5, 7, 8, 10, 12, 13, 15, 17, 18, 20)  # of the lidar, in which the cameras fire: 12 Hz, unevenly
LAGS_US = {"CAM_FRONT": -35_000, "CAM_BACK_LEFT": 0, "CAM_BACK": -10_000}  # after the sweep's end
QUATS = {
    "CAM_FRONT": [0.5, -0.5, 0.5, -0.5],
    "CAM_BACK": [0.5, -0.5, -0.5, 0.5],
    "CAM_BACK_LEFT": [0.70710678, -0.70710678, 0.0, 0.0],  # looks left
    "LIDAR_TOP": [0.70710678, 0.0, 0.0, -0.70710678],  # x right, y forward
}
MOUNTS = {
    "CAM_FRONT": [1.7, 0.0, 1.5],
    "CAM_BACK": [0.0, 0.0, 1.6],
    "CAM_BACK_LEFT": [1.0, 0.5, 1.6],
    "LIDAR_TOP": [0.94, 0.0, 1.84],
}
K = [[50.0, 0.0, 32.0], [0.0, 50.0, 15.0], [0.0, 0.0, 1.0]]
CAR = (400.0, 1210.0, 0.75)  # its center on the map; the ego starts 30 m south of it and drives north
DESCRIPTIONS = {"scene-0061": "Parked truck, after rain, turn left", "scene-0103": "Night, rain, big street"}


def tok(*parts: Any) -> str:
    """32 hexadecimal digits."""
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def ego(time_us: int) -> np.ndarray:
    """global_from_rig [4, 4]: to the north at 10 m/s."""
    return se3.translation((400.0, 1180.0 + SPEED_MPS * (time_us - START_US) * 1e-6, 0.0)) @ se3.rotation_z(np.pi / 2)


def nuscenes(root: Path, scenes: tuple[str, ...] = ("scene-0061", "scene-0103"), version: str = "v1.0-mini") -> Path:
    """Scenes of 1 s: three samples, 13 images of each of three cameras, 21 sweeps; a parked car, a walker who grows."""
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [
            {"token": tok(n), "name": n, "description": ""} for n in ("vehicle.car", "human.pedestrian.adult")
        ],
        "attribute": [{"token": tok("moving"), "name": "pedestrian.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "sensor": [
            {"token": tok(n), "channel": n, "modality": "lidar" if n == "LIDAR_TOP" else "camera"} for n in MOUNTS
        ],
        "map": [{"token": tok("map"), "log_tokens": [], "category": "semantic_prior", "filename": "maps/onenorth.png"}],
        **{n: [] for n in ("instance", "calibrated_sensor", "ego_pose", "log", "scene", "sample", "sample_data")},
        "sample_annotation": [],
    }
    (root / "maps").mkdir(parents=True)
    Image.new("L", (8, 8)).save(root / "maps" / "onenorth.png")
    for name in scenes:
        _scene(root, name, tables)
    for name, records in tables.items():
        write_json(root / version / f"{name}.json", records)
    return root


def _scene(root: Path, name: str, tables: dict[str, list[dict[str, Any]]]) -> None:
    samples = [{"token": tok(name, i), "timestamp": START_US + 500_000 * i, "scene_token": tok(name)} for i in range(3)]
    tables["sample"] += _chained(samples)
    tables["log"].append({"token": tok("log", name), "logfile": f"n015-{name}", "vehicle": "n015"})
    tables["log"][-1] |= {"date_captured": "2018-07-24", "location": "singapore-onenorth"}
    tables["map"][0]["log_tokens"].append(tok("log", name))
    ends = {"first_sample_token": samples[0]["token"], "last_sample_token": samples[-1]["token"]}
    told = {"name": name, "description": DESCRIPTIONS[name], "nbr_samples": 3, "log_token": tok("log", name)}
    tables["scene"].append({"token": tok(name), **told, **ends})
    for channel in MOUNTS:
        calibrated = {"token": tok("cal", name, channel), "sensor_token": tok(channel), "translation": MOUNTS[channel]}
        intrinsic = [] if channel == "LIDAR_TOP" else K
        tables["calibrated_sensor"].append(calibrated | {"rotation": QUATS[channel], "camera_intrinsic": intrinsic})
        records = []
        for turn in range(21) if channel == "LIDAR_TOP" else FRONT_TURNS:
            time_us = START_US + TURN_US * turn + LAGS_US.get(channel, 0)
            is_key = turn % 10 == 0
            file = _file(root, name, channel, time_us, is_key)
            token = tok(name, channel, turn)
            sample = samples[-(-turn // 10)]["token"]
            pose = ego(time_us)
            tables["ego_pose"].append(
                {
                    "token": token,
                    "timestamp": time_us,
                    "rotation": se3.to_quat(pose).tolist(),
                    "translation": pose[:3, 3].tolist(),
                }
            )
            size = {"width": 0, "height": 0} if channel == "LIDAR_TOP" else {"width": SIZE[0], "height": SIZE[1]}
            parents = {"sample_token": sample, "ego_pose_token": token, "calibrated_sensor_token": calibrated["token"]}
            place = {"filename": file.relative_to(root).as_posix(), "fileformat": file.suffix[1:]}
            records.append({"token": token, "timestamp": time_us, "is_key_frame": is_key, **parents, **size, **place})
        tables["sample_data"] += reversed(_chained(records))  # the tables are in no order
    _annotate(name, tables, [s["token"] for s in samples])


def _annotate(name: str, tables: dict[str, list[dict[str, Any]]], samples: list[str]) -> None:
    north = [0.70710678, 0.0, 0.0, 0.70710678]
    for what, category, seen in (("car", "vehicle.car", (0, 1, 2)), ("walker", "human.pedestrian.adult", (1, 2))):
        chain = []
        for i in seen:
            walker = {"translation": [395.0, 1200.0 + 0.5 * i, 0.9], "size": [0.5, 0.6 + 0.1 * i, 1.8]}
            box = {"translation": list(CAR), "size": [1.8, 4.2, 1.5]} if what == "car" else walker
            record = {"token": tok(name, what, i), "sample_token": samples[i], "instance_token": tok(name, what)}
            record |= {"visibility_token": "4", "attribute_tokens": [], "num_lidar_pts": 1, "num_radar_pts": 0}
            chain.append(record | box | {"rotation": north})
        tables["sample_annotation"] += _chained(chain)
        instance = {"token": tok(name, what), "category_token": tok(category), "nbr_annotations": len(chain)}
        ends = {"first_annotation_token": chain[0]["token"], "last_annotation_token": chain[-1]["token"]}
        tables["instance"].append(instance | ends)


def _file(root: Path, name: str, channel: str, time_us: int, is_key: bool) -> Path:
    suffix = ".pcd.bin" if channel == "LIDAR_TOP" else ".jpg"
    file = root / ("samples" if is_key else "sweeps") / channel / f"n015-{name}__{channel}__{time_us}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if channel != "LIDAR_TOP":
        return save(file, time_us % 1000)
    rear = np.array([CAR[0], CAR[1] - 2.1, CAR[2]])  # the middle of the parked car's back
    lidar_from_global = se3.inverse(ego(time_us) @ se3.from_quat(QUATS[channel], MOUNTS[channel]))
    np.array([[*se3.apply(lidar_from_global, rear), 77.0, 12.0]], "<f4").tofile(file)
    return file


def _chained(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for i, record in enumerate(records):
        record["prev"] = records[i - 1]["token"] if i else ""
        record["next"] = records[i + 1]["token"] if i + 1 < len(records) else ""
    return records


def add_can_bus(root: Path, scene: str) -> None:
    """100 messages a second of steering, 50 of the pose, as the CAN bus expansion has them."""
    steering = [{"utime": START_US + 10_000 * i, "value": 0.01 * i} for i in range(100)]
    poses = [{"utime": START_US + 20_000 * i, "vel": [SPEED_MPS, 0.1, 0.0], "pos": [0, 0, 0]} for i in range(50)]
    write_json(root / "can_bus" / f"{scene}_steeranglefeedback.json", steering)
    write_json(root / "can_bus" / f"{scene}_pose.json", poses)


def edit_table(root: Path, table: str, change: Any, version: str = "v1.0-mini") -> None:
    """Apply `change(records)` to a table."""
    file = root / version / f"{table}.json"
    records = json.loads(file.read_text())
    change(records)
    write_json(file, records)


# What the reader uses of nuscenes-devkit 1.2, by its documentation. Tests run on the real one too, if it is installed.


class NuScenes:
    def __init__(self, version: str, dataroot: str, verbose: bool = True) -> None:
        folder = Path(dataroot) / version
        for file in sorted(folder.glob("*.json")):
            setattr(self, file.stem, json.loads(file.read_text()))
        names = [file.stem for file in folder.glob("*.json")]
        self._by_token = {name: {r["token"]: r for r in getattr(self, name)} for name in names}
        for record in self.map:  # type: ignore[attr-defined]
            assert (Path(dataroot) / record["filename"]).exists(), f"map mask {record['filename']} does not exist"
        for record in self.sample:  # type: ignore[attr-defined]
            record["anns"] = []
        for record in self.sample_data:  # type: ignore[attr-defined]
            calibrated = self.get("calibrated_sensor", record["calibrated_sensor_token"])
            sensor = self.get("sensor", calibrated["sensor_token"])
            record |= {"channel": sensor["channel"], "sensor_modality": sensor["modality"]}
        for record in self.sample_annotation:  # type: ignore[attr-defined]
            self.get("sample", record["sample_token"])["anns"].append(record["token"])

    def get(self, table: str, token: str) -> dict[str, Any]:
        return self._by_token[table][token]


def install_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import nuscenes` find the above."""
    lists = {"train": ["scene-0061", "scene-0553"], "val": ["scene-0103"], "test": ["scene-0077"]}
    lists |= {"mini_train": ["scene-0061"], "mini_val": ["scene-0103"]}
    contents = {
        "nuscenes": {},
        "nuscenes.nuscenes": {"NuScenes": NuScenes},
        "nuscenes.utils": {},
        "nuscenes.utils.splits": {"create_splits_scenes": lambda: lists},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
