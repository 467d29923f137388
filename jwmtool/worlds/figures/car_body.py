"""Bodies of motor vehicles: one skin from bumper to bumper, with arches, windows, wheels and lamps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.shapes.loft import creased, limb, outwards, ring_faces
from jwmtool.worlds.shapes.mesh import Mesh, box, ellipsoid, merge
from jwmtool.worlds.shapes.surfaces import Material, Surface

Floats = NDArray[np.float64]
Color = tuple[float, float, float]
Span = tuple[float, float]

GLASS = Surface(Material.GLASS, (0.018, 0.022, 0.026))
TRIM = Surface(Material.PLAIN, (0.018, 0.018, 0.019))
TYRE = Surface(Material.PLAIN, (0.022, 0.022, 0.023))
RIM = Surface(Material.METAL, (0.36, 0.37, 0.38))
STEEL = Surface(Material.METAL, (0.20, 0.20, 0.21))
HEADLAMP = Surface(Material.LAMP, (1.0, 0.94, 0.80), (0.62, 0.64, 0.66), p=(0.25, 3.0))
TAIL_LAMP = Surface(Material.LAMP, (0.75, 0.03, 0.02), (0.20, 0.012, 0.010), p=(0.25, 3.0))
PLATE = Surface(Material.PLAIN, (0.72, 0.72, 0.70))

_SECTION = 16  # points round a cross section


@dataclass(frozen=True)
class Skin:
    """How a body is drawn, in metres; x from the rear bumper to the front one, z up from the ground.

    Attributes:
        rows: [K, 5] x, height of the belt (top of the doors), height of the top (bonnet, roof), half width of the top's
            edge, half width of the body.
        foot_m: height of the sills; `axles` are x of the arches over wheels of `wheel_m` radius.
        glass_top: spans of x where the top is glass (windscreen, rear window).
        glass_side: spans where the sides above the belt are glass.
        dark_top: spans where the top is dark (a pickup's bed).
        skirt: True for a dark band along the sills.
    """

    rows: tuple[tuple[float, float, float, float, float], ...]
    foot_m: float
    axles: tuple[float, ...]
    wheel_m: float
    glass_top: tuple[Span, ...]
    glass_side: tuple[Span, ...]
    dark_top: tuple[Span, ...] = ()
    skirt: bool = False


def body(skin: Skin, paint: Surface) -> Mesh:
    """The painted and glazed skin, closed below, with arches cut out."""
    rows = np.array(skin.rows)
    radius = skin.wheel_m * 1.16
    x = _stations(skin, rows, radius)
    belt, top, edge, half = (np.interp(x, rows[:, 0], rows[:, k]) for k in range(1, 5))
    ends = np.minimum(x - rows[0, 0], rows[-1, 0] - x)
    foot = skin.foot_m + 0.10 * np.clip(1.0 - ends / 0.45, 0.0, 1.0) ** 2
    for axle in skin.axles:
        inside = np.clip(radius**2 - (x - axle) ** 2, 0.0, None)
        foot = np.maximum(foot, np.where(inside > 0, skin.wheel_m + np.sqrt(inside), 0.0))
    foot = np.minimum(foot, belt - 0.06)
    door = belt - foot
    edge_z = top - 0.045 * np.clip((top - belt) / 0.2, 0.25, 1.0)
    zero = np.zeros_like(x)
    halves = [
        (zero, foot), (0.93 * half, foot), (0.985 * half, foot + 0.30 * door), (half, foot + 0.62 * door),
        (0.985 * half, foot + 0.90 * door), (0.945 * half, belt), (edge, edge_z),
        (0.55 * edge, top - 0.010), (zero, top),
    ]  # fmt: skip
    loop = [*halves, *((-y, z) for y, z in halves[7:0:-1])]
    points = np.stack([np.stack([x, y, z], -1) for y, z in loop], 1)  # [R, 16, 3]
    vertices = np.vstack([points.reshape(-1, 3), points[0].mean(0), points[-1].mean(0)])
    faces = ring_faces(len(x), _SECTION)
    quads = len(x) - 1
    middle = np.repeat(0.5 * (x[1:] + x[:-1]), _SECTION)
    column = np.tile(np.arange(_SECTION), quads)
    band = np.where(column < 8, column, 15 - column)
    surface = np.zeros(quads * _SECTION, np.int64)
    surface[(band == 0) | ((band == 1) & skin.skirt)] = 2
    surface[(band == 5) & _within(middle, skin.glass_side)] = 1
    surface[(band >= 6) & _within(middle, skin.glass_top)] = 1
    surface[(band >= 6) & _within(middle, skin.dark_top)] = 2
    surface = np.concatenate([surface, surface, np.zeros(2 * _SECTION, np.int64)])
    corners = vertices[faces]
    if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        faces = faces[:, ::-1]
    return creased(vertices, faces, surface, [paint, GLASS, TRIM])


def _stations(skin: Skin, rows: Floats, radius: float) -> Floats:
    """Where sections stand: at every row, at window ends and finely over the arches."""
    x = [*rows[:, 0]]
    for spans in (skin.glass_top, skin.glass_side, skin.dark_top):
        x += [end for span in spans for end in span]
    for axle in skin.axles:
        x += [axle + radius * math.cos(math.pi * k / 8) for k in range(9)] + [
            axle - radius - 0.012,
            axle + radius + 0.012,
        ]
    kept: list[float] = []
    for value in sorted(x):
        if rows[0, 0] <= value <= rows[-1, 0] and (not kept or value - kept[-1] > 0.008):
            kept.append(float(value))
    return np.array(kept)


def _within(x: Floats, spans: tuple[Span, ...]) -> NDArray[np.bool_]:
    result = np.zeros(len(x), bool)
    for low, high in spans:
        result |= (x > low) & (x < high)
    return result


def pillars(skin: Skin, paint: Surface, places: tuple[float, ...], radius_m: float = 0.028) -> list[Mesh]:
    """Bars over the glass: along both edges of every glazed slope, and upright at `places`."""
    rows = np.array(skin.rows)

    def edge(x: float, side: float) -> tuple[float, float, float]:
        belt, top, out = (float(np.interp(x, rows[:, 0], rows[:, k])) for k in (1, 2, 3))
        return x, side * out, top - 0.045 * min(1.0, max(0.25, (top - belt) / 0.2))

    def sill(x: float, side: float) -> tuple[float, float, float]:
        return (
            x,
            side * 0.945 * float(np.interp(x, rows[:, 0], rows[:, 4])),
            float(np.interp(x, rows[:, 0], rows[:, 1])),
        )

    bars = []
    for side in (1.0, -1.0):
        for low, high in skin.glass_top:
            inner = [x for x in rows[:, 0] if low < x < high]
            line = [edge(x, side) for x in (low, *inner, high)]
            bars.append(limb(line, [radius_m] * len(line), paint, sides=5))
        bars += [limb([sill(x, side), edge(x, side)], [radius_m * 1.15, radius_m], TRIM, sides=4) for x in places]
    return bars


def wheel(x: float, y: float, radius_m: float, width_m: float, rim: Surface = RIM) -> Mesh:
    """A wheel whose outer face is at `y` (its sign tells the side)."""
    side = math.copysign(1.0, y)
    inner = y - side * width_m
    r = radius_m
    path = [(x, inner, r), (x, inner + side * 0.02, r), (x, y - side * 0.03, r), (x, y, r)]
    tyre = limb(path, [0.90 * r, r, r, 0.90 * r], TYRE, sides=18)
    face = limb([(x, y - side * 0.04, r), (x, y + side * 0.006, r)], [0.66 * r, 0.62 * r], rim, sides=14)
    hub = limb([(x, y - side * 0.02, r), (x, y + side * 0.014, r)], [0.24 * r, 0.20 * r], TRIM, sides=8)
    return merge([tyre, face, hub])


def lamp_pair(center: tuple[float, float, float], radii: tuple[float, float, float], surface: Surface) -> Mesh:
    """Two lamps, left and right."""
    x, y, z = center
    return merge([ellipsoid((x, side * y, z), radii, surface, 1) for side in (1.0, -1.0)])


def panel(size: tuple[float, float, float], center: tuple[float, float, float], surface: Surface) -> Mesh:
    """A plate, grille or bumper."""
    return box(size, surface, center)


def rounded_box(
    low: tuple[float, float, float], high: tuple[float, float, float], bevel_m: float, surface: Surface
) -> Mesh:
    """A container with bevelled long edges and ends."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    b, middle, half = bevel_m, 0.5 * (y0 + y1), 0.5 * (y1 - y0)
    rings = []
    for x, inset in ((x0, b), (x0 + b, 0.0), (x1 - b, 0.0), (x1, b)):
        w, bottom, top = half - inset, z0 + inset, z1 - inset
        rings.append([(x, middle + sy * y, z) for y, z, sy in (
            (w - b, bottom, 1), (w, bottom + b, 1), (w, top - b, 1), (w - b, top, 1),
            (w - b, top, -1), (w, top - b, -1), (w, bottom + b, -1), (w - b, bottom, -1))])  # fmt: skip
    points = np.array(rings)
    vertices = np.vstack([points.reshape(-1, 3), points[0].mean(0), points[-1].mean(0)])
    faces = ring_faces(4, 8)
    mesh = creased(vertices, faces, np.zeros(len(faces), np.int64), [surface], math.radians(25.0))
    return outwards(mesh)
