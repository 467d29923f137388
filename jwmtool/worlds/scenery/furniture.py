"""What stands along roads: lamps, traffic lights, signs, rails, fences, walls, benches, shelters and the like.

In a thing's own frame the side that is looked at faces -y (signs: towards the traffic that reads them), and rails,
fences and walls run along x. Style keys are named at each builder; colors are linear reflectances.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import Thing
from jwmtool.worlds.shapes.mesh import Mesh, box, ellipsoid, fan, flat, merge, tube
from jwmtool.worlds.shapes.surfaces import (
    SIGN_DIRECTION,
    SIGN_STOP,
    SIGN_WARNING,
    Material,
    Surface,
)

Floats = NDArray[np.float64]
Color = tuple[float, float, float]

_ROOT_M = 0.4  # posts go into the ground
_GREY: Color = (0.35, 0.36, 0.37)
_DARK: Color = (0.03, 0.03, 0.035)
_LENSES: tuple[Color, ...] = ((1.0, 0.06, 0.03), (1.0, 0.45, 0.02), (0.05, 0.95, 0.45))


def _metal(color: Color, strength: float = 0.1) -> Surface:
    return Surface(Material.METAL, color, p=(strength,))


def _plain(thing: Thing, color: Color, strength: float = 0.3) -> Surface:
    return Surface(Material.PLAIN, color, seed=thing.seed % 997, p=(strength, 0.25))


def _post(x: float, y: float, top: float, radius: float, surface: Surface, sides: int = 6) -> Mesh:
    return tube((x, y, -_ROOT_M), (x, y, top), radius, surface, sides=sides)


def lamp_arms(thing: Thing) -> Floats:
    """[n, 3] where a lamp's heads are, in its own frame; style `arm_m`: reach, `arms`: 1 (to -y) or 2 (both ways)."""
    reach, height = float(thing.style["arm_m"]), thing.size[2]
    heads = [[0.0, -reach, height - 0.08]]
    if int(thing.style.get("arms", 1)) == 2:
        heads.append([0.0, reach, height - 0.08])
    return np.array(heads)


def lamp(thing: Thing) -> Mesh:
    """A street lamp; style `color`, `arm_m`, `arms`; without an arm a lantern on top of the post."""
    height = thing.size[2]
    steel = _metal(thing.style["color"])
    light = Surface(Material.LAMP, (1.0, 0.82, 0.55), (0.6, 0.6, 0.58), p=(0.0, 6.0))
    parts = [tube((0, 0, -_ROOT_M), (0, 0, height), 0.1, steel, 0.06, sides=6)]
    if float(thing.style["arm_m"]) < 0.2:
        parts.append(tube((0, 0, height - 0.55), (0, 0, height - 0.1), 0.14, light, 0.22, sides=6))
        parts.append(tube((0, 0, height - 0.1), (0, 0, height + 0.1), 0.28, steel, 0.05, sides=6))
        return merge(parts)
    for head in lamp_arms(thing):
        y = float(head[1])
        parts.append(tube((0, 0, height - 0.3), (0, y, height), 0.05, steel, sides=4))
        parts.append(box((0.3, 0.75, 0.12), steel, (0, y, height + 0.02)))
        parts.append(box((0.24, 0.6, 0.05), light, (0, y, height - 0.06)))
    return merge(parts)


def _signal_head(x: float, y: float, low: float, group: int, housing: Surface) -> list[Mesh]:
    """Three lenses in a housing whose face looks to -y."""
    parts = [box((0.36, 0.22, 1.0), housing, (x, y, low + 0.5))]
    angle = 2.0 * math.pi * np.arange(10) / 10
    for lens in range(3):
        z = low + 0.82 - 0.32 * lens
        ring = np.stack([x + 0.12 * np.cos(angle), np.full(10, y - 0.13), z + 0.12 * np.sin(angle)], 1)
        parts.append(fan(ring, Surface(Material.SIGNAL, _LENSES[lens], p=(float(group), float(lens)))))
        parts.append(box((0.3, 0.2, 0.03), housing, (x, y - 0.2, z + 0.14)))
    return parts


def signal(thing: Thing) -> Mesh:
    """A traffic light; style `group`, `arm_m`: reach over the road (to -x, the left of who reads it), 0 without."""
    height, arm, group = thing.size[2], float(thing.style["arm_m"]), int(thing.style["group"])
    steel, housing = _metal(thing.style["color"]), _plain(thing, thing.style.get("housing", _DARK), 0.1)
    low = min(height - 1.0, 2.3)
    parts = [_post(0, 0, height, 0.08, steel), *_signal_head(0, -0.2, low, group, housing)]
    if arm > 0:
        parts.append(tube((0, 0, height - 0.1), (-arm, 0, height), 0.07, steel, 0.05, sides=6))
        parts.append(box((0.6, 0.03, 1.25), housing, (-arm, -0.06, height - 0.55)))
        parts += _signal_head(-arm, -0.2, height - 1.05, group, housing)
    return merge(parts)


def _plate(kind: int, half: float, z: float, front: Surface, back: Surface, aspect: float = 1.0) -> list[Mesh]:
    """A sign's plate in the plane y = -0.08; `half` its half size (of a direction sign: its half width)."""
    if kind == SIGN_WARNING:
        outline = np.array([[-0.5 * math.sqrt(3), -0.5], [0.5 * math.sqrt(3), -0.5], [0.0, 1.0]]) * half
    elif kind == SIGN_DIRECTION:
        outline = np.array([[-1, -aspect], [1, -aspect], [1, aspect], [-1, aspect]]) * half
    else:
        sides = 8 if kind == SIGN_STOP else 18
        angle = 2.0 * math.pi * (np.arange(sides) + 0.5) / sides
        outline = np.stack([np.cos(angle), np.sin(angle)], 1) * half
    count = len(outline)
    points = np.stack([outline[:, 0], np.full(count, -0.08), outline[:, 1] + z], 1)
    texture = np.column_stack([outline, np.zeros(count)])
    middle = np.array([[0.0, -0.08, z]])
    i, j, m = np.arange(count), (np.arange(count) + 1) % count, np.full(count, count)
    corners = np.vstack([points, middle])
    face = flat(corners, np.stack([i, j, m], 1), front, np.vstack([texture, np.zeros((1, 3))]))
    rear = flat(corners + np.array([0.0, 0.04, 0.0]), np.stack([j, i, m], 1), back)
    rim = np.vstack([points, points + np.array([0.0, 0.04, 0.0])])
    edge = flat(rim, np.concatenate([np.stack([i, i + count, j], 1), np.stack([j, i + count, j + count], 1)]), back)
    return [face, rear, edge]


def sign(thing: Thing) -> Mesh:
    """A sign on a post; style `sign` (SIGN_*), `half_m`, `color`, `rim`, `aspect` (height to width) if it directs."""
    kind, half, height = int(thing.style["sign"]), float(thing.style["half_m"]), thing.size[2]
    aspect = float(thing.style.get("aspect", 1.0))
    front = Surface(
        Material.SIGN, thing.style["color"], thing.style["rim"], thing.seed % 997, (float(kind), half, aspect)
    )
    steel = _metal(_GREY)
    rise = aspect * half if kind == SIGN_DIRECTION else half
    z = height - rise
    parts = _plate(kind, half, z, front, steel, aspect)
    if kind == SIGN_DIRECTION and half > 0.8:
        parts += [_post(side * 0.7 * half, 0, height - 0.1, 0.06, steel) for side in (-1, 1)]
    else:
        parts.append(_post(0, 0, height - 0.05, 0.04, steel))
    return merge(parts)


def gantry(thing: Thing) -> Mesh:
    """A sign bridge, size (span, depth, height); style `boards` [(x, half, aspect), ...], `color`, `rim`."""
    span, _, height = thing.size
    steel = _metal((0.42, 0.43, 0.44))
    parts = [_post(side * 0.5 * span, 0, height, 0.22, steel) for side in (-1, 1)]
    for z in (height - 0.2, height - 1.3):
        parts.append(box((span, 0.25, 0.25), steel, (0, 0, z)))
    for x, half, aspect in thing.style["boards"]:
        surface = Surface(
            Material.SIGN,
            thing.style["color"],
            thing.style["rim"],
            thing.seed % 997,
            (float(SIGN_DIRECTION), half, aspect),
        )
        move = np.eye(4)
        move[:3, 3] = (x, -0.12, 0.0)
        z = height - 0.75
        parts += [part.moved(move) for part in _plate(SIGN_DIRECTION, half, z, surface, steel, aspect)]
    return merge(parts)


def rail(thing: Thing) -> Mesh:
    """A guard rail on posts along x; its beam bulges to -y."""
    length, _, height = thing.size
    steel = _metal(thing.style["color"], 0.15)
    half = 0.5 * length
    profile = [(-0.02, 0.0), (-0.10, 0.04), (-0.10, 0.12), (-0.05, 0.16), (-0.10, 0.20), (-0.10, 0.28), (-0.02, 0.32)]
    points = np.array([[[x, y, height - 0.32 + z] for y, z in profile] for x in (-half, half)])
    index = np.arange(2 * len(profile)).reshape(2, -1)
    a, b, c, d = index[0, :-1], index[1, :-1], index[1, 1:], index[0, 1:]
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    beam = flat(points.reshape(-1, 3), faces, steel)
    rear = box((length, 0.02, 0.32), steel, (0, -0.01, height - 0.16))
    count = max(1, round(length / 4.0))
    posts = [
        box(
            (0.08, 0.12, height + _ROOT_M - 0.05),
            steel,
            ((k + 0.5) / count * length - half, 0.06, 0.5 * (height - _ROOT_M)),
        )
        for k in range(count)
    ]
    return merge([beam, rear, *posts])


def barrier(thing: Thing) -> Mesh:
    """A concrete barrier along x with sloping feet."""
    length, width, height = thing.size
    half = 0.5 * width
    side = [(half, -_ROOT_M), (half, 0.08), (0.62 * half, 0.33), (0.36 * half, height)]
    profile = side + [(-y, z) for y, z in reversed(side)]
    points = np.array([[[x, y, z] for y, z in profile] for x in (-0.5 * length, 0.5 * length)])
    return _extruded(points, _plain(thing, thing.style["color"], 0.2))


def _extruded(points: Floats, surface: Surface) -> Mesh:
    """A bar through two like outlines [2, P, 3], at low and high x, running from +y over the top to -y; ends closed."""
    count = points.shape[1]
    index = np.arange(2 * count).reshape(2, count)
    a, b, c, d = index[0, :-1], index[1, :-1], index[1, 1:], index[0, 1:]
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    lids = [flat(points[1], _lid(count), surface), flat(points[0], _lid(count)[:, ::-1], surface)]
    return merge([flat(points.reshape(-1, 3), faces, surface), *lids])


def _lid(count: int) -> NDArray[np.int64]:
    """Ladder of triangles over a symmetric outline."""
    faces = []
    for k in range(count // 2 - 1):
        a, b, c, d = k, k + 1, count - 2 - k, count - 1 - k
        faces += [[a, b, c], [a, c, d]]
    return np.array(faces)


def wall(thing: Thing) -> Mesh:
    """A wall along x with a coping: of gardens, yards, or (high, `panels`) against a motorway's noise."""
    length, width, height = thing.size
    body = Surface(Material.STRIPED, thing.style["color"], thing.style["color2"], thing.seed % 997, (4.0,))
    if not thing.style.get("panels"):
        body = _plain(thing, thing.style["color"], 0.35)
    coping = _plain(thing, thing.style["color2"])
    parts = [box((length, width, height + 1.0), body, (0, 0, 0.5 * (height - 1.0)))]
    parts.append(box((length, width + 0.1, 0.1), coping, (0, 0, height)))
    if thing.style.get("panels"):
        steel = _metal(_GREY)
        count = max(1, round(length / 4.0))
        for k in range(count):
            parts.append(
                box((0.25, width + 0.16, height + 0.8), steel, ((k / count - 0.5) * length, 0, 0.5 * height - 0.4))
            )
    return merge(parts)


def fence(thing: Thing) -> Mesh:
    """A fence along x; style `fence`: boards (closed), pickets, rails (pasture), wire."""
    length, _, height = thing.size
    kind, wood = thing.style["fence"], _plain(thing, thing.style["color"], 0.4)
    spacing = {"boards": 2.4, "pickets": 2.4, "rails": 3.0, "wire": 4.0}[kind]
    count = max(1, round(length / spacing))
    thick = 0.1 if kind != "wire" else 0.08
    parts = []
    for k in range(count):
        x = (k / count - 0.5) * length + 0.5 * thick
        parts.append(box((thick, thick, height + _ROOT_M), wood, (x, 0, 0.5 * (height - _ROOT_M))))
    if kind == "boards":
        boards = Surface(Material.STRIPED, thing.style["color"], thing.style["color2"], thing.seed % 997, (0.7,))
        parts.append(box((length, 0.05, height - 0.05), boards, (0, 0, 0.5 * height)))
    elif kind == "pickets":
        pitch = max(0.45, length / 22.0)  # wide pales: narrow ones would be finer than a pixel
        pales = max(1, round(length / pitch))
        for k in range(pales):
            x = ((k + 0.5) / pales - 0.5) * length
            parts.append(box((0.6 * pitch, 0.04, height - 0.12), wood, (x, -0.06, 0.5 * height)))
        parts.append(box((length, 0.05, 0.1), wood, (0, 0, 0.75 * height)))
    else:
        bars = (0.45, 0.7, 0.95) if kind == "rails" else (0.5, 0.9)
        thick = 0.11 if kind == "rails" else 0.03
        parts += [box((length, 0.05, thick), wood, (0, 0, share * height)) for share in bars]
    return merge(parts)


def bench(thing: Thing) -> Mesh:
    """A seat with a back."""
    length, width, height = thing.size
    wood, steel = _plain(thing, thing.style["color"]), _metal(thing.style["metal"])
    parts = [
        box((length, 0.8 * width, 0.06), wood, (0, 0, 0.45)),
        box((length, 0.06, 0.4), wood, (0, 0.4 * width, height - 0.2)),
    ]
    for side in (-1, 1):
        parts.append(box((0.08, 0.7 * width, 0.45), steel, (side * 0.42 * length, 0, 0.22)))
        parts.append(box((0.08, 0.06, height), steel, (side * 0.42 * length, 0.42 * width, 0.5 * height)))
    return merge(parts)


def bin_(thing: Thing) -> Mesh:
    """A litter bin."""
    diameter, _, height = thing.size
    body = _plain(thing, thing.style["color"], 0.15)
    lid = _metal(_DARK)
    return merge(
        [
            tube((0, 0, -0.1), (0, 0, height - 0.12), 0.42 * diameter, body, 0.48 * diameter, sides=10),
            tube((0, 0, height - 0.12), (0, 0, height), 0.5 * diameter, lid, 0.3 * diameter, sides=10),
        ]
    )


def bollard(thing: Thing) -> Mesh:
    """A short post with a bright band."""
    diameter, _, height = thing.size
    steel, band = _metal(thing.style["color"]), _plain(thing, (0.75, 0.74, 0.7), 0.05)
    radius = 0.5 * diameter
    return merge(
        [
            _post(0, 0, height, radius, steel, 8),
            tube((0, 0, 0.7 * height), (0, 0, 0.85 * height), 1.04 * radius, band, sides=8),
        ]
    )


def delineator(thing: Thing) -> Mesh:
    """A white roadside post with a black band and a reflector that faces -y."""
    width, depth, height = thing.size
    white, black = _plain(thing, (0.8, 0.8, 0.78), 0.05), _plain(thing, _DARK, 0.05)
    amber = Surface(Material.LAMP, (0.9, 0.5, 0.1), (0.5, 0.3, 0.1), p=(0.4, 0.6))
    return merge(
        [
            box((width, depth, height + _ROOT_M), white, (0, 0, 0.5 * (height - _ROOT_M))),
            box((1.06 * width, 1.06 * depth, 0.22), black, (0, 0, height - 0.26)),
            box((0.05, 0.02, 0.16), amber, (0, -0.55 * depth, height - 0.26)),
        ]
    )


def hydrant(thing: Thing) -> Mesh:
    """A hydrant with two outlets."""
    diameter, _, height = thing.size
    paint = Surface(Material.CAR_PAINT, thing.style["color"])
    radius = 0.36 * diameter
    return merge(
        [
            tube((0, 0, -0.1), (0, 0, 0.75 * height), radius, paint, sides=8),
            ellipsoid((0, 0, 0.75 * height), (1.1 * radius, 1.1 * radius, 0.25 * height), paint, 1),
            tube((-0.5 * diameter, 0, 0.55 * height), (0.5 * diameter, 0, 0.55 * height), 0.4 * radius, paint, sides=6),
        ]
    )


def column(thing: Thing) -> Mesh:
    """An advertising column plastered with posters."""
    diameter, _, height = thing.size
    posters = Surface(Material.STRIPED, thing.style["color"], thing.style["color2"], thing.seed % 997, (0.9,))
    radius, cap = 0.45 * diameter, _plain(thing, thing.style["metal"])
    return merge(
        [
            tube((0, 0, -0.2), (0, 0, 0.4), 1.05 * radius, cap, sides=12),
            tube((0, 0, 0.4), (0, 0, 0.86 * height), radius, posters, sides=12),
            tube((0, 0, 0.86 * height), (0, 0, height), 1.1 * radius, cap, 0.2 * radius, sides=12),
        ]
    )


def cabinet(thing: Thing) -> Mesh:
    """A switch box."""
    length, width, height = thing.size
    body, lid = _plain(thing, thing.style["color"], 0.2), _plain(thing, (0.3, 0.3, 0.3))
    return merge(
        [
            box((length, width, height + 0.2), body, (0, 0, 0.5 * height - 0.1)),
            box((1.05 * length, 1.1 * width, 0.08), lid, (0, 0, height)),
        ]
    )


def shelter(thing: Thing) -> Mesh:
    """A bus shelter: glass at the back and one end, a roof, a bench, a lit poster."""
    length, width, height = thing.size
    steel, glass = _metal(thing.style["color"]), Surface(Material.GLASS, (0.1, 0.12, 0.12))
    poster = Surface(Material.LAMP, thing.style["poster"], thing.style["poster"], p=(0.1, 1.2))
    back, end = 0.42 * width, 0.46 * length
    parts = [
        box((length, width, 0.14), steel, (0, 0, height - 0.07)),
        box((2 * end, 0.04, height - 0.6), glass, (0, back, 0.5 * height + 0.1)),
        box((0.1, 0.7 * width, height - 0.6), poster, (end, 0.05, 0.5 * height + 0.1)),
        box((0.5 * length, 0.4, 0.06), _plain(thing, (0.3, 0.2, 0.12)), (-0.1 * length, 0.2 * width, 0.5)),
        box((0.06, 0.3, 0.5), steel, (-0.3 * length, 0.2 * width, 0.25)),
        box((0.06, 0.3, 0.5), steel, (0.1 * length, 0.2 * width, 0.25)),
    ]
    for x in (-end, 0.0, end):
        parts.append(box((0.08, 0.08, height + _ROOT_M), steel, (x, back, 0.5 * (height - _ROOT_M))))
    return merge(parts)


def power_pole(thing: Thing) -> Mesh:
    """A wooden pole with a cross arm and insulators."""
    span, _, height = thing.size
    wood = _plain(thing, thing.style["color"], 0.4)
    parts = [_post(0, 0, height, 0.14, wood), box((span, 0.12, 0.14), wood, (0, -0.15, height - 0.6))]
    china = _plain(thing, (0.5, 0.5, 0.48), 0.05)
    parts += [box((0.1, 0.1, 0.22), china, (k * 0.42 * span, -0.15, height - 0.42)) for k in (-1, 0, 1)]
    return merge(parts)


def bale(thing: Thing) -> Mesh:
    """A round bale of straw that lies along x."""
    length, diameter, _ = thing.size
    straw = Surface(Material.ROCK, (0.48, 0.36, 0.15), (0.34, 0.25, 0.10), thing.seed % 997, (0.4,))
    radius = 0.5 * diameter
    return tube((-0.5 * length, 0, 0.96 * radius), (0.5 * length, 0, 0.96 * radius), radius, straw, sides=14)


def boulder(thing: Thing) -> Mesh:
    """A stone half in the ground."""
    length, width, height = thing.size
    stone = Surface(Material.ROCK, (0.30, 0.29, 0.27), (0.20, 0.19, 0.17), thing.seed % 997, (0.4,))
    return ellipsoid((0, 0, 0.25 * height), (0.5 * length, 0.5 * width, 0.75 * height), stone, 1)
