"""Read a path from a file: TUM (.tum, .txt), .csv, .json, or the .jsonl that lies beside a video."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import InputError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Trajectory

Matrix = NDArray[np.float64]
Row = tuple[int, Matrix]  # time in microseconds, world_from_rig [4, 4]
TRAJECTORY_SUFFIXES = (".tum", ".txt", ".csv", ".json", ".jsonl")


def read_trajectory(path: Path, rig_from_cam: Mapping[str, Matrix] | None = None) -> Trajectory:
    """Read rig poses in world coordinates (metres, z up, rig x forward).

    - `.tum`, `.txt`: lines `time_s x y z qx qy qz qw`, `#` comments.
    - `.csv`: a header naming time_s or time_us, x, y, z and either qx, qy, qz, qw or yaw_deg.
    - `.jsonl`: lines {"time_us", "world_from_rig"} or {"time_us", "camera", "world_from_cam"} (as beside a video).
    - `.json`: a list of such objects, or {"times_us": [...], "world_from_rig": [...]}.

    Args:
        path: the file.
        rig_from_cam: by camera name; turns camera poses into rig poses.

    Raises:
        InputError: missing, malformed, poses that are not rigid, times that do not increase.
    """
    parsers: dict[str, Callable[[Path, str, Mapping[str, Matrix]], list[Row]]] = {
        ".tum": _tum,
        ".txt": _tum,
        ".csv": _csv,
        ".json": _json,
        ".jsonl": _jsonl,
    }
    if path.suffix.lower() not in parsers:
        raise InputError(path, f"a trajectory ({', '.join(TRAJECTORY_SUFFIXES)})", f"a file ending in {path.suffix!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "a trajectory file", "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, "a readable trajectory file", str(error)) from None
    rows = parsers[path.suffix.lower()](path, text, rig_from_cam or {})
    if not rows:
        raise InputError(path, "at least one pose", "none")
    times_us = np.array([time_us for time_us, _ in rows], np.int64)
    backwards = np.flatnonzero(np.diff(times_us) <= 0)
    if len(backwards):
        i = int(backwards[0])
        raise InputError(
            path, "strictly increasing times", f"{times_us[i]} us then {times_us[i + 1]} us (pose {i + 1})"
        )
    return Trajectory(times_us, np.stack([pose for _, pose in rows]))


def _tum(path: Path, text: str, rig_from_cam: Mapping[str, Matrix]) -> list[Row]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if words:
            if len(words) != 8:
                raise InputError(path, "8 numbers: time_s x y z qx qy qz qw", f"{len(words)} on line {number}")
            rows.append(_from_numbers(path, f"line {number}", words[0], 1e6, words[1:4], words[4:]))
    return rows


def _csv(path: Path, text: str, rig_from_cam: Mapping[str, Matrix]) -> list[Row]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    names = [n.strip() for n in reader.fieldnames or []]
    reader.fieldnames = names
    time_name = next((n for n in ("time_us", "time_s") if n in names), "")
    turn = ("qx", "qy", "qz", "qw") if "qw" in names else ("yaw_deg",)
    missing = [n for n in ("x", "y", "z", *turn) if n not in names] + ([] if time_name else ["time_s"])
    if missing:
        raise InputError(
            path, "columns time_s (or time_us), x, y, z and qx, qy, qz, qw (or yaw_deg)", f"no {missing[0]}"
        )
    rows = []
    for number, row in enumerate(reader, 2):
        if any(row[n] is None for n in (time_name, "x", "y", "z", *turn)):
            raise InputError(path, f"{len(names)} columns", f"fewer on line {number}")
        scale = 1.0 if time_name == "time_us" else 1e6
        xyz = [row[n] for n in ("x", "y", "z")]
        rows.append(_from_numbers(path, f"line {number}", row[time_name], scale, xyz, [row[n] for n in turn]))
    return rows


def _jsonl(path: Path, text: str, rig_from_cam: Mapping[str, Matrix]) -> list[Row]:
    items = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            items.append((f"line {number}", _loads(path, line, f"line {number}")))
    return _from_objects(path, items, rig_from_cam)


def _json(path: Path, text: str, rig_from_cam: Mapping[str, Matrix]) -> list[Row]:
    data = _loads(path, text, "the file")
    if (
        isinstance(data, dict)
        and isinstance(data.get("times_us"), list)
        and isinstance(data.get("world_from_rig"), list)
    ):
        times, poses = data["times_us"], data["world_from_rig"]
        if len(times) != len(poses):
            raise InputError(path, "as many times as poses", f"{len(times)} times and {len(poses)} poses")
        data = [{"time_us": t, "world_from_rig": p} for t, p in zip(times, poses, strict=True)]
    if not isinstance(data, list):
        raise InputError(path, 'a list of poses, or {"times_us": [...], "world_from_rig": [...]}', type(data).__name__)
    return _from_objects(path, [(f"pose {i}", item) for i, item in enumerate(data)], rig_from_cam)


def _from_objects(path: Path, items: Iterable[tuple[str, Any]], rig_from_cam: Mapping[str, Matrix]) -> list[Row]:
    rows = []
    for where, item in items:
        if not isinstance(item, dict) or not ({"time_us", "time_s"} & item.keys()):
            raise InputError(path, "objects with time_us and world_from_rig (or world_from_cam)", f"none in {where}")
        time_us = _number(path, where, item["time_us"] if "time_us" in item else item["time_s"])
        time_us = round(time_us if "time_us" in item else time_us * 1e6)
        key = "world_from_rig" if "world_from_rig" in item else "world_from_cam"
        try:
            pose = np.asarray(item.get(key), np.float64)
        except (TypeError, ValueError):
            raise InputError(path, f"{key} as 4x4 numbers", f"something else in {where}") from None
        pose = _rigid(path, where, pose)
        if key == "world_from_cam":
            camera = str(item.get("camera"))
            if camera not in rig_from_cam:
                known = ", ".join(rig_from_cam) or "no camera at all"
                raise InputError(
                    path, f"camera poses of a camera of the rig ({known})", f"camera {camera!r} in {where}"
                )
            pose = np.matmul(pose, se3.inverse(rig_from_cam[camera]))
        rows.append((time_us, pose))
    return rows


def _from_numbers(path: Path, where: str, time: str, time_scale: float, xyz: list[str], turn: list[str]) -> Row:
    """Turn text into a row; `turn` is qx qy qz qw or one yaw in degrees."""
    time_us = round(_number(path, where, time) * time_scale)
    position = [_number(path, where, v) for v in xyz]
    angles = [_number(path, where, v) for v in turn]
    if len(angles) == 1:
        return time_us, se3.translation(position) @ se3.rotation_z(math.radians(angles[0]))
    norm = math.hypot(*angles)
    if abs(norm - 1.0) > 1e-2:
        raise InputError(path, "unit quaternions (qx qy qz qw)", f"one of norm {norm:.3g} ({where})")
    return time_us, se3.from_quat([angles[3], *angles[:3]], position)


def _rigid(path: Path, where: str, pose: Matrix) -> Matrix:
    problem = se3.rigid_problem(pose)
    if problem is not None:
        raise InputError(path, "rigid 4x4 poses", f"{problem} ({where})")
    return se3.orthonormalized(pose)


def _number(path: Path, where: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(path, "a number", f"{value!r} ({where})") from None
    if not math.isfinite(number):
        raise InputError(path, "finite numbers", f"{value} ({where})")
    return number


def _loads(path: Path, text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(path, "JSON", f"{error.msg} in {where}, column {error.colno}") from None
