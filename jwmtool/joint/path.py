"""Where the rig goes while a video is made: a recorded path, one that is told, or one that actions drive."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jwmtool import console
from jwmtool.artifacts.clip import ClipCamera
from jwmtool.artifacts.trajectory_io import TRAJECTORY_SUFFIXES
from jwmtool.errors import InputError, UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Trajectory, arc, sample_times_us
from jwmtool.geometry.trajectory_text import DEFAULT_SPEED_MPS, flattened
from jwmtool.rendering.paths import resolve_trajectory

MAX_SPEED_MPS, MAX_TURN_RADPS = 60.0, 3.0  # beyond them a path jumps
_WORDS_HZ = 50.0  # at which words become poses: a step may be shorter than a frame
Floats = NDArray[np.float64]


def drive_path(
    num_frames: int,
    rate_hz: float,
    recorded: Trajectory | None = None,
    trajectory: str | None = None,  # a file, or words
    actions: Floats | None = None,  # [N, 2] speed (m/s) and yaw rate (rad/s) from each frame to the next
    cameras: Mapping[str, ClipCamera] | None = None,  # the rig, to read paths of cameras
) -> Trajectory:
    """A pose for each frame; a path that ends too soon goes on with constant speed and curvature.

    Actions and words start on the recorded path; without one everything starts at the origin.

    Raises:
        UsageError: both a trajectory and actions; words that are not understood; a path that jumps.
        InputError: a bad file, or one whose path jumps.
    """
    if actions is not None and trajectory is not None:
        raise UsageError("--actions, --trajectory: expected one of them")
    sample_times_us(0.0, rate_hz)  # a bad rate is told before anything else
    straight = np.array([[DEFAULT_SPEED_MPS, 0.0]])
    if actions is not None:
        start = np.eye(4) if recorded is None else flattened(recorded.world_from_rig[0])
        return driven(actions, num_frames, rate_hz, start, 0 if recorded is None else int(recorded.times_us[0]))
    if trajectory is None and recorded is None:
        return driven(straight, num_frames, rate_hz)
    file = trajectory is not None and Path(trajectory).suffix.lower() in TRAJECTORY_SUFFIXES
    if trajectory is not None:
        begin = driven(straight, 2, rate_hz) if recorded is None and not file else recorded
        path = resolve_trajectory(trajectory, begin, dict(cameras or {}), None if file else max(rate_hz, _WORDS_HZ))
    elif recorded is not None:
        path = recorded
    end_us = int(path.times_us[0]) + round((num_frames - 1) * 1e6 / rate_hz)
    problem = jump(path, end_us)
    if problem and file:
        raise InputError(str(trajectory), _WITHOUT_JUMPS, problem)
    if problem:
        raise UsageError(
            f"{'--trajectory' if trajectory else 'the recorded path'}: expected {_WITHOUT_JUMPS}, {problem}"
        )
    return _of_length(path, num_frames, rate_hz, told=trajectory is not None)


def driven(
    actions: Floats,  # [N, 2], N >= 1; the last one goes on
    num_frames: int,
    rate_hz: float,
    world_from_start: Floats | None = None,  # [4, 4]; None: the origin
    start_us: int = 0,
) -> Trajectory:
    """The path of a rig at the speed (m/s) and yaw rate (rad/s) that each frame tells until the next."""
    poses = [np.eye(4) if world_from_start is None else world_from_start]
    for k in range(num_frames - 1):
        speed_mps, yaw_rate_radps = actions[min(k, len(actions) - 1)]
        poses.append(poses[-1] @ arc(speed_mps, yaw_rate_radps, 1.0 / rate_hz))
    times_us = start_us + np.round(np.arange(num_frames) * (1e6 / rate_hz)).astype(np.int64)
    return Trajectory(times_us, np.stack(poses))


def actions_of(path: Trajectory) -> Floats:  # [F, 2]; [1, 2] of zeros for a lone pose
    """What `driven` takes to make a path in the plane: from each pose to the next; the last as the one before it."""
    rows = [Trajectory(path.times_us[k : k + 2], path.world_from_rig[k : k + 2]) for k in range(len(path) - 1)]
    moves = [step.motion_at_end() for step in rows] or [(0.0, 0.0)]
    return np.array([*moves, moves[-1]] if len(path) > 1 else moves)


def parse_actions(lines: Iterable[str], where: str = "--actions") -> Floats:  # [N, 2]
    """Lines `speed_mps yaw_rate_radps`, objects with these names, or lines of a video's `.jsonl`.

    Raises:
        UsageError: no line, one that is neither, or one that no car can drive.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip() if not line.lstrip().startswith("{") else line.strip()
        if not text:
            continue
        row = _numbers(text)
        if row is None:
            raise UsageError(
                f"{where}: expected lines of speed (m/s) and yaw rate (rad/s), found {text!r} (line {number})"
            )
        if abs(row[0]) > MAX_SPEED_MPS or abs(row[1]) > MAX_TURN_RADPS:
            limits = f"at most {MAX_SPEED_MPS:g} m/s and {MAX_TURN_RADPS:g} rad/s"
            raise UsageError(f"{where}: expected {limits}, found {row[0]:g} {row[1]:g} (line {number})")
        rows.append(row)
    if not rows:
        raise UsageError(f"{where}: expected lines of speed (m/s) and yaw rate (rad/s), found none")
    return np.array(rows)


def jump(path: Trajectory, end_us: int) -> str | None:
    """Between which poses up to `end_us` a path moves or turns faster than any car; None where it does not."""
    if len(path) < 2:
        return None
    steps_s = np.diff(path.times_us) * 1e-6
    then_from_now = se3.inverse(path.world_from_rig[:-1]) @ path.world_from_rig[1:]
    speeds = np.linalg.norm(then_from_now[:, :3, 3], axis=1) / steps_s
    cosines = ((np.trace(then_from_now[:, :3, :3], axis1=1, axis2=2) - 1.0) / 2.0).clip(-1.0, 1.0)
    turns = np.arccos(cosines) / steps_s
    found = np.flatnonzero(((speeds > MAX_SPEED_MPS) | (turns > MAX_TURN_RADPS)) & (path.times_us[:-1] < end_us))
    if not len(found):
        return None
    k = int(found[0])
    return f"found {speeds[k]:.0f} m/s and {turns[k]:.1f} rad/s from pose {k} to {k + 1}"


_WITHOUT_JUMPS = f"a path without jumps (at most {MAX_SPEED_MPS:g} m/s and {MAX_TURN_RADPS:g} rad/s)"


def _of_length(path: Trajectory, num_frames: int, rate_hz: float, told: bool) -> Trajectory:
    times_us = path.times_us[0] + np.round(np.arange(num_frames) * (1e6 / rate_hz)).astype(np.int64)
    missing_s = float(times_us[-1] - path.times_us[-1]) * 1e-6
    available = len(sample_times_us(path.duration_s, rate_hz))
    if available < num_frames:
        console.notice(f"the path ends after {path.duration_s:.1f} s and goes on with constant speed and curvature")
        step_hz = max(rate_hz, min(path.rate_hz, _WORDS_HZ))
        path = path.extended(missing_s + 1.0 / step_hz, step_hz)
    elif told and available > num_frames:
        console.notice(f"the trajectory goes on; --frames {available} shows all of it")
    return Trajectory(times_us, path.at(times_us))


def _numbers(text: str) -> tuple[float, float] | None:
    try:
        if text.startswith("{"):
            row: Any = json.loads(text)
            values = row["action"] if row.get("action") is not None else [row["speed_mps"], row["yaw_rate_radps"]]
        else:
            values = text.replace(",", " ").split()
        speed_mps, yaw_rate_radps = (float(value) for value in values)
    except (ValueError, TypeError, KeyError):
        return None
    return (speed_mps, yaw_rate_radps) if math.isfinite(speed_mps + yaw_rate_radps) else None
