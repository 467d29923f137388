"""The land around the roads: a patchwork of fields or yards, fine near the ego's way and coarse towards the horizon."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.sheets import sheet
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.mesh import Mesh
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.shapes.surfaces import Material, Surface

Floats = NDArray[np.float64]

_CELL_M = 8.0
_FINE_M = 220.0  # around the ego's way; beyond, cells grow
_GROWTH = 1.3
_WIDEST_M = 90.0  # a cell; wider ones would miss the waves of the terrain
_FAR_M = 2200.0
_PATCH_M = {"city": (24.0, 60.0), "suburb": (40.0, 120.0), "country": (60.0, 220.0), "motorway": (90.0, 300.0)}


def land_meshes(
    kind: str,
    lands: Sequence[Surface],
    heading_rad: float,
    terrain: Terrain,
    stretch: Path,
    lift_m: float,
    stream: Stream,
) -> list[Mesh]:
    """Patches that together cover everything out to the haze, without gaps, `lift_m` above the terrain."""
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    world_from_land = np.array([[c, -s], [s, c]])
    low, high = (stretch.points @ world_from_land).min(0), (stretch.points @ world_from_land).max(0)
    xs, ys = (_axis(float(low[k]), float(high[k])) for k in range(2))
    meshes = []
    smallest, largest = _PATCH_M[kind]
    for j0, j1 in _runs(ys, smallest, largest, stream):
        for i0, i1 in _runs(xs, smallest, largest, stream):
            surface = stream.choice(lands)
            u, v = np.meshgrid(xs[i0 : i1 + 1], ys[j0 : j1 + 1], indexing="ij")
            flat = np.stack([u, v], -1)
            # Grass and yards go on over patches; rows of crops have their own direction.
            turn = stream.uniform(-0.2, 0.2) + (0.5 * math.pi if stream.chance(0.5) else 0.0)
            if surface.material != Material.FIELD:
                turn = 0.0
            cos, sin = math.cos(turn), math.sin(turn)
            texture = np.stack([cos * u + sin * v, cos * v - sin * u], -1)
            meshes.append(sheet(flat @ world_from_land.T, np.full(u.shape, lift_m), texture, surface, terrain))
    return meshes


def _axis(low_m: float, high_m: float) -> Floats:
    """Grid lines along one axis: even near the ego's way, wider and wider outside."""
    start, end = low_m - _FINE_M, high_m + _FINE_M
    inner = np.linspace(start, end, math.ceil((end - start) / _CELL_M) + 1)
    steps: list[float] = []
    reach = 0.0
    while reach < _FAR_M:
        steps.append(min(_CELL_M * _GROWTH ** (len(steps) + 1), _WIDEST_M))
        reach += steps[-1]
    outer = np.cumsum(steps)
    return np.concatenate([start - outer[::-1], inner, end + outer])


def _runs(lines: Floats, smallest_m: float, largest_m: float, stream: Stream) -> list[tuple[int, int]]:
    """Index ranges that share the cells out among patches of drawn sizes."""
    runs, first = [], 0
    while first < len(lines) - 1:
        # Far away only large patches can be told apart.
        far = (lines[first + 1] - lines[first]) / _CELL_M
        wish = lines[first] + stream.uniform(smallest_m, largest_m) * min(max(far, 1.0), 3.0)
        last = max(first + 1, min(int(np.searchsorted(lines, wish)), len(lines) - 1))
        runs.append((first, last))
        first = last
    return runs
