"""Rectangles on the ground: do they overlap?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def overlap(a: Floats, b: Floats, margin_m: float = 0.0) -> NDArray[np.bool_]:
    """True where rectangles overlap, by the separating axis theorem.

    Args:
        a: [..., 5] x, y, yaw, length, width; metres and radians.
        b: [..., 5], broadcast against `a`.
        margin_m: ask for this much air between them.
    """
    dx, dy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1]
    apart = np.zeros(np.broadcast(dx, dx).shape, bool)
    turn = b[..., 2] - a[..., 2]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    for one, other in ((a, b), (b, a)):
        cos, sin = np.cos(one[..., 2]), np.sin(one[..., 2])
        along, across = np.abs(cos * dx + sin * dy), np.abs(-sin * dx + cos * dy)
        apart |= along > 0.5 * (one[..., 3] + other[..., 3] * c + other[..., 4] * s) + margin_m
        apart |= across > 0.5 * (one[..., 4] + other[..., 3] * s + other[..., 4] * c) + margin_m
    return ~apart


class Footprints:
    """The ground taken so far; asks whether one more rectangle fits."""

    def __init__(self) -> None:
        self._rows = np.zeros((64, 5))
        self._radius = np.zeros(64)
        self._count = 0

    def fits(self, x: float, y: float, yaw: float, length_m: float, width_m: float, margin_m: float = 0.0) -> bool:
        """True if the rectangle overlaps nothing that was added."""
        rows = self._rows[: self._count]
        radius = 0.5 * float(np.hypot(length_m, width_m)) + margin_m
        near = np.hypot(rows[:, 0] - x, rows[:, 1] - y) < self._radius[: self._count] + radius
        new = np.array([x, y, yaw, length_m, width_m])
        return not bool(overlap(new, rows[near], margin_m).any())

    def add(self, x: float, y: float, yaw: float, length_m: float, width_m: float) -> None:
        """Take this ground."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
            self._radius = np.concatenate([self._radius, np.zeros_like(self._radius)])
        self._rows[self._count] = (x, y, yaw, length_m, width_m)
        self._radius[self._count] = 0.5 * np.hypot(length_m, width_m)
        self._count += 1
