"""Sheets of triangles laid over the terrain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.mesh import Mesh
from jwmtool.worlds.shapes.surfaces import Surface

Floats = NDArray[np.float64]


def sheet(
    xy: Floats,  # [R, C, 2] metres; columns lead to the left of rows, then the sheet faces up
    lift: Floats,  # [R, C] metres above the terrain
    texture: Floats,  # [R, C, 2] metres
    surface: Surface,
    terrain: Terrain,
    facing: Floats | None = None,  # [R, 2] unit; which way an inclined sheet looks
    steepness: float | None = None,  # its slope; None with `facing`: it is upright
) -> Mesh:
    """A sheet at a height above the terrain, shaded with the terrain's own normals; empty triangles are left out."""
    rows, columns = lift.shape
    z = terrain.height(xy[..., 0], xy[..., 1]) + lift
    vertices = np.concatenate([xy, z[..., None]], -1).reshape(-1, 3)
    slope = terrain.gradient(xy[..., 0], xy[..., 1])
    normals = np.concatenate([-slope, np.ones((rows, columns, 1))], -1)
    if facing is not None:
        outward = np.concatenate([facing, np.zeros((rows, 1))], 1)[:, None]
        normals = normals + steepness * outward if steepness is not None else np.broadcast_to(outward, normals.shape)
    normals = (normals / np.linalg.norm(normals, axis=-1, keepdims=True)).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    faces = faces[area > 1e-9].astype(np.int32)
    full = np.concatenate([texture.reshape(-1, 2), np.zeros((rows * columns, 1))], 1)
    return Mesh(vertices, faces, full, normals, np.zeros(len(faces), np.int32), surface.row()[None])
