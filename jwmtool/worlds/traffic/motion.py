"""How things move along a line: starting, stopping, turning, tumbling; and states [P, 6] from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.roads.network import Network
from jwmtool.worlds.roads.terrain import Terrain, state_on_ground, world_from_state
from jwmtool.worlds.shapes.path import Path

Floats = NDArray[np.float64]

_SMOOTH = 9  # samples over which kerbs are climbed


def run(times_s: Floats, start_s: float, distance_m: float, speed_mps: float, ease_mps2: float) -> Floats:
    """[P] metres covered at times: speeds up, runs, slows down, stands after `distance_m` (at least 0)."""
    if distance_m <= 0:
        return np.zeros_like(times_s)
    top = min(speed_mps, (distance_m * ease_mps2) ** 0.5)
    ramp = top / ease_mps2
    total = distance_m / top + ramp
    t = np.clip(times_s - start_s, 0.0, total)
    end = total - t
    return np.where(
        t < ramp,
        0.5 * ease_mps2 * t * t,
        np.where(end < ramp, distance_m - 0.5 * ease_mps2 * end * end, 0.5 * top * ramp + top * (t - ramp)),
    )


def run_end_s(start_s: float, distance_m: float, speed_mps: float, ease_mps2: float) -> float:
    """When `run` stands again."""
    top = min(speed_mps, (distance_m * ease_mps2) ** 0.5)
    return start_s + distance_m / top + top / ease_mps2 if distance_m > 0 else start_s


def smooth_step(part: Floats) -> Floats:
    """0 to 1 with no speed at both ends."""
    p = np.clip(part, 0.0, 1.0)
    return p * p * (3.0 - 2.0 * p)


def settled_phase(distance_m: Floats, stride: float) -> Floats:
    """[P] cycles of the gait, stretched a little so that whoever stands at the end has its feet together."""
    cycles = distance_m / stride
    last = float(cycles[-1])
    return cycles * (round(2.0 * last) / (2.0 * last)) if last > 1.0 else cycles


def grounded(
    network: Network, terrain: Terrain, x: Floats, y: Floats, yaw: Floats, width_m: float | None = None
) -> Floats:
    """States [P, 6] on what is there: road, sidewalk or grass; kerbs are climbed smoothly.

    `width_m`: of a vehicle whose left and right wheels may stand on different levels.
    """
    if width_m is None:
        lift = _smoothed(network.lift_m(x, y))
        return state_on_ground(terrain, x, y, yaw, lift)
    half = 0.4 * width_m
    left = _smoothed(network.lift_m(x - half * np.sin(yaw), y + half * np.cos(yaw)))
    right = _smoothed(network.lift_m(x + half * np.sin(yaw), y - half * np.cos(yaw)))
    states = state_on_ground(terrain, x, y, yaw, 0.5 * (left + right))
    states[:, 5] += np.arctan((left - right) / (2.0 * half))
    return states


def _smoothed(values: Floats) -> Floats:
    values = np.atleast_1d(values)
    if len(values) < _SMOOTH:
        return values
    padded = np.pad(values, _SMOOTH // 2, mode="edge")
    return np.convolve(padded, np.full(_SMOOTH, 1.0 / _SMOOTH), mode="valid")


def vehicle_states(
    terrain: Terrain, path: Path, s: Floats, d: Floats, v: Floats, length_m: float, step_s: float
) -> Floats:
    """States [P, 6] on the road: both axles are on the way, so long vehicles cut corners.

    Args:
        s, d, v: [P] stations of its middle, offsets to the left, speeds (m/s).
        step_s: time between samples.
    """
    front, rear = path.beside(s + 0.3 * length_m, d), path.beside(s - 0.3 * length_m, d)
    yaw = np.unwrap(np.arctan2(front[:, 1] - rear[:, 1], front[:, 0] - rear[:, 0]))
    if len(d) > 1 and np.ptp(d) > 0:
        yaw = yaw + np.clip(np.arctan2(np.gradient(d, step_s), np.maximum(v, 3.0)), -0.5, 0.5)
    middle = 0.5 * (front + rear)
    return state_on_ground(terrain, middle[:, 0], middle[:, 1], yaw)


def tumbling(ground: Floats, size: tuple[float, float, float], up_m: Floats, pitch: Floats) -> Floats:
    """States [P, 6] of a body that turns about its middle by `pitch` (nose down), `up_m` above the states `ground`."""
    half_l, half_h = 0.5 * size[0], 0.5 * size[2]
    reach = np.sqrt((half_l * np.sin(pitch)) ** 2 + (half_h * np.cos(pitch)) ** 2)
    states = ground.copy()
    states[:, 4] += pitch
    middle = ground[:, :3] + np.stack([np.zeros_like(up_m), np.zeros_like(up_m), up_m + reach], -1)
    states[:, :3] = middle - half_h * world_from_state(states)[:, :3, 2]
    return states
