"""Buildings: town houses in rows, towers, cottages, garages, barns, halls, churches.

In a building's own frame x runs along its front, which faces -y; z = 0 is the ground floor. Walls go down below
ground so that a slope leaves no gap. Style keys: `wall`, `trim`, `roof_color` colors, `facade` (FACADE_*),
`pitch_m`, `storey_m`, `window_share`, `roof` (flat, gable, hip, mansard), and those named at the builders.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Thing
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.mesh import Mesh, box, fan, flat, merge, tube, walls
from jwmtool.worlds.shapes.surfaces import FACADE_PLASTER, Material, Surface, facade_surface

Floats = NDArray[np.float64]

FOUNDATION_M = 1.5
_CONCRETE = (0.34, 0.33, 0.31)
_EAVES_M = 0.45  # how far roofs reach beyond walls


def _rectangle(length: float, width: float, x: float = 0.0, y: float = 0.0) -> Floats:
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    return corners * (length, width) + (x, y)


def _facades(thing: Thing, outline: Floats, foot_m: float, height_m: float, bare: bool = False) -> Mesh:
    """Walls with windows along an outline, from `foot_m` up to `height_m`; texture y counts from `foot_m`."""
    style = thing.style
    surfaces = []
    for i, start in enumerate(outline):
        length = float(np.hypot(*(outline[(i + 1) % len(outline)] - start)))
        storey = 10.0 * height_m if bare else float(style["storey_m"])
        surfaces.append(
            facade_surface(
                style["wall"],
                style["trim"],
                pitch_m=float(style["pitch_m"]),
                storey_m=storey,
                height_m=height_m - foot_m,
                window_share=float(style["window_share"]),
                style=int(style.get("facade", FACADE_PLASTER)),
                length_m=length,
                seed=thing.seed % 997 + i,
            )
        )
    mesh = walls(outline, height_m - foot_m, surfaces)
    return mesh if foot_m == 0 else mesh.moved(_shift(z=foot_m))


def _shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Floats:
    move = np.eye(4)
    move[:3, 3] = (x, y, z)
    return move


def _plain(color: tuple[float, float, float], thing: Thing, strength: float = 0.25) -> Surface:
    return Surface(Material.PLAIN, color, seed=thing.seed % 997, p=(strength, 0.3))


def _plinth(thing: Thing, outline: Floats) -> Mesh:
    return walls(outline, 0.0, _plain(_CONCRETE, thing), -FOUNDATION_M)


def _roof_surface(thing: Thing) -> Surface:
    return Surface(Material.ROOF, thing.style["roof_color"], seed=thing.seed % 997, p=(0.9,))


def _pitched(
    thing: Thing, length: float, width: float, foot_m: float, rise_m: float, hip_m: float, eaves_m: float = _EAVES_M
) -> Mesh:
    """A roof with its ridge along x: gabled where `hip_m` is 0, else its ends slope over that length."""
    drop = eaves_m * rise_m / (0.5 * width)
    half_w = 0.5 * width + eaves_m
    half_l = 0.5 * length + eaves_m
    low, high = foot_m - drop, foot_m + rise_m
    ridge = half_l - hip_m if hip_m > 0 else half_l
    slope = math.hypot(half_w, high - low)
    tiles, trim = _roof_surface(thing), _plain(thing.style["trim"], thing)
    quad = [[0, 1, 2], [0, 2, 3]]
    parts = []
    for turn in (1.0, -1.0):  # front, then the same turned half round
        spin = (turn, turn, 1.0)
        corners = (
            np.array([[-half_l, -half_w, low], [half_l, -half_w, low], [ridge, 0, high], [-ridge, 0, high]]) * spin
        )
        texture = np.array([[-half_l, 0, turn], [half_l, 0, turn], [ridge, slope, turn], [-ridge, slope, turn]])
        parts.append(flat(corners, quad, tiles, texture))
        if hip_m > 0:
            end = np.array([[half_l, -half_w, low], [half_l, half_w, low], [ridge, 0, high]]) * spin
            parts.append(flat(end, [[0, 1, 2]], tiles, [[-half_w, 0, 2], [half_w, 0, 2], [0, slope, 2]]))
            continue
        under = corners - (0.0, 0.0, 0.16)
        rims = [[0, 4, 5], [0, 5, 1], [1, 5, 6], [1, 6, 2], [3, 7, 4], [3, 4, 0], [7, 6, 5], [7, 5, 4]]
        parts.append(flat(np.vstack([corners, under]), rims, trim))
        x, y = 0.5 * length * turn, 0.5 * width * turn
        wall = _plain(thing.style.get("gable", thing.style["wall"]), thing, 0.2)
        parts.append(flat([[x, -y, foot_m], [x, y, foot_m], [x, 0, high - 0.02]], [[0, 1, 2]], wall))
    if hip_m > 0:
        brim = [[-half_l, half_w, low], [half_l, half_w, low], [half_l, -half_w, low], [-half_l, -half_w, low]]
        parts.append(flat(brim, quad, trim))
    return merge(parts)


def _flat_roof(thing: Thing, length: float, width: float, height_m: float, x: float = 0.0, y: float = 0.0) -> Mesh:
    """A lid with a low parapet whose top overhangs a little: the cornice."""
    gravel = _plain((0.25, 0.24, 0.23), thing, 0.4)
    trim = _plain(thing.style["trim"], thing)
    lid = fan(np.column_stack([_rectangle(length, width, x, y), np.full(4, height_m - 0.1)]), gravel)
    t, h = 0.35, 0.7
    parts = [lid]
    for sx, sy, cx, cy in (
        (length + 0.4, t, 0.0, -0.5 * width + 0.5 * t - 0.2),
        (length + 0.4, t, 0.0, 0.5 * width - 0.5 * t + 0.2),
        (t, width - 2 * t + 0.4, -0.5 * length + 0.5 * t - 0.2, 0.0),
        (t, width - 2 * t + 0.4, 0.5 * length - 0.5 * t + 0.2, 0.0),
    ):
        parts.append(box((sx, sy, h), trim, (x + cx, y + cy, height_m - 0.1)))
    return merge(parts)


def _chimneys(thing: Thing, stream: Stream, length: float, top_m: float, count: int) -> list[Mesh]:
    brick = _plain((0.30, 0.15, 0.10), thing, 0.4)
    return [
        box((0.8, 0.6, 1.8), brick, (stream.uniform(-0.38, 0.38) * length, stream.uniform(0.3, 0.9), top_m))
        for _ in range(count)
    ]


def block(thing: Thing) -> Mesh:
    """A town house of a row, or offices; style `balconies`, `awning`, `bays`: rows of them on the front."""
    length, width, height = thing.size
    style, stream = thing.style, Stream(thing.seed, "block")
    roof = style.get("roof", "flat")
    eaves = height if roof == "flat" else height - (2.6 if roof == "mansard" else 0.28 * width)
    outline = _rectangle(length, width)
    parts = [_plinth(thing, outline), _facades(thing, outline, 0.0, eaves)]
    if roof == "flat":
        parts.append(_flat_roof(thing, length, width, eaves))
        if stream.chance(0.6):
            size = (stream.uniform(2.5, 4.5), stream.uniform(2.5, 4.0), 2.4)
            where = (stream.uniform(-0.3, 0.3) * length, stream.uniform(0.0, 0.25) * width, eaves + 1.1)
            parts.append(box(size, _plain(style["wall"], thing), where))
    elif roof == "mansard":
        parts.append(_mansard(thing, length, width, eaves, height - 0.6))
    else:
        parts.append(_pitched(thing, length, width, eaves, height - eaves, 0.0, 0.0 if roof == "party" else 0.3))
        parts += _chimneys(thing, stream, length, height - 0.3, 2)
    parts.append(_cornice(thing, length, width, eaves))
    front = -0.5 * width
    storey, pitch = float(style["storey_m"]), float(style["pitch_m"])
    columns, storeys = max(1, int(length / pitch)), max(1, int(eaves / storey))
    if style.get("awning"):
        cloth = Surface(Material.STRIPED, style["awning"], (0.7, 0.68, 0.62), p=(0.8,))
        low, high, reach = 2.5, 3.1, 1.1
        x0, x1 = -0.42 * length, 0.42 * length
        corners = [[x0, front - reach, low], [x1, front - reach, low], [x1, front, high], [x0, front, high]]
        parts.append(flat(corners, [[0, 1, 2], [0, 2, 3]], cloth))
        parts.append(flat(corners, [[2, 1, 0], [3, 2, 0]], cloth))
    if style.get("balconies"):
        slab, rail = _plain(style["trim"], thing), Surface(Material.METAL, style["trim"], p=(0.2,))
        first = 1 + stream.integer(0, 2)
        step = 2 if columns > 3 else 1
        for floor in range(first, min(storeys, first + 4)):
            for column in range(stream.integer(0, step), columns, step)[:3]:
                x = (column + 0.5) / columns * length - 0.5 * length
                z = floor * storey
                parts.append(box((0.8 * pitch, 1.0, 0.15), slab, (x, front - 0.5, z)))
                parts.append(box((0.8 * pitch, 0.06, 0.95), rail, (x, front - 0.95, z + 0.5)))
    if style.get("bays") and columns > 2:
        for column in range(0, columns, 3)[:2]:
            x = (column + 0.5) / columns * length - 0.5 * length
            bay = _rectangle(0.8 * pitch, 0.9, x, front - 0.45)
            parts.append(_facades(thing, bay, storey, eaves - 0.5))
            parts.append(fan(np.column_stack([bay, np.full(4, eaves - 0.5)]), _plain(style["trim"], thing)))
            parts.append(fan(np.column_stack([bay[::-1], np.full(4, storey)]), _plain(style["trim"], thing)))
    return merge(parts)


def _cornice(thing: Thing, length: float, width: float, height_m: float) -> Mesh:
    band = _plain(thing.style["trim"], thing)
    return merge(
        [box((length, 0.3, 0.35), band, (0, side * (0.5 * width + 0.13), height_m - 0.45)) for side in (-1, 1)]
    )


def _mansard(thing: Thing, length: float, width: float, foot_m: float, top_m: float) -> Mesh:
    """Steep roof faces towards street and yard, a flat lid, upright party walls."""
    y0, y1 = 0.5 * width + 0.2, 0.5 * width - 1.2
    x = 0.5 * length
    tiles, wall = _roof_surface(thing), _plain(thing.style["wall"], thing)
    slope = math.hypot(y0 - y1, top_m - foot_m)
    texture = [[-x, 0, 0], [x, 0, 0], [x, slope, 0], [-x, slope, 0]]
    quad = [[0, 1, 2], [0, 2, 3]]
    front = flat([[-x, -y0, foot_m], [x, -y0, foot_m], [x, -y1, top_m], [-x, -y1, top_m]], quad, tiles, texture)
    back = flat([[x, y0, foot_m], [-x, y0, foot_m], [-x, y1, top_m], [x, y1, top_m]], quad, tiles, texture)
    lid = flat([[-x, -y1, top_m], [x, -y1, top_m], [x, y1, top_m], [-x, y1, top_m]], quad, wall)
    right = flat([[x, -y0, foot_m], [x, y0, foot_m], [x, y1, top_m], [x, -y1, top_m]], quad, wall)
    left = flat([[-x, y0, foot_m], [-x, -y0, foot_m], [-x, -y1, top_m], [-x, y1, top_m]], quad, wall)
    parts = [front, back, lid, right, left]
    trim, glass = _plain(thing.style["trim"], thing), Surface(Material.GLASS, (0.08, 0.09, 0.1))
    count = min(5, max(1, int(length / (1.6 * float(thing.style["pitch_m"])))))
    for k in range(count):  # dormers
        cx = ((k + 0.5) / count - 0.5) * length
        parts.append(box((1.3, 1.4, 1.5), trim, (cx, -y0 + 0.95, foot_m + 1.0)))
        face = -y0 + 0.25 - 0.02
        pane = [[cx - 0.45, face, foot_m + 0.45], [cx + 0.45, face, foot_m + 0.45], [cx + 0.45, face, foot_m + 1.55],
                [cx - 0.45, face, foot_m + 1.55]]  # fmt: skip
        parts.append(flat(pane, quad, glass))
    return merge(parts)


def tower(thing: Thing) -> Mesh:
    """A high-rise, with `steps` setbacks towards its top and a mast or plant room."""
    length, width, height = thing.size
    stream = Stream(thing.seed, "tower")
    steps = int(thing.style.get("steps", 1))
    parts, foot = [_plinth(thing, _rectangle(length, width))], 0.0
    share = 1.0
    for step in range(steps):
        top = height if step == steps - 1 else foot + (height - foot) * stream.uniform(0.35, 0.65)
        outline = _rectangle(share * length, share * width)
        parts.append(_facades(thing, outline, foot, top))
        parts.append(_flat_roof(thing, share * length, share * width, top))
        foot, share = top - 0.1, share * stream.uniform(0.6, 0.8)
    room = (0.35 * share * length, 0.35 * share * width, 3.0)
    parts.append(box(room, _plain(thing.style["trim"], thing), (0, 0, height + 1.0)))
    if thing.style.get("mast"):
        steel = Surface(Material.METAL, (0.4, 0.4, 0.4))
        parts.append(tube((0, 0, height), (0, 0, height + 0.2 * height), 0.35, steel, 0.12, sides=5))
    return merge(parts)


def house(thing: Thing) -> Mesh:
    """A dwelling with a pitched roof; style `wing`: a cross gable to the front, `porch`, `dormer`, `chimneys`."""
    length, width, height = thing.size
    style, stream = thing.style, Stream(thing.seed, "house")
    rise = float(style["rise_m"])
    eaves = height - rise
    outline = _rectangle(length, width)
    parts = [_plinth(thing, outline), _facades(thing, outline, 0.0, eaves)]
    hip = 0.45 * width if style.get("roof") == "hip" else 0.0
    parts.append(_pitched(thing, length, width, eaves, rise, hip))
    wing_x = 0.0
    if style.get("wing"):
        span, reach = 0.38 * length, 1.6
        wing_x = (0.5 * length - 0.5 * span - 0.3) * (1 if thing.seed % 2 else -1)
        front = -0.5 * width - reach
        depth = reach + 0.5 * width  # runs back to the ridge
        wing_rise = rise * span / width
        outline = _rectangle(span, depth, wing_x, front + 0.5 * depth)
        parts += [_plinth(thing, outline), _facades(thing, outline, 0.0, eaves)]
        cap = _pitched(thing, depth, span, eaves, wing_rise, 0.0, 0.3)
        turn = np.array([[0.0, -1, 0, wing_x], [1, 0, 0, front + 0.5 * depth], [0, 0, 1, 0], [0, 0, 0, 1]])
        parts.append(cap.moved(turn))
    door_x = -wing_x * 0.6 if wing_x else stream.uniform(-0.2, 0.2) * length
    face = -0.5 * width
    parts.append(box((1.05, 0.12, 2.1), _plain(style["door"], thing), (door_x, face - 0.04, 1.05)))
    parts.append(box((1.6, 1.2, 0.16), _plain(_CONCRETE, thing), (door_x, face - 0.6, 0.06)))
    parts.append(box((1.6, 1.2, 1.2), _plain(_CONCRETE, thing), (door_x, face - 0.6, -0.62)))
    if style.get("porch"):
        trim = _plain(style["trim"], thing)
        parts.append(box((2.4, 1.4, 0.18), trim, (door_x, face - 0.7, 2.5)))
        for side in (-1.05, 1.05):
            parts.append(box((0.14, 0.14, 3.6), trim, (door_x + side, face - 1.25, 0.6)))
    if style.get("dormer"):
        x = stream.uniform(-0.25, 0.25) * length
        slope = rise / (0.5 * width)
        z = eaves + 0.35 * rise
        y = -0.5 * width + (z - eaves) / slope
        parts.append(box((1.8, 2.0, 1.3), _plain(style["wall"], thing), (x, y + 0.7, z + 0.45)))
        parts.append(box((2.1, 2.3, 0.14), _roof_surface(thing), (x, y + 0.65, z + 1.15)))
        pane = [
            [x - 0.6, y - 0.32, z],
            [x + 0.6, y - 0.32, z],
            [x + 0.6, y - 0.32, z + 0.95],
            [x - 0.6, y - 0.32, z + 0.95],
        ]
        parts.append(flat(pane, [[0, 1, 2], [0, 2, 3]], Surface(Material.GLASS, (0.08, 0.09, 0.1))))
    parts += _chimneys(thing, stream, length, height - 0.2 * rise, int(style.get("chimneys", 1)))
    return merge(parts)


def garage(thing: Thing) -> Mesh:
    """A small building with a wide door in its front."""
    length, width, height = thing.size
    outline = _rectangle(length, width)
    parts = [_plinth(thing, outline), _facades(thing, outline, 0.0, height, bare=True)]
    if thing.style.get("roof") == "gable":
        parts.append(_pitched(thing, length, width, height, 0.3 * width, 0.0, 0.25))
    else:
        parts.append(box((length + 0.3, width + 0.3, 0.25), _plain(thing.style["trim"], thing), (0, 0, height)))
    door = _plain(thing.style["door"], thing)
    parts.append(box((min(2.6, 0.8 * length), 0.1, 2.1), door, (0, -0.5 * width - 0.02, 1.05)))
    return merge(parts)


def barn(thing: Thing) -> Mesh:
    """A big shed of boards with a gate, few windows and a wide roof."""
    length, width, height = thing.size
    eaves = height - float(thing.style["rise_m"])
    outline = _rectangle(length, width)
    boards = Surface(Material.STRIPED, thing.style["wall"], thing.style["gable"], thing.seed % 997, (1.2,))
    parts = [_plinth(thing, outline), walls(outline, eaves, boards)]
    parts.append(_pitched(thing, length, width, eaves, height - eaves, 0.0, 0.6))
    gate = _plain(thing.style["door"], thing)
    parts.append(
        box((4.0, 0.12, min(3.8, 0.85 * eaves)), gate, (0.1 * length, -0.5 * width - 0.03, min(1.9, 0.42 * eaves)))
    )
    parts.append(box((0.12, 3.4, min(3.8, 0.85 * eaves)), gate, (0.5 * length + 0.03, 0, min(1.9, 0.42 * eaves))))
    return merge(parts)


def silo(thing: Thing) -> Mesh:
    """A round store with a domed lid."""
    diameter, _, height = thing.size
    steel = Surface(Material.METAL, thing.style["wall"], p=(0.4,))
    radius = 0.5 * diameter
    body = tube((0, 0, -FOUNDATION_M), (0, 0, height - 0.6 * radius), radius, steel, sides=14)
    cap = tube((0, 0, height - 0.6 * radius), (0, 0, height), 1.03 * radius, steel, 0.12 * radius, sides=14)
    return merge([body, cap])


def hall(thing: Thing) -> Mesh:
    """A long flat-roofed hall of a works or a store, with gates and a band of color; far sides have them too."""
    length, width, height = thing.size
    outline = _rectangle(length, width)
    parts = [_plinth(thing, outline), _facades(thing, outline, 0.0, height)]
    parts.append(_flat_roof(thing, length, width, height))
    band, gate = _plain(thing.style["band"], thing, 0.1), _plain(thing.style["door"], thing)
    for side in (-1, 1):
        parts.append(box((length + 0.1, 0.1, 1.0), band, (0, side * (0.5 * width + 0.02), height - 1.2)))
        parts.append(box((0.1, width + 0.1, 1.0), band, (side * (0.5 * length + 0.02), 0, height - 1.2)))
    gates = min(4, int(length / 9.0))
    for k in range(gates):
        x = ((k + 0.5) / gates - 0.5) * 0.8 * length
        parts.append(box((3.6, 0.12, 3.8), gate, (x, -0.5 * width - 0.04, 1.9)))
    return merge(parts)


def church(thing: Thing) -> Mesh:
    """A nave with a steep roof and a spire: a landmark."""
    length, width, height = thing.size
    eaves = 0.30 * height
    side = 0.7 * width
    nave_l = length - side
    x = 0.5 * side
    outline = _rectangle(nave_l, width)
    parts = [_plinth(thing, outline), _facades(thing, outline, 0.0, eaves)]
    parts.append(_pitched(thing, nave_l, width, eaves, 0.75 * width, 0.0, 0.4))
    nave = merge(parts).moved(_shift(x=x))
    base = _rectangle(side, side, -0.5 * length + 0.5 * side)
    shaft = 0.58 * height
    tip = [-0.5 * length + 0.5 * side, 0.0, height]
    ring = np.column_stack([_rectangle(side + 0.5, side + 0.5, tip[0]), np.full(4, shaft)])
    spire = flat(np.vstack([ring, [tip]]), [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], _roof_surface(thing))
    lid = flat(ring[::-1], [[0, 1, 2], [0, 2, 3]], _plain(thing.style["trim"], thing))
    return merge([nave, _plinth(thing, base), _facades(thing, base, 0.0, shaft, bare=True), spire, lid])


def turbine(thing: Thing) -> Mesh:
    """A wind turbine that stands still; size: rotor's diameter, 4 m, height of the hub."""
    rotor, _, hub = thing.size
    white = Surface(Material.PLAIN, (0.7, 0.71, 0.72), p=(0.05,))
    parts = [
        tube((0, 0, -FOUNDATION_M), (0, 0, hub), 2.0, white, 1.1, sides=8),
        box((3.0, 8.0, 3.0), white, (0, 1.0, hub)),
    ]
    turn = (thing.seed % 120) * math.pi / 180
    for k in range(3):
        angle = turn + 2 * math.pi * k / 3
        end = (0.5 * rotor * math.cos(angle), -3.6, hub + 0.5 * rotor * math.sin(angle))
        parts.append(tube((0, -3.6, hub), end, 1.2, white, 0.3, sides=4))
    return merge(parts)


def pylon(thing: Thing) -> Mesh:
    """A lattice mast of a power line, drawn as its four legs and arms; wires are finer than a pixel."""
    span, _, height = thing.size
    steel = Surface(Material.METAL, (0.25, 0.26, 0.27), p=(0.2,))
    parts = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot = (2.6 * sx, 2.6 * sy, -FOUNDATION_M)
            parts.append(tube(foot, (0.3 * sx, 0.3 * sy, height), 0.22, steel, 0.14, sides=4))
    for share, reach in ((0.62, 0.5), (0.77, 0.42), (0.92, 0.3)):
        parts.append(box((2 * reach * span, 0.4, 0.4), steel, (0, 0, share * height)))
    for share in (0.2, 0.42):
        spread = 2.6 * (1 - share) + 0.3 * share
        parts.append(box((2 * spread, 0.2, 0.2), steel, (0, -spread, share * height)))
        parts.append(box((0.2, 2 * spread, 0.2), steel, (spread, 0, share * height)))
    return merge(parts)
