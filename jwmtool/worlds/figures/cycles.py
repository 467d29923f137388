"""Bicycles and motorcycles with their riders."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.figures.assembly import Assembly, swing
from jwmtool.worlds.figures.car_body import HEADLAMP, RIM, STEEL, TAIL_LAMP, TRIM, TYRE
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.figures.people import BRIGHT, rider, seated_leg
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.loft import limb, outline, outwards
from jwmtool.worlds.shapes.mesh import Mesh, ellipsoid, merge, smooth
from jwmtool.worlds.shapes.surfaces import Material, Surface

Size = tuple[float, float, float]


def hoop(x: float, z: float, radius_m: float, thick_m: float, surface: Surface, sides: int = 20) -> Mesh:
    """An upright ring in the plane y = 0: a tyre."""
    turn = 2.0 * math.pi * np.arange(sides) / sides
    ring = 2.0 * math.pi * np.arange(6) / 6
    r = radius_m - thick_m + thick_m * np.cos(ring)[None, :]
    points = np.stack(
        [
            x + r * np.cos(turn)[:, None],
            np.broadcast_to(thick_m * np.sin(ring), (sides, 6)),
            z + r * np.sin(turn)[:, None],
        ],
        -1,
    )
    i, j = np.meshgrid(np.arange(sides), np.arange(6), indexing="ij")
    a, b = i * 6 + j, i * 6 + (j + 1) % 6
    c, d = ((i + 1) % sides) * 6 + (j + 1) % 6, ((i + 1) % sides) * 6 + j
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return outwards(smooth(points.reshape(-1, 3), faces, surface))


def cyclist(size: Size, seed: int) -> Figure:
    """A bicycle whose rider pedals: one turn of the pedals a cycle."""
    stream = Stream(seed, "cyclist")
    frame = Surface(Material.CAR_PAINT, stream.choice(BRIGHT))
    made = Assembly()
    rear, front, r = -0.52, 0.54, 0.345
    for x in (rear, front):
        made.add(hoop(x, r, r, 0.024, TYRE))
        made.add(hoop(x, r, r - 0.035, 0.014, RIM, 16))
        spokes = [limb([(x + r0 * c, 0, r + r0 * s), (x - r0 * c, 0, r - r0 * s)], [0.006, 0.006], STEEL, sides=3)
                  for r0, c, s in ((0.30, math.cos(a), math.sin(a)) for a in (0.3, 1.35, 2.4))]  # fmt: skip
        made.add(merge(spokes))
    crank, seat, head, fork = (-0.06, 0, 0.30), (-0.20, 0, 0.86), (0.36, 0, 0.86), (0.44, 0, 0.62)
    for start, end, thick in (
        (crank, seat, 0.022), (crank, fork, 0.024), (seat, head, 0.020), (head, fork, 0.024),
        (fork, (front, 0, r), 0.020),
        (crank, (rear, 0, r), 0.016), (seat, (rear, 0, r), 0.014), (seat, (-0.22, 0, 0.95), 0.018),
        (head, (0.34, 0, 1.04), 0.018),
    ):  # fmt: skip
        made.add(limb([start, end], [thick, thick], frame, sides=6))
    made.add(limb([(0.36, -0.27, 1.05), (0.36, 0.27, 1.05)], [0.018, 0.018], TRIM, sides=6))
    made.add(ellipsoid((-0.24, 0, 0.97), (0.14, 0.075, 0.035), TRIM, 1))
    made.add(ellipsoid((0.42, 0, 0.95), (0.04, 0.035, 0.035), HEADLAMP, 1))
    made.add(ellipsoid((-0.25, 0, 0.83), (0.035, 0.04, 0.04), TAIL_LAMP, 1))
    dress = rider(made, seed, (-0.20, 0.0, 1.06), (0.36, 0.24, 1.08), stream.chance(0.4))
    for side, offset in ((1.0, 0.0), (-1.0, 0.5)):
        hip, knee, foot = (-0.19, side * 0.095, 1.04), (0.19, side * 0.105, 0.80), (0.0, side * 0.115, 0.36)
        name = f"leg{side}"
        made.joint(name, hip, swing(19.0), offset)
        made.joint(name + "lower", knee, swing(15.0), offset + 0.33, 0.0, name)
        thigh, shin, shoe = seated_leg(dress, hip, knee, foot)
        made.add(thigh, name)
        made.add(shin, name + "lower")
        made.add(shoe, name + "lower")
    return made.figure(size)


def motorcyclist(size: Size, seed: int) -> Figure:
    """A motorcycle with a helmeted rider."""
    stream = Stream(seed, "motorcyclist")
    paint = Surface(Material.CAR_PAINT, stream.choice(BRIGHT))
    made = Assembly()
    rear, front, r = -0.70, 0.72, 0.315
    for x, thick in ((rear, 0.075), (front, 0.06)):
        made.add(hoop(x, r, r, thick, TYRE))
        made.add(limb([(x, -0.05, r), (x, 0.05, r)], [0.20, 0.20], RIM, sides=12))
    tank = [
        (-0.10, 0.86, -0.10, 0.66, 0.08),
        (0.05, 0.98, 0.04, 0.66, 0.15),
        (0.26, 0.98, 0.24, 0.66, 0.17),
        (0.44, 0.86, 0.42, 0.70, 0.08),
    ]
    made.add(outline(tank, paint, sides=10))
    tail = [
        (-0.98, 0.90, -0.96, 0.82, 0.05),
        (-0.70, 0.90, -0.68, 0.72, 0.11),
        (-0.30, 0.84, -0.30, 0.66, 0.14),
        (0.0, 0.80, 0.0, 0.62, 0.13),
    ]
    made.add(outline(tail, paint, sides=10))
    nose = [
        (0.36, 1.06, 0.34, 0.72, 0.12),
        (0.52, 1.12, 0.52, 0.70, 0.21),
        (0.68, 0.98, 0.70, 0.72, 0.19),
        (0.78, 0.88, 0.78, 0.80, 0.07),
    ]
    made.add(outline(nose, paint, sides=10))
    made.add(ellipsoid((0.02, 0, 0.44), (0.32, 0.17, 0.23), STEEL, 2))
    made.add(ellipsoid((-0.42, 0, 0.84), (0.36, 0.13, 0.055), TRIM, 1))
    for y in (0.11, -0.11):
        made.add(limb([(0.48, y, 0.95), (front, y, r)], [0.032, 0.028], STEEL, sides=6))
        made.add(limb([(-0.15, y, 0.44), (rear, y, r)], [0.04, 0.03], STEEL, sides=6))
    made.add(limb([(-0.1, -0.17, 0.32), (-0.95, -0.19, 0.42)], [0.04, 0.055], STEEL))
    made.add(limb([(0.34, -0.36, 1.02), (0.42, 0.0, 1.00), (0.34, 0.36, 1.02)], [0.02, 0.02, 0.02], TRIM, sides=6))
    made.add(ellipsoid((0.74, 0, 0.84), (0.06, 0.11, 0.075), HEADLAMP, 1))
    made.add(ellipsoid((-0.97, 0, 0.86), (0.04, 0.09, 0.04), TAIL_LAMP, 1))
    dress = rider(made, seed, (-0.32, 0.0, 0.94), (0.34, 0.33, 1.02), True)
    for side in (1.0, -1.0):
        made.add(
            merge(seated_leg(dress, (-0.30, side * 0.11, 0.92), (0.13, side * 0.22, 0.72), (-0.14, side * 0.20, 0.30)))
        )
    return made.figure(size)
