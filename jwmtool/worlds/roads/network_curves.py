"""Smooth lines for roads and turns: rounded polygons, fillets, gentle blends. Plain geometry on [N, 2] points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.shapes.path import Path

Floats = NDArray[np.float64]

_ARC_STEP_M = 0.25
STRAIGHT_RAD = 0.35  # turns below this are blended, not filleted: their lines hardly meet


def left_of(direction: Floats) -> Floats:
    """[..., 2] turned a quarter to the left."""
    return np.stack([-direction[..., 1], direction[..., 0]], -1)


def rounded(vertices: Floats, radius_m: ArrayLike, tangent_m: ArrayLike = np.inf, closed: bool = False) -> Floats:
    """A polygon line with circular corners, densely sampled.

    Args:
        vertices: [N, 2]; an open line keeps its first and last.
        radius_m: [N] or one; wished radius of each corner, smaller where the sides are short.
        tangent_m: [N] or one; the most of a side's length that a corner may take.
        closed: the line goes on from the last vertex to the first.

    Returns:
        [P, 2], about 0.25 m apart on arcs; straight parts have only their ends.
    """
    n = len(vertices)
    radius, limit = np.broadcast_to(radius_m, n), np.broadcast_to(tangent_m, n)
    points: list[Floats] = [] if closed else [vertices[:1]]
    for i in range(n) if closed else range(1, n - 1):
        before, here, after = vertices[i - 1], vertices[i], vertices[(i + 1) % n]
        a, b = here - before, after - here
        length_a, length_b = math.hypot(*a), math.hypot(*b)
        u, v = a / length_a, b / length_b
        turn = math.atan2(u[0] * v[1] - u[1] * v[0], float(u @ v))
        if abs(turn) < 1e-6:
            points.append(here[None])
            continue
        # Half a side each, all of it where the line begins or ends.
        room_a = length_a * (0.5 if closed or i > 1 else 0.98)
        room_b = length_b * (0.5 if closed or i < n - 2 else 0.98)
        tangent = min(radius[i] * math.tan(abs(turn) / 2.0), room_a, room_b, limit[i])
        points.append(arc(here - tangent * u, u, turn, tangent / math.tan(abs(turn) / 2.0)))
    if not closed:
        points.append(vertices[-1:])
    return np.concatenate(points)


def arc(start: Floats, direction: Floats, turn_rad: float, radius_m: float) -> Floats:
    """[P, 2] along a circular arc from `start` in `direction` [2] (unit), turning left for positive angles."""
    count = max(2, math.ceil(abs(turn_rad) * radius_m / _ARC_STEP_M) + 1)
    angle = np.linspace(0.0, abs(turn_rad), count)[:, None]
    sideways = math.copysign(1.0, turn_rad) * left_of(direction)
    return start + radius_m * (np.sin(angle) * direction + (1.0 - np.cos(angle)) * sideways)


def blend(start: Floats, direction: Floats, end: Floats, end_direction: Floats, count: int) -> tuple[Floats, Floats]:
    """A cubic from one pose to another: points [count, 2] and unit directions [count, 2]."""
    handle = math.hypot(*(end - start)) / 3.0
    p = np.stack([start, start + handle * direction, end - handle * end_direction, end])
    t = np.linspace(0.0, 1.0, count)[:, None]
    points = (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]
    slope = (1 - t) ** 2 * (p[1] - p[0]) + 2 * t * (1 - t) * (p[2] - p[1]) + t**2 * (p[3] - p[2])
    return points, slope / np.linalg.norm(slope, axis=1, keepdims=True)


def meet(start: Floats, direction: Floats, end: Floats, end_direction: Floats) -> tuple[float, float]:
    """Where two lines cross: distance ahead of `start`, and back from `end` against its direction."""
    cross = direction[0] * end_direction[1] - direction[1] * end_direction[0]
    gap = end - start
    ahead = (gap[0] * end_direction[1] - gap[1] * end_direction[0]) / cross
    back = (direction[0] * gap[1] - direction[1] * gap[0]) / cross
    return float(ahead), float(back)


def turn_between(start: Floats, direction: Floats, end: Floats, end_direction: Floats, widest_m: float) -> Floats:
    """A drivable way from one pose to another: straight, an arc no wider than `widest_m`, straight; else a blend."""
    turn = math.atan2(
        direction[0] * end_direction[1] - direction[1] * end_direction[0], float(direction @ end_direction)
    )
    if abs(turn) > STRAIGHT_RAD:
        ahead, back = meet(start, direction, end, end_direction)
        if ahead > 0.0 and back > 0.0:
            tangent = min(ahead, back, widest_m * math.tan(abs(turn) / 2.0))
            radius = tangent / math.tan(abs(turn) / 2.0)
            bend = arc(start + (ahead - tangent) * direction, direction, turn, radius)
            return np.concatenate([start[None], bend, end[None]])
    return blend(start, direction, end, end_direction, 40)[0]


def even(points: Floats, step_m: float, smooth_m: float, closed: bool = False) -> Path:
    """Points evenly spaced by about `step_m`, corners eased over `smooth_m`: curvature then grows gradually.

    Straight parts stay where they are; so do the ends of an open line.
    """
    keep = np.concatenate([[True], np.hypot(*np.diff(points, axis=0).T) > 1e-7])
    path = Path(points[keep], closed).resampled(step_m)
    reach = round(2.0 * smooth_m / step_m)
    if reach < 1:
        return path
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets * step_m / smooth_m) ** 2)
    weights /= weights.sum()
    p = path.points
    if closed:
        padded = np.concatenate([p[-reach:], p, p[:reach]])
    else:
        # Odd reflection: an end stays fixed and a straight line straight.
        padded = np.concatenate([2 * p[0] - p[reach:0:-1], p, 2 * p[-1] - p[-2 : -reach - 2 : -1]])
    eased = np.stack([np.convolve(padded[:, k], weights, "valid") for k in range(2)], 1)
    return Path(eased, closed)
