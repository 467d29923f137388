"""Triangles with texture coordinates, normals and surfaces; the shapes that everything is built of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.shapes.surfaces import SURFACE_COLUMNS, Surface

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """Triangles, seen from both sides. Vertices are repeated where normals or texture break.

    Attributes:
        vertices: [V, 3] metres.
        faces: [F, 3] vertex indices.
        texture: [V, 3] coordinates in metres at which the material is evaluated; they move with the surface.
        normals: [V, 3] unit, outwards; interpolated for shading.
        surface: [F] row of `surfaces` that the triangle is made of.
        surfaces: [S, 14] see `Surface.row`.
    """

    vertices: Floats
    faces: Ints
    texture: Floats
    normals: Floats
    surface: Ints
    surfaces: Floats

    def moved(self, transform: Floats) -> Mesh:
        """The same shape elsewhere ([4, 4], rigid); texture coordinates stay."""
        rotation = transform[:3, :3]
        return replace(self, vertices=self.vertices @ rotation.T + transform[:3, 3], normals=self.normals @ rotation.T)

    def scaled(self, factors: ArrayLike) -> Mesh:
        """Stretched about the origin by [3] positive factors; texture coordinates stretch too."""
        f = np.asarray(factors, np.float64)
        normals = self.normals / f
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return replace(self, vertices=self.vertices * f, texture=self.texture * f, normals=normals)

    def bounds(self) -> tuple[Floats, Floats]:
        """Lowest and highest corner, [3] each."""
        return self.vertices.min(0), self.vertices.max(0)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; equal surfaces are kept once."""
    if not meshes:
        return Mesh(
            np.zeros((0, 3)),
            np.zeros((0, 3), np.int32),
            np.zeros((0, 3)),
            np.zeros((0, 3)),
            np.zeros(0, np.int32),
            np.zeros((0, SURFACE_COLUMNS)),
        )
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    rows = np.cumsum([0, *(len(m.surfaces) for m in meshes)])
    surfaces, place = np.unique(np.concatenate([m.surfaces for m in meshes]), axis=0, return_inverse=True)
    surface = np.concatenate([m.surface + row for m, row in zip(meshes, rows[:-1], strict=True)])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts[:-1], strict=True)]).astype(np.int32),
        np.concatenate([m.texture for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        place.reshape(-1)[surface].astype(np.int32),
        surfaces,
    )


def flat(vertices: ArrayLike, faces: ArrayLike, surface: Surface, texture: ArrayLike | None = None) -> Mesh:
    """Facets with hard edges: every triangle gets its own corners and its plane's normal.

    Args:
        vertices: [V, 3]; faces: [F, 3], counter-clockwise seen from outside; texture: [V, 3], else the vertices.
    """
    v, f = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    t = v if texture is None else np.asarray(texture, np.float64)
    corners = v[f]  # [F, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return Mesh(
        corners.reshape(-1, 3),
        np.arange(3 * len(f), dtype=np.int32).reshape(-1, 3),
        t[f].reshape(-1, 3),
        np.repeat(normals, 3, axis=0),
        np.zeros(len(f), np.int32),
        surface.row()[None],
    )


def smooth(vertices: ArrayLike, faces: ArrayLike, surface: Surface, texture: ArrayLike | None = None) -> Mesh:
    """A rounded surface: normals are averaged at shared vertices."""
    v, f = np.asarray(vertices, np.float64), np.asarray(faces, np.int32)
    corners = v[f]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(v)
    for k in range(3):
        np.add.at(normals, f[:, k], area)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    t = v.copy() if texture is None else np.asarray(texture, np.float64)
    return Mesh(v, f, t, normals, np.zeros(len(f), np.int32), surface.row()[None])


def grid(points: Floats, texture: Floats, surface: Surface, rounded: bool = False) -> Mesh:
    """A sheet through points [R, C, 3] with texture [R, C, 3]; it faces up where rows go along x, columns along y."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    make = smooth if rounded else flat
    return make(points.reshape(-1, 3), faces, surface, texture.reshape(-1, 3))


_BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def box(size: ArrayLike, surface: Surface, center: ArrayLike = (0.0, 0.0, 0.0)) -> Mesh:
    """A box of [3] edge lengths; texture coordinates are its own."""
    return flat(_BOX * 0.5 * np.asarray(size, np.float64) + np.asarray(center, np.float64), _BOX_FACES, surface)


def walls(outline: ArrayLike, height_m: float, surface_of: Sequence[Surface] | Surface, foot_m: float = 0.0) -> Mesh:
    """Upright walls along a closed outline [P, 2], counter-clockwise; texture (along the wall, up, wall number)."""
    points = np.asarray(outline, np.float64)
    pieces = []
    for i, start in enumerate(points):
        end = points[(i + 1) % len(points)]
        length = float(np.hypot(*(end - start)))
        corners = np.array([[*start, foot_m], [*end, foot_m], [*end, height_m], [*start, height_m]])
        texture = np.array([[0, foot_m, i], [length, foot_m, i], [length, height_m, i], [0, height_m, i]], np.float64)
        surface = surface_of if isinstance(surface_of, Surface) else surface_of[i % len(surface_of)]
        pieces.append(flat(corners, [[0, 1, 2], [0, 2, 3]], surface, texture))
    return merge(pieces)


def fan(outline: ArrayLike, surface: Surface) -> Mesh:
    """A lid [P, 3] over a star-shaped outline (seen from its mean), counter-clockwise from above."""
    points = np.asarray(outline, np.float64)
    middle = len(points)
    faces = [[i, (i + 1) % middle, middle] for i in range(middle)]
    return flat(np.vstack([points, points.mean(0)]), faces, surface)


def tube(
    start: ArrayLike,
    end: ArrayLike,
    radius_m: float,
    surface: Surface,
    end_radius_m: float | None = None,
    sides: int = 8,
) -> Mesh:
    """A round bar between two points, tapering to `end_radius_m`, with flat lids."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    axis = (b - a) / np.linalg.norm(b - a)
    across = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    third = np.cross(axis, across)
    angle = 2.0 * math.pi * np.arange(sides) / sides
    ring = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * third
    low, high = a + radius_m * ring, b + (radius_m if end_radius_m is None else end_radius_m) * ring
    i, j = np.arange(sides), (np.arange(sides) + 1) % sides
    side = np.concatenate([np.stack([i, j, sides + j], 1), np.stack([i, sides + j, sides + i], 1)])
    bar = smooth(np.vstack([low, high]), side, surface)
    lids = [fan(high, surface), fan(low[::-1], surface)]
    return merge([bar, *lids])


def _icosphere(level: int) -> tuple[Floats, NDArray[np.int64]]:
    phi = (1.0 + math.sqrt(5.0)) / 2.0
    v = np.array(
        [[-1, phi, 0], [1, phi, 0], [-1, -phi, 0], [1, -phi, 0], [0, -1, phi], [0, 1, phi], [0, -1, -phi],
         [0, 1, -phi], [phi, 0, -1], [phi, 0, 1], [-phi, 0, -1], [-phi, 0, 1]], np.float64,
    )  # fmt: skip
    f = np.array(
        [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6],
         [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11], [6, 2, 10],
         [8, 6, 7], [9, 8, 1]], np.int64,
    )  # fmt: skip
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    for _ in range(level):
        edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middle = v[unique].sum(1)
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        ab, bc, ca = (inverse.reshape(-1) + len(v)).reshape(3, -1)
        f = np.concatenate(
            [np.stack(t, 1) for t in ((f[:, 0], ab, ca), (f[:, 1], bc, ab), (f[:, 2], ca, bc), (ab, bc, ca))]
        )
        v = np.vstack([v, middle])
    return v, f


_SPHERES = {level: _icosphere(level) for level in range(4)}


def ellipsoid(
    center: ArrayLike, radii: ArrayLike, surface: Surface, level: int = 2, rough: Floats | None = None
) -> Mesh:
    """An ellipsoid of 20 * 4^level triangles (level 0 to 3).

    `rough` [V] pushes each vertex out by that share of its radius (V = 10 * 4^level + 2): lumps for trees and rocks.
    """
    v, f = _SPHERES[level]
    if rough is not None:
        v = v * (1.0 + rough[:, None])
    return smooth(v * np.asarray(radii, np.float64) + np.asarray(center, np.float64), f, surface)
