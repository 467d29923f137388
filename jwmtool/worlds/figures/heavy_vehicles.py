"""Lorries with a box, articulated lorries, tankers and buses."""

from __future__ import annotations

from jwmtool.worlds.figures.assembly import Assembly
from jwmtool.worlds.figures.car_body import (
    GLASS,
    HEADLAMP,
    PLATE,
    STEEL,
    TAIL_LAMP,
    TRIM,
    Skin,
    body,
    lamp_pair,
    panel,
    pillars,
    rounded_box,
    wheel,
)
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.loft import outline
from jwmtool.worlds.shapes.surfaces import Material, Surface

Color = tuple[float, float, float]
Size = tuple[float, float, float]

CABS: list[Color] = [
    (0.62, 0.62, 0.60), (0.42, 0.04, 0.03), (0.04, 0.11, 0.32), (0.05, 0.20, 0.10), (0.55, 0.36, 0.04),
    (0.06, 0.06, 0.07),
]  # fmt: skip
BOXES: list[Color] = [
    (0.72, 0.72, 0.70), (0.68, 0.67, 0.62), (0.10, 0.22, 0.42), (0.50, 0.10, 0.06), (0.16, 0.34, 0.22),
    (0.62, 0.50, 0.16),
    (0.40, 0.41, 0.42),
]  # fmt: skip
BUSES: list[Color] = [
    (0.58, 0.06, 0.04), (0.66, 0.50, 0.06), (0.05, 0.18, 0.42), (0.66, 0.66, 0.63), (0.10, 0.34, 0.20),
    (0.52, 0.27, 0.05),
]  # fmt: skip
MARK = Surface(Material.PLAIN, (0.55, 0.05, 0.04))


def lorry(size: Size, seed: int) -> Figure:
    """A two-axled lorry: a cab and a box."""
    stream = Stream(seed, "lorry")
    length, _, height = size
    made = Assembly()
    front = 0.5 * length
    _cab(made, front, min(height * 0.86, 2.75), _paint(stream))
    side = Surface(Material.PLAIN, stream.choice(BOXES), seed=stream.integer(0, 1000), p=(0.06, 0.5))
    rear = -0.5 * length
    made.add(rounded_box((rear, -1.22, 1.02), (front - 1.95, 1.22, height), 0.05, side))
    _chassis(made, rear, front - 0.4)
    _rear(made, rear, 1.02)
    for x in (rear + 0.26 * length, front - 1.25):
        _axle(made, x, 0.46, double=x < 0)
    return made.figure(size)


def semi(size: Size, seed: int) -> Figure:
    """A tractor with a long box trailer."""
    stream = Stream(seed, "semi")
    length, _, height = size
    front, rear = 0.5 * length, -0.5 * length
    made = Assembly()
    _cab(made, front, height * 0.95, _paint(stream))
    side = Surface(Material.PLAIN, stream.choice(BOXES), seed=stream.integer(0, 1000), p=(0.06, 0.5))
    made.add(rounded_box((rear, -1.26, 1.15), (front - 2.75, 1.26, height), 0.05, side))
    _chassis(made, rear, front - 0.4)
    _rear(made, rear, 1.15)
    for side_y in (1.2, -1.2):  # skirts between the axles
        made.add(panel((0.36 * length, 0.04, 0.62), (rear + 0.46 * length, side_y, 0.80), TRIM))
    for x in (rear + 1.6, rear + 2.9, rear + 4.2, front - 4.6, front - 1.35):
        _axle(made, x, 0.50, double=True)
    return made.figure(size)


def tanker(size: Size, seed: int) -> Figure:
    """A tractor with a shining tank on its trailer."""
    stream = Stream(seed, "tanker")
    length, _, height = size
    front, rear = 0.5 * length, -0.5 * length
    made = Assembly()
    _cab(made, front, height * 0.96, _paint(stream))
    shell = Surface(Material.METAL, (0.52, 0.53, 0.54), p=(0.1,)) if stream.chance(0.6) else _paint(stream)
    low, end = 1.15, front - 2.8
    mid = 0.5 * (low + height)
    tank = [
        (rear + 0.02, mid + 0.55, rear + 0.02, mid - 0.55, 0.65),
        (rear + 0.10, height - 0.22, rear + 0.10, low + 0.2, 1.05),
        (rear + 0.30, height - 0.04, rear + 0.30, low + 0.02, 1.22), (rear + 0.8, height - 0.02, rear + 0.8, low, 1.25),
        (end - 0.8, height - 0.02, end - 0.8, low, 1.25), (end - 0.30, height - 0.04, end - 0.30, low + 0.02, 1.22),
        (end - 0.10, height - 0.22, end - 0.10, low + 0.2, 1.05), (end, mid + 0.55, end, mid - 0.55, 0.65),
    ]  # fmt: skip
    made.add(outline(tank, shell, between=1, sides=20))
    stripe = Surface(Material.PLAIN, stream.choice(CABS))
    for y in (1.245, -1.245):
        made.add(panel((end - rear - 1.4, 0.05, 0.28), (0.5 * (rear + end), y, mid), stripe))
    made.add(panel((0.62 * (end - rear), 0.5, 0.08), (0.5 * (rear + end), 0.0, height - 0.04), STEEL))
    _chassis(made, rear, front - 0.4)
    _rear(made, rear, 1.05, doors=False)
    for x in (rear + 1.5, rear + 2.8, rear + 4.1, front - 4.5, front - 1.35):
        _axle(made, x, 0.50, double=True)
    return made.figure(size)


def bus(size: Size, seed: int) -> Figure:
    """A city bus: windows all along, doors on the right, a display over the windscreen."""
    stream = Stream(seed, "bus")
    length, _, height = size
    front, rear = 0.5 * length, -0.5 * length
    paint = Surface(Material.CAR_PAINT, stream.choice(BUSES))
    h = height
    skin = Skin(
        (
            (rear, 1.05, 1.20, 0.98, 1.14), (rear + 0.05, 1.12, h - 0.62, 1.02, 1.20),
            (rear + 0.20, 1.15, h - 0.12, 1.06, 1.235),
            (rear + 0.60, 1.15, h - 0.02, 1.10, 1.25), (0.0, 1.12, h, 1.10, 1.25),
            (front - 0.75, 1.08, h - 0.02, 1.10, 1.25),
            (front - 0.30, 1.05, h - 0.16, 1.06, 1.24), (front - 0.16, 1.02, h - 0.48, 1.06, 1.23),
            (front - 0.03, 0.98, 1.08, 1.10, 1.19), (front, 0.80, 0.86, 1.02, 1.13),
        ),
        0.30, (rear + 0.29 * length, front - 2.55), 0.48,
        ((rear + 0.05, rear + 0.16), (front - 0.16, front - 0.03)), ((rear + 0.75, front - 0.04),),
    )  # fmt: skip
    made = Assembly()
    made.add(body(skin, paint))
    count = max(4, round(length / 1.6))
    places = tuple(rear + 0.75 + (length - 1.5) * k / count for k in range(1, count))
    for bar in pillars(skin, paint, places, 0.045):
        made.add(bar)
    for x in (front - 1.35, -0.05 * length):  # doors
        made.add(panel((1.25, 0.03, 2.05), (x, -1.235, 1.42), GLASS))
        made.add(panel((0.06, 0.05, 2.05), (x, -1.24, 1.42), TRIM))
    sign = Surface(Material.LAMP, (0.9, 0.45, 0.05), (0.05, 0.04, 0.03), p=(0.35, 1.5))
    made.add(panel((0.05, 1.5, 0.24), (front - 0.235, 0.0, h - 0.33), TRIM))
    made.add(panel((0.03, 1.1, 0.13), (front - 0.20, 0.0, h - 0.33), sign))
    made.add(lamp_pair((front - 0.03, 0.88, 0.66), (0.06, 0.17, 0.10), HEADLAMP))
    made.add(lamp_pair((rear + 0.02, 1.02, 0.92), (0.04, 0.09, 0.24), TAIL_LAMP))
    made.add(panel((0.03, 0.5, 0.11), (front + 0.005, 0.0, 0.52), PLATE))
    made.add(panel((0.03, 1.7, 0.62), (rear + 0.0, 0.0, 0.78), TRIM))
    for x in skin.axles:
        for y in (1.215, -1.215):
            made.add(wheel(x, y, 0.48, 0.30))
    _mirrors(made, front - 0.02, h * 0.72)
    return made.figure(size)


def _paint(stream: Stream) -> Surface:
    return Surface(Material.CAR_PAINT, stream.choice(CABS))


def _cab(made: Assembly, front: float, top: float, paint: Surface) -> None:
    """A forward cab 2 m long whose face stands upright."""
    skin = Skin(
        (
            (front - 2.05, 1.50, top - 0.42, 1.02, 1.16), (front - 1.95, 1.52, top - 0.05, 1.06, 1.18),
            (front - 1.30, 1.52, top, 1.06, 1.20), (front - 0.62, 1.52, top - 0.05, 1.04, 1.20),
            (front - 0.30, 1.52, top - 0.42, 1.02, 1.19), (front - 0.06, 1.48, 1.58, 1.08, 1.16),
            (front, 1.20, 1.26, 1.04, 1.12),
        ),
        0.42, (front - 1.30,), 0.48, ((front - 0.30, front - 0.06),), ((front - 1.15, front - 0.12),),
    )  # fmt: skip
    made.add(body(skin, paint))
    for bar in pillars(skin, paint, (front - 1.18,), 0.045):
        made.add(bar)
    made.add(panel((0.05, 1.55, 0.34), (front + 0.005, 0.0, 1.02), TRIM))
    made.add(panel((0.06, 2.10, 0.24), (front - 0.02, 0.0, 0.56), TRIM))
    made.add(lamp_pair((front - 0.01, 0.84, 0.70), (0.05, 0.19, 0.09), HEADLAMP))
    made.add(panel((0.02, 0.5, 0.11), (front + 0.02, 0.0, 0.50), PLATE))
    _mirrors(made, front - 0.05, 1.95)


def _mirrors(made: Assembly, x: float, z: float) -> None:
    for side in (1.0, -1.0):
        made.add(
            rounded_box((x - 0.09, side * 1.27 - 0.05, z - 0.25), (x + 0.03, side * 1.27 + 0.05, z + 0.17), 0.02, TRIM)
        )


def _chassis(made: Assembly, rear: float, front: float) -> None:
    made.add(panel((front - rear - 0.1, 0.95, 0.34), (0.5 * (front + rear), 0.0, 0.86), TRIM))
    middle = 0.45 * rear + 0.55 * front
    for side in (1.0, -1.0):
        made.add(
            rounded_box((middle - 0.5, side * 0.9 - 0.22, 0.48), (middle + 0.5, side * 0.9 + 0.22, 0.98), 0.06, STEEL)
        )


def _rear(made: Assembly, rear: float, floor_m: float, doors: bool = True) -> None:
    """Bumper bar, lamps, marks and plate."""
    made.add(panel((0.08, 2.35, 0.16), (rear + 0.06, 0.0, 0.56), TRIM))
    made.add(panel((0.06, 2.30, 0.14), (rear + 0.03, 0.0, floor_m - 0.09), MARK))
    made.add(lamp_pair((rear + 0.05, 0.98, 0.74), (0.06, 0.20, 0.075), TAIL_LAMP))
    made.add(panel((0.02, 0.5, 0.11), (rear + 0.015, 0.0, 0.57), PLATE))
    if doors:
        made.add(panel((0.012, 0.05, 1.9), (rear - 0.004, 0.0, floor_m + 1.05), STEEL))


def _axle(made: Assembly, x: float, radius_m: float, double: bool) -> None:
    for side in (1.0, -1.0):
        made.add(wheel(x, side * 1.20, radius_m, 0.55 if double else 0.30))
