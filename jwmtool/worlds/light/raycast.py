"""Rays against triangles: Embree finds the triangle in single precision, the hit is then computed in double."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from jwmtool.worlds.shapes.geometry import Geometry

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hits:
    """First hits of R rays.

    Attributes:
        face: [R] int32, -1 where nothing was hit.
        t: [R] ray parameter: the hit is origin + t * direction; inf where nothing was hit.
        u, v: [R] weights of the triangle's second and third corner.
    """

    face: NDArray[np.int32]
    t: Floats
    u: Floats
    v: Floats


class Caster:
    """Casts rays against a geometry that stands still. Safe to use from several threads at once.

    Embree works in float32, so its scene is built about the middle of the geometry; distances are exact all the same,
    because the triangle that it names is then cut in float64.
    """

    def __init__(self, geometry: Geometry) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore import EmbreeDevice
        from embreex.rtcore_scene import EmbreeScene

        self.geometry = geometry
        self._corners = np.ascontiguousarray(geometry.vertices[geometry.faces])  # [F, 3, 3]
        self._middle = np.median(geometry.vertices, axis=0) if len(geometry.vertices) else np.zeros(3)
        self._device = EmbreeDevice()
        self._scene = EmbreeScene(self._device)
        if len(geometry.faces):
            TriangleMesh(
                self._scene,
                (geometry.vertices - self._middle).astype(np.float32),
                np.ascontiguousarray(geometry.faces, np.int32),
            )
            # The first ray builds the tree; afterwards threads only read it.
            self._scene.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))

    def cast(self, origins: Floats, directions: Floats) -> Hits:
        """First hits of rays from origins [R, 3] (or [3]) along directions [R, 3] of any length."""
        count = len(directions)
        if not len(self.geometry.faces) or not count:
            nothing = np.full(count, np.inf)
            return Hits(np.full(count, -1, np.int32), nothing, np.zeros(count), np.zeros(count))
        starts = self._starts(origins, count)
        found = self._scene.run(starts, directions.astype(np.float32), output=1)
        face = np.ascontiguousarray(found["primID"], np.int32)
        t, u, v = np.empty(count), np.empty(count), np.empty(count)
        exact_origins = np.ascontiguousarray(np.broadcast_to(origins, (count, 3)), np.float64)
        _refine(
            self._corners, exact_origins, np.ascontiguousarray(directions, np.float64), face, found["tfar"], t, u, v
        )
        return Hits(face, t, u, v)

    def occluded(self, origins: Floats, directions: Floats) -> NDArray[np.bool_]:
        """[R] True where anything stands in the way, at any distance."""
        if not len(self.geometry.faces) or not len(directions):
            return np.zeros(len(directions), bool)
        starts = self._starts(origins, len(directions))
        return np.asarray(self._scene.run(starts, directions.astype(np.float32), query="OCCLUDED") == 0)

    def free_distance(self, origins: Floats, directions: Floats, limit: float) -> NDArray[np.float32]:
        """[R] ray parameter of the first hit, `limit` where nothing is nearer. Single precision."""
        count = len(directions)
        if not len(self.geometry.faces) or not count:
            return np.full(count, limit, np.float32)
        starts = self._starts(origins, count)
        far = np.full(count, limit, np.float32)
        distance = self._scene.run(starts, directions.astype(np.float32), dists=far, query="DISTANCE")
        return np.minimum(distance, np.float32(limit))

    def _starts(self, origins: Floats, count: int) -> NDArray[np.float32]:
        starts = (origins - self._middle).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(starts, (count, 3)))


@njit(nogil=True, cache=True)
def _refine(corners, origins, directions, face, rough_t, out_t, out_u, out_v):  # type: ignore[no-untyped-def]
    """Cut each ray with the plane of its triangle (Moeller and Trumbore, 1997)."""
    for i in range(len(face)):
        if face[i] < 0:
            out_t[i], out_u[i], out_v[i] = np.inf, 0.0, 0.0
            continue
        a = corners[face[i], 0]
        dx, dy, dz = directions[i, 0], directions[i, 1], directions[i, 2]
        e1x, e1y, e1z = corners[face[i], 1, 0] - a[0], corners[face[i], 1, 1] - a[1], corners[face[i], 1, 2] - a[2]
        e2x, e2y, e2z = corners[face[i], 2, 0] - a[0], corners[face[i], 2, 1] - a[1], corners[face[i], 2, 2] - a[2]
        px, py, pz = dy * e2z - dz * e2y, dz * e2x - dx * e2z, dx * e2y - dy * e2x
        determinant = e1x * px + e1y * py + e1z * pz
        sx, sy, sz = origins[i, 0] - a[0], origins[i, 1] - a[1], origins[i, 2] - a[2]
        qx, qy, qz = sy * e1z - sz * e1y, sz * e1x - sx * e1z, sx * e1y - sy * e1x
        t, u, v = float(rough_t[i]), 1.0 / 3.0, 1.0 / 3.0
        if determinant != 0.0:
            exact = (e2x * qx + e2y * qy + e2z * qz) / determinant
            # A triangle seen edge-on has no plane to cut; there Embree's answer stands.
            if abs(exact - t) < 1e-2 * (1.0 + abs(t)):
                t = exact
                u = (sx * px + sy * py + sz * pz) / determinant
                v = (dx * qx + dy * qy + dz * qz) / determinant
        # A ray past the edge by rounding keeps its plane's distance and the nearest texture.
        u, v = min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)
        if u + v > 1.0:
            u, v = u / (u + v), v / (u + v)
        out_t[i], out_u[i], out_v[i] = t, u, v
