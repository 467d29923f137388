"""Where rays hit: points, normals, texture coordinates, and how much of the texture a pixel covers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.worlds.light.raycast import Hits
from jwmtool.worlds.shapes.geometry import Geometry

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Surfels:
    """What R rays hit; rows of rays that hit nothing hold nothing of use.

    Attributes:
        point: [R, 3] metres, world.
        normal: [R, 3] interpolated, for shading, on the viewer's side.
        facet: [R, 3] the triangle's own normal, on the viewer's side.
        texture: [R, 3] texture coordinates in metres.
        extent: [R, 3] what a pixel covers of each of them.
        wide, narrow: [R] longest and shortest side of the pixel on the surface in metres.
        surface: [R] row of the material table; that of moving things follows that of static ones.
    """

    point: Floats
    normal: Floats
    facet: Floats
    texture: Floats
    extent: Floats
    wide: Floats
    narrow: Floats
    surface: NDArray[np.int32]

    @classmethod
    def empty(cls, count: int) -> Surfels:
        """Room for `count` rays."""
        a, b, c, d, e = (np.empty((count, 3)) for _ in range(5))
        return cls(a, b, c, d, e, np.empty(count), np.empty(count), np.zeros(count, np.int32))


def locate(
    out: Surfels,
    rows: NDArray[np.int64],
    geometry: Geometry,
    hits: Hits,
    origins: Floats,
    directions: Floats,
    travelled_m: Floats,
    pixel_angle: float,
    first_surface: int,
) -> None:
    """Fill `out` at `rows`.

    Args:
        origins, directions: [R, 3]; hits: of all R rays, where `rows` hit `geometry`.
        travelled_m: [R] length of the ray before its origin (mirrored rays).
        pixel_angle: width of a pixel at distance 1.
        first_surface: added to surface numbers.
    """
    g = geometry
    _locate(
        rows, g.vertices, g.faces, g.texture, g.normals, g.surface, hits.face, hits.t, hits.u, hits.v, origins,
        directions, travelled_m, pixel_angle, first_surface, out.point, out.normal, out.facet, out.texture, out.extent,
        out.wide, out.narrow, out.surface,
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _locate(  # type: ignore[no-untyped-def]
    rows, vertices, faces, texture, normals, surface, face, t, u, v, origins, directions, travelled_m, pixel_angle,
    first_surface, point, normal, facet, coordinates, extent, out_wide, out_narrow, out_surface,
):  # fmt: skip
    e1, e2, g, n, d, long, short = np.empty((7, 3))
    for row in rows:
        a, b, c = faces[face[row], 0], faces[face[row], 1], faces[face[row], 2]
        wv, ww = u[row], v[row]
        wu = 1.0 - wv - ww
        length = 0.0
        for k in range(3):
            d[k] = directions[row, k]
            length += d[k] * d[k]
            e1[k], e2[k] = vertices[b, k] - vertices[a, k], vertices[c, k] - vertices[a, k]
            n[k] = wu * normals[a, k] + wv * normals[b, k] + ww * normals[c, k]
            coordinates[row, k] = wu * texture[a, k] + wv * texture[b, k] + ww * texture[c, k]
            point[row, k] = origins[row, k] + t[row] * d[k]
        length = math.sqrt(length)
        for k in range(3):
            d[k] /= length
            i, j = (k + 1) % 3, (k + 2) % 3
            g[k] = e1[i] * e2[j] - e1[j] * e2[i]
        scale = 1.0 / (math.sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2]) + 1e-30)
        if g[0] * d[0] + g[1] * d[1] + g[2] * d[2] > 0:
            scale = -scale
        for k in range(3):
            g[k] *= scale
        scale = 1.0 / (math.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + 1e-30)
        if n[0] * g[0] + n[1] * g[1] + n[2] * g[2] < 0:
            scale = -scale
        for k in range(3):
            normal[row, k], facet[row, k] = n[k] * scale, g[k]

        # The pixel is a rectangle on the surface: `narrow` across the line of sight, `wide` along its trace.
        narrow = (travelled_m[row] + t[row] * length) * pixel_angle
        facing = -(g[0] * d[0] + g[1] * d[1] + g[2] * d[2])
        wide = narrow / max(facing, 0.02)
        scale = 0.0
        for k in range(3):
            long[k] = d[k] + facing * g[k]
            scale += long[k] * long[k]
        if scale < 1e-12:  # seen straight on: any direction in the plane will do
            scale = 0.0
            for k in range(3):
                long[k] = e1[k]
                scale += e1[k] * e1[k]
        scale = 1.0 / (math.sqrt(scale) + 1e-30)
        for k in range(3):
            long[k] *= scale
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            short[k] = g[i] * long[j] - g[j] * long[i]
        # Its two sides in weights of the corners, hence in texture coordinates.
        d11 = d12 = d22 = l1 = l2 = s1 = s2 = 0.0
        for k in range(3):
            d11 += e1[k] * e1[k]
            d12 += e1[k] * e2[k]
            d22 += e2[k] * e2[k]
            l1 += long[k] * e1[k]
            l2 += long[k] * e2[k]
            s1 += short[k] * e1[k]
            s2 += short[k] * e2[k]
        inverse = 1.0 / (d11 * d22 - d12 * d12 + 1e-30)
        lu, lv = (d22 * l1 - d12 * l2) * inverse * wide, (d11 * l2 - d12 * l1) * inverse * wide
        su, sv = (d22 * s1 - d12 * s2) * inverse * narrow, (d11 * s2 - d12 * s1) * inverse * narrow
        for k in range(3):
            t1, t2 = texture[b, k] - texture[a, k], texture[c, k] - texture[a, k]
            extent[row, k] = max(abs(lu * t1 + lv * t2) + abs(su * t1 + sv * t2), 2e-3)
        out_wide[row], out_narrow[row] = wide, narrow
        out_surface[row] = surface[face[row]] + first_surface
