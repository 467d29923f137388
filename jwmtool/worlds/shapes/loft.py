"""Skins stretched over drawn outlines: what animals, people and cars are made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jwmtool.worlds.shapes.mesh import Mesh, smooth
from jwmtool.worlds.shapes.surfaces import Surface

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def curve(points: ArrayLike, between: int) -> Floats:
    """A smooth line through [K, D] points (Catmull-Rom): [(K - 1) * between + 1, D]."""
    p = np.asarray(points, np.float64)
    if between == 1 or len(p) < 3:
        t = np.arange((len(p) - 1) * between + 1) / between
        return np.stack([np.interp(t, np.arange(len(p)), p[:, k]) for k in range(p.shape[1])], -1)
    padded = np.vstack([2.0 * p[0] - p[1], p, 2.0 * p[-1] - p[-2]])
    a, b, c, d = padded[:-3, None], padded[1:-2, None], padded[2:-1, None], padded[3:, None]
    t = (np.arange(between) / between)[None, :, None]
    inner = 0.5 * (2.0 * b + (c - a) * t + (2.0 * a - 5.0 * b + 4.0 * c - d) * t**2 + (3.0 * (b - c) + d - a) * t**3)
    return np.vstack([inner.reshape(-1, p.shape[1]), p[-1:]])


def ring_faces(rings: int, sides: int) -> Ints:
    """Triangles between `rings` closed rings of `sides` points each, and to a pole at either end (the last two)."""
    i = np.arange(rings - 1)[:, None] * sides
    j, k = np.arange(sides), (np.arange(sides) + 1) % sides
    a, b, c, d = (i + j).ravel(), (i + k).ravel(), (i + sides + k).ravel(), (i + sides + j).ravel()
    low, high, end = rings * sides, rings * sides + 1, (rings - 1) * sides
    caps = [np.stack([np.full(sides, low), k, j], 1), np.stack([np.full(sides, high), end + j, end + k], 1)]
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1), *caps])


def outline(
    stations: ArrayLike,
    surface: Surface,
    *,
    y: float = 0.0,
    splay: float = 0.0,
    between: int = 2,
    sides: int = 12,
    egg: float = 0.0,
    texture_axis: str = "x",
) -> Mesh:
    """A rounded body drawn from the side: an oval ring per station, from one outline to the other.

    Args:
        stations: [K, 5] x, z of the upper (or front) outline, x, z of the lower (or rear) one, half width.
        y: where the body's middle stands; `splay` moves it out by that much from the first to the last station.
        between: rings per station, along a smooth curve.
        egg: positive makes rings wider near the first outline, negative near the second one (-0.4 to 0.4).
        texture_axis: "z" turns stripes along x into stripes around an upright limb.
    """
    ring = curve(stations, between)
    angle = 2.0 * math.pi * np.arange(sides) / sides
    cos, sin = np.cos(angle), np.sin(angle) * (1.0 + egg * np.cos(angle))
    middle, half = 0.5 * (ring[:, :2] + ring[:, 2:4]), 0.5 * (ring[:, :2] - ring[:, 2:4])
    xz = middle[:, None] + half[:, None] * cos[None, :, None]
    across = y + splay * np.linspace(0.0, 1.0, len(ring))[:, None] + np.maximum(ring[:, 4:5], 0.004) * sin
    points = np.stack([xz[..., 0], across, xz[..., 1]], -1)
    poles = np.stack([points[0].mean(0), points[-1].mean(0)])
    vertices = np.vstack([points.reshape(-1, 3), poles])
    texture = vertices[:, [2, 1, 2]] if texture_axis == "z" else None
    return outwards(smooth(vertices, ring_faces(len(ring), sides), surface, texture))


def banded(
    mesh: Mesh, sides: int, surface: Surface, along: tuple[float, float], around_deg: tuple[float, float] = (0.0, 180.0)
) -> Mesh:
    """An `outline` with part of it made of another surface, without a seam.

    Args:
        sides: that the outline was made with.
        along: from which to which share of its rings.
        around_deg: angles away from the first outline; 180 is the second one.
    """
    quads = (len(mesh.faces) - 2 * sides) // 2
    step, row = np.divmod(np.arange(quads), sides)
    share = (step + 0.5) * sides / quads
    angle = 360.0 * (row + 0.5) / sides
    angle = np.minimum(angle, 360.0 - angle)
    inside = (share >= along[0]) & (share <= along[1]) & (angle >= around_deg[0]) & (angle <= around_deg[1])
    caps = [np.full(sides, along[0] <= 0.0), np.full(sides, along[1] >= 1.0)]
    mask = np.concatenate([inside, inside, *caps])
    place = np.where(mask, len(mesh.surfaces), mesh.surface).astype(np.int32)
    return replace(mesh, surface=place, surfaces=np.vstack([mesh.surfaces, surface.row()]))


def limb(path: ArrayLike, radii: ArrayLike, surface: Surface, *, sides: int = 8, between: int = 1) -> Mesh:
    """A round bar along points [K, 3] with radii [K], smooth, closed at both ends."""
    rows = curve(np.column_stack([np.asarray(path, np.float64), np.asarray(radii, np.float64)]), between)
    points, radius = rows[:, :3], np.maximum(rows[:, 3], 0.002)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # One reference direction for all rings, so that they do not twist.
    chord = points[-1] - points[0]
    reference = np.eye(3)[int(np.argmin(np.abs(chord)))]
    across = np.cross(along, reference)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(along, across)
    angle = 2.0 * math.pi * np.arange(sides) / sides
    ring = across[:, None] * np.cos(angle)[None, :, None] + third[:, None] * np.sin(angle)[None, :, None]
    body = points[:, None] + radius[:, None, None] * ring
    vertices = np.vstack([body.reshape(-1, 3), points[:1], points[-1:]])
    return outwards(smooth(vertices, ring_faces(len(points), sides), surface))


def outwards(mesh: Mesh) -> Mesh:
    """The closed mesh with its triangles and normals turned outwards."""
    corners = mesh.vertices[mesh.faces]
    volume = float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))
    if volume >= 0.0:
        return mesh
    return replace(mesh, faces=mesh.faces[:, ::-1], normals=-mesh.normals)


def creased(
    vertices: Floats, faces: Ints, surface: Ints, surfaces: list[Surface], crease_rad: float = math.radians(38.0)
) -> Mesh:
    """Triangles whose normals are averaged across edges blunter than `crease_rad`, and broken across sharper ones.

    Args:
        vertices: [V, 3]; faces: [F, 3] counter-clockwise from outside; surface: [F] into `surfaces`.
    """
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    size = np.linalg.norm(area, axis=1)
    keep = size > 1e-9
    faces, surface, area, size = faces[keep], surface[keep], area[keep], size[keep]
    unit = area / size[:, None]
    # All pairs of corners that share a place: sort corners by place, then walk the runs.
    _, place = np.unique(np.round(vertices * 1e5).astype(np.int64), axis=0, return_inverse=True)
    corner = place.reshape(-1)[faces].ravel()
    order = np.argsort(corner, kind="stable")
    key, owner = corner[order], order // 3
    summed = np.zeros((len(corner), 3))
    limit = math.cos(crease_rad)
    for shift in range(-12, 13):
        low, high = max(0, -shift), len(key) - max(0, shift)
        here, there = np.arange(low, high), np.arange(low, high) + shift
        near = (key[here] == key[there]) & ((unit[owner[here]] * unit[owner[there]]).sum(1) > limit)
        summed[here[near]] += area[owner[there[near]]]
    normals = np.empty_like(summed)
    normals[order] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
    points = vertices[faces].reshape(-1, 3)
    index = np.arange(len(points), dtype=np.int32).reshape(-1, 3)
    rows = np.stack([s.row() for s in surfaces])
    return Mesh(points, index, points.copy(), normals, surface.astype(np.int32), rows)


def fitted(mesh: Mesh, size: tuple[float, float, float], low: Floats, high: Floats) -> Mesh:
    """The mesh moved and stretched so that what now spans `low` to `high` fills the box of `size` on the ground."""
    middle = np.array([0.5 * (low[0] + high[0]), 0.5 * (low[1] + high[1]), low[2]])
    return replace(mesh, vertices=mesh.vertices - middle).scaled(np.asarray(size) / (high - low))
