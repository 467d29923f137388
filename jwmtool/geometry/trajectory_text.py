"""Paths told in words ("straight 20m, left 90deg radius 8m, stop 2s") and offsets ("y=2, yaw=10deg")."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.errors import UsageError
from jwmtool.geometry import se3
from jwmtool.geometry.trajectory import Offset, Trajectory, arc, sample_times_us

DEFAULT_SPEED_MPS = 8.0
DEFAULT_RADIUS_M = 10.0
MAX_DURATION_S = 3600.0
GRAMMAR = (
    "comma-separated steps: 'straight 20m', 'left 90deg radius 8m', 'right 45deg', 'stop 2s', 'speed 30km/h', "
    "'reverse 5m', 'reverse', 'forward'"
)

_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-z/°]*)")
_UNITS: dict[str, dict[str, float]] = {
    "length": {"": 1.0, "m": 1.0, "km": 1000.0, "cm": 0.01},
    "angle": {"": math.pi / 180, "deg": math.pi / 180, "°": math.pi / 180, "rad": 1.0},
    "time": {"": 1.0, "s": 1.0, "ms": 1e-3, "min": 60.0},
    "speed": {"": 1.0, "m/s": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6},
}


@dataclass(frozen=True)
class Segment:
    """Constant motion for a while: signed speed (negative: reverse) and yaw rate (left positive)."""

    duration_s: float
    speed_mps: float = 0.0
    yaw_rate_radps: float = 0.0


def parse_trajectory_text(text: str, speed_mps: float = DEFAULT_SPEED_MPS) -> list[Segment]:
    """Turn words into segments.

    Args:
        text: comma-separated steps (see GRAMMAR). Plain numbers are metres, degrees, seconds, metres per second.
        speed_mps: until the text names another.

    Raises:
        UsageError: a step that is not understood, a quantity out of range, or nothing to drive.
    """
    segments: list[Segment] = []
    gear = 1.0
    for step in (s.strip().lower() for s in re.split(r"[,;\n]", text)):
        words = step.split(None, 1)
        if not words:
            continue
        if words[0] == "speed":
            speed_mps = _quantity(step, _rest(words), "speed")
        elif step in ("reverse", "forward"):
            gear = -1.0 if step == "reverse" else 1.0
        elif words[0] in ("reverse", "forward"):
            rest = _rest(words)
            rest = rest if rest.split()[0] in ("straight", "left", "right") else f"straight {rest}"
            segments.append(_drive(step, rest, speed_mps * (-1.0 if words[0] == "reverse" else 1.0)))
        elif words[0] == "stop":
            segments.append(Segment(_quantity(step, _rest(words), "time")))
        else:
            segments.append(_drive(step, step, speed_mps * gear))
    if not segments:
        raise UsageError(f"trajectory {text!r}: expected {GRAMMAR}, found nothing to drive")
    total_s = sum(s.duration_s for s in segments)
    if total_s > MAX_DURATION_S:
        raise UsageError(f"trajectory {text!r}: expected at most {MAX_DURATION_S:g} s, found {total_s:.0f} s")
    return segments


def trace_segments(
    segments: list[Segment],
    world_from_start: NDArray[np.float64],  # [4, 4] rig pose; the path stays in its xy plane
    rate_hz: float,
    start_us: int = 0,
) -> Trajectory:
    """Sample the path of `segments` at `rate_hz`, beginning at `world_from_start` and `start_us`."""
    ends_s = np.cumsum([s.duration_s for s in segments])
    corners = [np.asarray(world_from_start, np.float64)]
    for segment in segments:
        corners.append(corners[-1] @ arc(segment.speed_mps, segment.yaw_rate_radps, segment.duration_s))
    times_us = sample_times_us(float(ends_s[-1]), rate_hz)
    poses = []
    for time_s in times_us * 1e-6:
        i = min(int(np.searchsorted(ends_s, time_s)), len(segments) - 1)
        since_s = time_s - (ends_s[i] - segments[i].duration_s)
        poses.append(corners[i] @ arc(segments[i].speed_mps, segments[i].yaw_rate_radps, since_s))
    return Trajectory(start_us + times_us, np.stack(poses))


def parse_offset(text: str) -> Offset:
    """Turn "y=2", "x=1,yaw=10deg" or "z=0.5m" into an Offset (plain numbers are metres and degrees).

    Raises:
        UsageError: an unknown or repeated key, or a number that is none.
    """
    kinds = {"x": ("x_m", "length"), "y": ("y_m", "length"), "z": ("z_m", "length"), "yaw": ("yaw_rad", "angle")}
    values: dict[str, float] = {}
    for part in (p.strip().lower() for p in text.split(",")):
        key, equals, value = (p.strip() for p in part.partition("="))
        if key not in kinds or not equals:
            raise UsageError(f"offset {text!r}: expected x=, y=, z= (metres) or yaw= (degrees), found {part!r}")
        name, kind = kinds[key]
        if name in values:
            raise UsageError(f"offset {text!r}: {key} is given twice")
        values[name] = _quantity(text, value, kind, signed=True)
    return Offset(**values)


def flattened(world_from_rig: NDArray[np.float64], up: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The pose with its z axis turned to `up` [3] (the world's z if None): a start that drives level."""
    z = np.array([0.0, 0.0, 1.0]) if up is None else np.asarray(up, np.float64) / np.linalg.norm(up)
    y = np.cross(z, world_from_rig[:3, 0])
    y /= np.linalg.norm(y)
    pose = se3.translation(world_from_rig[:3, 3])
    pose[:3, :3] = np.stack([np.cross(y, z), y, z], axis=1)
    return pose


def _drive(step: str, words: str, speed_mps: float) -> Segment:
    if speed_mps == 0.0:
        raise UsageError(f"trajectory step {step!r}: expected a speed above 0 to drive with, found 0 m/s")
    verb, _, rest = words.partition(" ")
    if verb == "straight":
        return Segment(_quantity(step, rest, "length") / abs(speed_mps), speed_mps)
    if verb not in ("left", "right"):
        raise UsageError(f"trajectory step {step!r}: expected {GRAMMAR}")
    angle_text, radius_word, radius_text = rest.partition("radius")
    angle_rad = _quantity(step, angle_text, "angle")
    radius_m = _quantity(step, radius_text, "length") if radius_word else DEFAULT_RADIUS_M
    if radius_m < 0.1 or angle_rad > 4 * math.pi + 1e-9:
        raise UsageError(
            f"trajectory step {step!r}: expected at most 720deg with a radius of at least 0.1 m, "
            f"found {math.degrees(angle_rad):g}deg, {radius_m:g} m"
        )
    duration_s = angle_rad * radius_m / abs(speed_mps)
    # In reverse with the wheel to the left, the nose swings to the right.
    turn = (1.0 if verb == "left" else -1.0) * math.copysign(1.0, speed_mps)
    return Segment(duration_s, speed_mps, turn * angle_rad / duration_s)


def _rest(words: list[str]) -> str:
    return words[1].strip() if len(words) > 1 else ""


def _quantity(where: str, text: str, kind: str, signed: bool = False) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    units = _UNITS[kind]
    if match is None or match[2] not in units:
        shown = ", ".join(u for u in units if u)
        raise UsageError(f"{where!r}: expected a {kind} such as a number with {shown}, found {text.strip()!r}")
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value) or (not signed and value <= 0.0):
        raise UsageError(f"{where!r}: expected a {kind} above 0, found {text.strip()!r}")
    return value
