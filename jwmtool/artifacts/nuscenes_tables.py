"""The tables of a nuScenes data set: names that its devkit knows, tokens, records as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

Record = dict[str, Any]

TABLES = (
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
)

# The devkit has a color for these names alone.
CATEGORIES = {
    "animal": "All animals.",
    "human.pedestrian.adult": "Adult people.",
    "human.pedestrian.child": "Children.",
    "movable_object.barrier": "Temporary barriers.",
    "movable_object.debris": "What lies on the road and does not belong there.",
    "movable_object.trafficcone": "Traffic cones.",
    "static.other": "What has no name here; see source_category of its instance.",
    "vehicle.bicycle": "Bicycles, with their riders.",
    "vehicle.bus.rigid": "Buses.",
    "vehicle.car": "Cars and vans.",
    "vehicle.motorcycle": "Motorcycles, with their riders.",
    "vehicle.trailer": "Trailers.",
    "vehicle.truck": "Lorries and pickups.",
}
ATTRIBUTES = {
    "vehicle.moving": "Vehicle is moving.",
    "vehicle.stopped": "Vehicle stands, but not all the time.",
    "vehicle.parked": "Vehicle stands all the time.",
    "cycle.with_rider": "There is a rider.",
    "pedestrian.moving": "Walks or runs.",
    "pedestrian.standing": "Stands.",
}
VISIBILITIES = {
    "1": ("v0-40", "Up to 40 % are seen."),
    "2": ("v40-60", "40 to 60 % are seen."),
    "3": ("v60-80", "60 to 80 % are seen."),
    "4": ("v80-100", "80 % or more are seen."),
    "0": ("unknown", "The clip has no truth to tell from."),
}
UNKNOWN_VISIBILITY = "0"

_WORDS = (  # the first that occurs in a clip's category decides
    ("child", "human.pedestrian.child"),
    ("pedestrian|person|walker", "human.pedestrian.adult"),
    ("motor", "vehicle.motorcycle"),
    ("cycl|bike", "vehicle.bicycle"),
    ("trailer|towed", "vehicle.trailer"),
    ("bus", "vehicle.bus.rigid"),
    ("truck|lorry", "vehicle.truck"),
    (r"\bcar\b|\bvan\b|suv|vehicle", "vehicle.car"),
    ("animal", "animal"),
    ("cone", "movable_object.trafficcone"),
    ("barrier", "movable_object.barrier"),
    ("debris|obstacle", "movable_object.debris"),
)


def token(*parts: str | int) -> str:
    """32 hexadecimal digits that follow from `parts` alone."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:32]


def nuscenes_category(category: str) -> str:
    """The devkit's name for a clip's category."""
    text = category.lower().replace("_", " ")
    if text in CATEGORIES:
        return text
    return next((name for words, name in _WORDS if re.search(words, text)), "static.other")


def channel_name(camera: str) -> str:
    """`front_left` is CAM_FRONT_LEFT: the devkit takes for cameras what starts so."""
    name = re.sub(r"[^A-Z0-9]+", "_", camera.upper()).strip("_")
    return name if name.startswith("CAM_") else f"CAM_{name}"


def standard_tables() -> dict[str, list[Record]]:
    """All tables, the vocabularies filled in."""
    tables: dict[str, list[Record]] = {name: [] for name in TABLES}
    for index, (name, text) in enumerate(CATEGORIES.items(), start=1):
        tables["category"].append({"token": token("category", name), "name": name, "description": text, "index": index})
    for name, text in ATTRIBUTES.items():
        tables["attribute"].append({"token": token("attribute", name), "name": name, "description": text})
    for number, (level, text) in VISIBILITIES.items():
        tables["visibility"].append({"token": number, "level": level, "description": text})
    return tables


def write_tables(folder: Path, tables: dict[str, list[Record]]) -> None:
    """One JSON file a table, one record a line."""
    folder.mkdir()
    for name in TABLES:
        lines = ",\n".join(json.dumps(record, allow_nan=False) for record in tables[name])
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
