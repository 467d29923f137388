"""A rock face beside the road, from which rocks fall."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.mesh import Mesh, grid, merge
from jwmtool.worlds.shapes.surfaces import Material, Surface

CLIFF_FACE_M = 2.2  # how far its rim stands back from its foot
_ROOT_M = 1.2  # below the ground
_STEP_M = 1.1


def cliff(thing: Thing) -> Mesh:
    """A face of rock that looks to +y, with grass on top; it falls off gently to the other sides.

    The rim is as high as the thing; style `rock`, `rock2`, `grass` its colors.
    """
    length, depth, height = thing.size
    draw = Stream(thing.seed, "cliff")
    columns = max(8, round(length / _STEP_M))
    x = np.linspace(-0.5 * length, 0.5 * length, columns + 1)
    ends = np.clip((0.5 * length - np.abs(x)) / 6.0, 0.0, 1.0)
    rim = height * ends * ends * (3.0 - 2.0 * ends)
    foot, back = 0.5 * depth, -0.5 * depth
    # From the back (gentle) over the top to the rim, then down the face: (y, share of the height).
    top = [(back, -1.0), (back + 0.3 * depth, 0.55), (back + 0.6 * depth, 0.9), (foot - CLIFF_FACE_M, 1.0)]
    face = [(foot - CLIFF_FACE_M * (1.0 - k / 6), 1.0 - k / 6) for k in range(7)] + [(foot, -1.0)]

    def sheet(rows: list[tuple[float, float]], jag_m: float) -> np.ndarray:
        points = np.zeros((len(x), len(rows), 3))
        for j, (y, share) in enumerate(rows):
            edge = share < 0
            z = np.full(len(x), -_ROOT_M) if edge else share * rim
            inner = 0.0 if edge or share in (1.0, 0.0) else 1.0
            bump = np.array([draw.uniform(-1.0, 1.0) for _ in x]) * jag_m * inner
            points[:, j, 0] = x + 0.3 * bump
            points[:, j, 1] = y + bump * ends - (0.0 if edge or share == 1.0 else 0.3 * jag_m * inner)
            points[:, j, 2] = z + 0.3 * bump * ends
        return points

    rock = Surface(Material.ROCK, thing.style["rock"], thing.style["rock2"], thing.seed % 997, (0.8,))
    grass = Surface(Material.GRASS, thing.style["grass"], tuple(0.7 * c for c in thing.style["grass"]), p=(4.0,))
    upper, lower = sheet(top, 0.35), sheet(face, 0.45)
    slant = math.hypot(CLIFF_FACE_M, height)
    texture = lower.copy()
    texture[..., 1] = np.linspace(0.0, slant, len(face))
    return merge([grid(upper, upper, grass), grid(lower, texture, rock)])
