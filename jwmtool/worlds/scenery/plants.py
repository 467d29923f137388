"""Trees, bushes, hedges and distant woods.

Style keys: `leaf` and `leaf2` colors, `bark` color, `trunk_m` height of the lowest leaves. A thing's frame has its
foot at the origin; `size` bounds the crown.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.mesh import Mesh, ellipsoid, flat, merge, smooth, tube
from jwmtool.worlds.shapes.surfaces import Material, Surface

Floats = NDArray[np.float64]

_VARIANTS = 12  # shapes of crowns per habit; size, turn and color make each tree its own
_ROOT_M = 0.6  # trunks reach below ground


def _rough(stream: Stream, level: int, strength: float) -> Floats:
    count = 10 * 4**level + 2
    return np.array([stream.uniform(-strength, strength) for _ in range(count)])


_ANY = Surface(Material.LEAVES, (0.1, 0.2, 0.05))


@lru_cache(maxsize=128)
def _crown(habit: str, variant: int) -> Mesh:
    """A crown within x, y in [-0.5, 0.5] and z in [0, 1]."""
    stream = Stream(variant, f"crown/{habit}")
    parts = []
    if habit == "round":
        parts.append(ellipsoid((0, 0, 0.52), (0.40, 0.40, 0.42), _ANY, 2, _rough(stream, 2, 0.18)))
        turn = stream.uniform(0, 2 * math.pi)
        for k in range(4):
            angle = turn + (k + stream.uniform(-0.25, 0.25)) * math.pi / 2
            far, high, radius = stream.uniform(0.18, 0.26), stream.uniform(0.25, 0.72), stream.uniform(0.17, 0.25)
            center = (far * math.cos(angle), far * math.sin(angle), high)
            parts.append(ellipsoid(center, (radius, radius, 0.9 * radius), _ANY, 1, _rough(stream, 1, 0.16)))
    elif habit == "oval":
        parts.append(ellipsoid((0, 0, 0.46), (0.42, 0.42, 0.46), _ANY, 2, _rough(stream, 2, 0.14)))
        top = (stream.uniform(-0.1, 0.1), stream.uniform(-0.1, 0.1), 0.8)
        parts.append(ellipsoid(top, (0.24, 0.24, 0.2), _ANY, 1, _rough(stream, 1, 0.15)))
    elif habit == "poplar":
        parts.append(ellipsoid((0, 0, 0.5), (0.46, 0.46, 0.5), _ANY, 2, _rough(stream, 2, 0.10)))
    elif habit == "umbrella":
        for k in range(7):
            angle = 2 * math.pi * (k + stream.uniform(-0.2, 0.2)) / 6
            far = 0.0 if k == 0 else stream.uniform(0.22, 0.3)
            center = (far * math.cos(angle), far * math.sin(angle), stream.uniform(0.35, 0.65))
            parts.append(ellipsoid(center, (0.2, 0.2, 0.3), _ANY, 1, _rough(stream, 1, 0.2)))
    else:  # bush
        for k in range(3):
            angle = 2 * math.pi * (k + stream.uniform(-0.3, 0.3)) / 3
            far, radius = stream.uniform(0.1, 0.2), stream.uniform(0.27, 0.33)
            center = (far * math.cos(angle), far * math.sin(angle), stream.uniform(0.38, 0.52))
            parts.append(ellipsoid(center, (radius, radius, 0.45), _ANY, 1, _rough(stream, 1, 0.14)))
    crown = merge(parts)
    bottom, top_z = (float(corner[2]) for corner in crown.bounds())
    # Fill the box exactly: the sides are stretched about the trunk, so that the crown stays centred over it.
    reach = float(np.abs(crown.vertices[:, :2]).max())
    moved = np.eye(4)
    moved[2, 3] = -bottom
    return crown.moved(moved).scaled((0.5 / reach, 0.5 / reach, 1.0 / (top_z - bottom)))


@lru_cache(maxsize=32)
def _fir(variant: int) -> Mesh:
    """Stacked ragged skirts of a conifer, within the same box as `_crown`."""
    stream = Stream(variant, "crown/conifer")
    sides, tiers = 11, 6
    parts = []
    for tier in range(tiers):
        low = tier / tiers * 0.86
        high = min(low + 0.34, 1.0)
        radius = 0.5 * (1.0 - low) ** 0.8
        angle = 2 * math.pi * (np.arange(sides) + 0.5 * (tier % 2)) / sides
        reach = np.array([radius * stream.uniform(0.78, 1.0) for _ in range(sides)])
        droop = np.array([stream.uniform(-0.02, 0.02) for _ in range(sides)])
        ring = np.stack([reach * np.cos(angle), reach * np.sin(angle), np.maximum(low + droop, 0.0)], 1)
        corners = np.vstack([ring, [[0, 0, high]], [[0, 0, low + 0.04]]])
        i, j = np.arange(sides), (np.arange(sides) + 1) % sides
        top = np.stack([i, j, np.full(sides, sides)], 1)
        below = np.stack([j, i, np.full(sides, sides + 1)], 1)
        parts.append(smooth(corners[:-1], top, _ANY))
        parts.append(flat(corners, below, _ANY))
    return merge(parts)


def _colored(mesh: Mesh, surface: Surface) -> Mesh:
    """The same shape, all of one surface."""
    return Mesh(
        mesh.vertices, mesh.faces, mesh.texture, mesh.normals, np.zeros(len(mesh.faces), np.int32), surface.row()[None]
    )


def _leaves(thing: Thing, grain_m: float = 0.5) -> Surface:
    return Surface(Material.LEAVES, thing.style["leaf"], thing.style["leaf2"], thing.seed % 1000, (grain_m,))


def _lifted(mesh: Mesh, z_m: float) -> Mesh:
    move = np.eye(4)
    move[2, 3] = z_m
    return mesh.moved(move)


def tree(thing: Thing) -> Mesh:
    """A trunk with a crown; style `habit`: round, oval, poplar, umbrella or conifer."""
    length, width, height = thing.size
    habit, trunk_m = thing.style["habit"], float(thing.style["trunk_m"])
    variant = thing.seed % _VARIANTS
    shape = _fir(variant) if habit == "conifer" else _crown(habit, variant)
    crown = _colored(shape, _leaves(thing)).scaled((length, width, height - trunk_m))
    radius = min(0.05 + 0.018 * height, 0.4)
    bark = Surface(Material.PLAIN, thing.style["bark"], seed=thing.seed % 1000, p=(0.5, 0.2))
    top = trunk_m + 0.35 * (height - trunk_m)
    trunk = tube((0, 0, -_ROOT_M), (0, 0, top), 1.25 * radius, bark, 0.6 * radius, sides=7)
    parts = [trunk, _lifted(crown, trunk_m)]
    if habit in ("round", "umbrella") and trunk_m > 1.8:
        reach = 0.3 * length
        for k in range(3):
            angle = thing.seed + 2.1 * k
            end = (reach * math.cos(angle), reach * math.sin(angle), top)
            parts.append(tube((0, 0, 0.8 * trunk_m), end, 0.5 * radius, bark, 0.25 * radius, sides=4))
    return merge(parts)


def bush(thing: Thing) -> Mesh:
    """A low plant that grows from the ground."""
    length, width, height = thing.size
    crown = _colored(_crown("bush", thing.seed % _VARIANTS), _leaves(thing, 0.35))
    return _lifted(crown.scaled((length, width, 1.25 * height)), -0.25 * height)


def hedge(thing: Thing) -> Mesh:
    """A clipped hedge along x."""
    length, width, height = thing.size
    columns = max(2, round(length / 1.0) + 1)
    stream = Stream(thing.seed, "hedge")
    profile = np.array([[0.5, -0.6], [0.5, 0.8], [0.36, 1.0], [-0.36, 1.0], [-0.5, 0.8], [-0.5, -0.6]])
    profile = profile * (width, height)
    profile[[0, -1], 1] = -0.6
    x = np.linspace(-0.5 * length, 0.5 * length, columns)
    rings = np.empty((columns, len(profile), 3))
    rings[..., 0] = x[:, None]
    for k in range(columns):
        wobble = 1.0 + np.array([stream.uniform(-0.09, 0.03) for _ in profile])
        rings[k, :, 1] = profile[:, 0] * wobble
        rings[k, :, 2] = np.where(profile[:, 1] > 0, profile[:, 1] * wobble, profile[:, 1])
    index = np.arange(columns * len(profile)).reshape(columns, -1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, c, b], -1), np.stack([a, d, c], -1)], 2).reshape(-1, 3)
    leaves = _leaves(thing, 0.3)
    side = smooth(rings.reshape(-1, 3), faces, leaves)
    lid = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
    return merge([side, flat(rings[-1], lid, leaves), flat(rings[0], lid[:, ::-1], leaves)])


def wood(thing: Thing) -> Mesh:
    """A stand of distant trees: crowns close together in `size`; style `conifers`: share of them that are conifers."""
    length, width, height = thing.size
    stream = Stream(thing.seed, "wood")
    spacing = 0.55 * height
    columns, rows = max(2, round(length / spacing)), max(1, round(width / spacing))
    while columns * rows > 12:
        spacing *= 1.1
        columns, rows = max(2, round(length / spacing)), max(1, round(width / spacing))
    conifers = float(thing.style.get("conifers", 0.0))
    parts = []
    for i in range(columns):
        for j in range(rows):
            x = ((i + 0.5 + stream.uniform(-0.3, 0.3)) / columns - 0.5) * length * 0.86
            y = ((j + 0.5 + stream.uniform(-0.3, 0.3)) / rows - 0.5) * width * 0.7
            tall = height * stream.uniform(0.62, 1.0)
            shade = stream.uniform(0.75, 1.25)
            leaf, leaf2 = (tuple(round(shade * c, 4) for c in thing.style[name]) for name in ("leaf", "leaf2"))
            surface = Surface(Material.LEAVES, leaf, leaf2, (thing.seed + 7 * i + j) % 1000, (1.0,))
            if stream.chance(conifers):
                radius, sides = 0.22 * tall, 7
                angle = 2 * math.pi * np.arange(sides) / sides
                ring = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(sides, -1.0)], 1)
                cone = np.vstack([ring, [[0, 0, tall]]]) + np.array([x, y, 0.0])
                k = np.arange(sides)
                parts.append(smooth(cone, np.stack([k, (k + 1) % sides, np.full(sides, sides)], 1), surface))
            else:
                radius = stream.uniform(0.42, 0.55) * spacing * 1.25
                half = 0.5 * (tall + 1.5)
                radii = (radius, radius, half)
                parts.append(ellipsoid((x, y, half - 1.5), radii, surface, 1, _rough(stream, 1, 0.12)))
    return merge(parts)


def hill(thing: Thing) -> Mesh:
    """A far ridge that closes the horizon: a smooth bump over `size`, wooded or grassy."""
    length, width, height = thing.size
    columns, rows = 21, 11
    x, y = np.linspace(-1, 1, columns), np.linspace(-1, 1, rows)
    xx, yy = np.meshgrid(x, y, indexing="ij")
    stream = Stream(thing.seed, "hill")
    bump = np.clip(1.0 - xx**2, 0.0, 1.0) * np.clip(1.0 - yy**2, 0.0, 1.0)
    uneven = 1.0 + 0.25 * np.sin(stream.uniform(2, 5) * xx + stream.uniform(0, 6)) * np.cos(
        stream.uniform(1, 3) * yy + stream.uniform(0, 6)
    )
    z = np.minimum(height * bump * uneven, height)
    # Its rim lies deep, so that the lie of the land under so wide a thing never shows it.
    points = np.stack([0.5 * length * xx, 0.5 * width * yy, np.where(bump > 0, z, -15.0)], -1)
    index = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    surface = Surface(Material.LEAVES, thing.style["leaf"], thing.style["leaf2"], thing.seed % 1000, (5.0,))
    return smooth(points.reshape(-1, 3), faces, surface)
