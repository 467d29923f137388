"""Semi-global aggregation of a cost volume along eight paths (Hirschmueller, PAMI 2008), as Numba kernels."""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def aggregate(volume: Floats, guide: Floats, pool: Executor, *, step: float, jump: float, edge: float) -> Floats:
    """Sum the costs [H, W, D] along eight paths; `guide` [H, W] in [0, 1] weakens the jump penalty at edges.

    Args:
        step: penalty for a change by one label (slanted surfaces); by two labels, twice that.
        jump: penalty for any larger change, on even ground.
        edge: intensity difference at which the jump penalty has halved.

    Returns:
        [H, W, D] mean over the paths, same unit as `volume`.
    """
    totals = [np.zeros_like(volume), np.zeros_like(volume)]
    args = (np.float32(step), np.float32(jump), np.float32(edge))
    down = pool.submit(_sweep, volume, guide, *args, False, totals[0])
    up = pool.submit(_sweep, volume, guide, *args, True, totals[1])
    down.result()
    up.result()
    totals[0] += totals[1]
    totals[0] *= np.float32(1.0 / 8.0)
    return totals[0]


@njit(nogil=True, cache=True, fastmath=True)
def _path_step(cost, previous, step, jump, current, total):  # type: ignore[no-untyped-def]
    """L(p, d) = C(p, d) + min over labels of L(p - r, .) with penalties, less its minimum. Arrays are padded by 2."""
    labels = cost.shape[0]
    least = previous[2]
    for d in range(1, labels):
        least = min(least, previous[d + 2])
    ceiling = least + jump
    twice = step + step
    for d in range(labels):
        best = min(previous[d + 2], ceiling)
        best = min(best, min(previous[d + 1], previous[d + 3]) + step)
        best = min(best, min(previous[d], previous[d + 4]) + twice)
        value = cost[d] + best - least
        current[d + 2] = value
        total[d] += value


@njit(nogil=True, cache=True, fastmath=True)
def _sweep(volume, guide, step, jump, edge, flipped, total):  # type: ignore[no-untyped-def]
    """Four paths that one pass over the picture serves: along the row, and from three pixels of the row before."""
    height, width, labels = volume.shape
    big = np.float32(1e9)
    before = np.full((3, width, labels + 4), big, np.float32)
    now = np.full((3, width, labels + 4), big, np.float32)
    row = np.full((2, labels + 4), big, np.float32)
    zero = np.full(labels + 4, big, np.float32)
    zero[2 : labels + 2] = 0.0
    sign = -1 if flipped else 1
    for i in range(height):
        y = height - 1 - i if flipped else i
        for j in range(width):
            x = width - 1 - j if flipped else j
            cost, here = volume[y, x], guide[y, x]
            if j == 0:
                _path_step(cost, zero, step, jump, row[j % 2], total[y, x])
            else:
                soft = jump / (np.float32(1.0) + abs(here - guide[y, x - sign]) / edge)
                _path_step(cost, row[(j - 1) % 2], step, max(soft, step + step), row[j % 2], total[y, x])
            for k in range(3):
                from_x = x + k - 1
                if i == 0 or from_x < 0 or from_x >= width:
                    _path_step(cost, zero, step, jump, now[k, x], total[y, x])
                else:
                    soft = jump / (np.float32(1.0) + abs(here - guide[y - sign, from_x]) / edge)
                    _path_step(cost, before[k, from_x], step, max(soft, step + step), now[k, x], total[y, x])
        before, now = now, before


@njit(nogil=True, cache=True, fastmath=True)
def best_label(volume, row0, row1, exclude, label, cost, second):  # type: ignore[no-untyped-def]
    """Winner per pixel with parabola interpolation, its cost, and the best cost more than `exclude` labels away."""
    _, width, labels = volume.shape
    for y in range(row0, row1):
        for x in range(width):
            values = volume[y, x]
            best = 0
            for d in range(1, labels):
                if values[d] < values[best]:
                    best = d
            rival = np.float32(1e9)
            for d in range(labels):
                if abs(d - best) > exclude:
                    rival = min(rival, values[d])
            offset = np.float32(0.0)
            if 0 < best < labels - 1:
                left, middle, right = values[best - 1], values[best], values[best + 1]
                bend = left - 2 * middle + right
                if bend > 1e-9:
                    offset = min(max(np.float32(0.5) * (left - right) / bend, np.float32(-0.5)), np.float32(0.5))
            label[y, x] = best + offset
            cost[y, x] = values[best]
            second[y, x] = rival if math.isfinite(rival) else values[best]
