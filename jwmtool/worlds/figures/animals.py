"""Horse, deer, tiger and dog, drawn from the side and rounded; they walk on four jointed legs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jwmtool.worlds.figures.animal_shapes import DEER, DOG, HORSE, TIGER, Shape
from jwmtool.worlds.figures.assembly import Assembly, swing
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.loft import banded, limb, outline
from jwmtool.worlds.shapes.mesh import ellipsoid
from jwmtool.worlds.shapes.surfaces import Material, Surface

Color = tuple[float, float, float]

BEND_LAG = 0.68  # cycles: joints bend most a little before a leg passes below the body
DARK: Color = (0.018, 0.014, 0.012)
# Coat, mane and tail, lower legs dark?, likelihood.
HORSE_COATS: list[tuple[Color, Color, bool, float]] = [
    ((0.20, 0.075, 0.030), (0.015, 0.012, 0.010), True, 3.0),  # bay
    ((0.28, 0.105, 0.040), (0.46, 0.28, 0.14), False, 2.0),  # chestnut
    ((0.030, 0.024, 0.022), (0.012, 0.010, 0.010), False, 1.0),  # black
    ((0.62, 0.60, 0.57), (0.42, 0.41, 0.40), False, 1.0),  # grey
    ((0.45, 0.27, 0.11), (0.66, 0.58, 0.44), False, 1.0),  # palomino
]
DEER_COATS: list[Color] = [(0.26, 0.125, 0.055), (0.21, 0.115, 0.062), (0.30, 0.155, 0.075)]
TIGER_COATS: list[Color] = [(0.60, 0.22, 0.035), (0.55, 0.24, 0.055), (0.66, 0.27, 0.05)]
# Back, belly, saddle and muzzle.
DOG_COATS: list[tuple[Color, Color, Color]] = [
    ((0.36, 0.20, 0.085), (0.42, 0.27, 0.13), (0.025, 0.020, 0.018)),  # shepherd
    ((0.52, 0.36, 0.18), (0.58, 0.44, 0.26), (0.48, 0.33, 0.16)),  # golden
    ((0.025, 0.022, 0.020), (0.030, 0.026, 0.024), (0.015, 0.013, 0.012)),  # black
    ((0.65, 0.62, 0.57), (0.70, 0.68, 0.63), (0.19, 0.09, 0.04)),  # white with patches
]


def horse(size: tuple[float, float, float], seed: int) -> Figure:
    """A riding horse with mane, tail and hooves."""
    stream = Stream(seed, "horse")
    coat, hair, dark_legs, _ = stream.choice(HORSE_COATS, [row[3] for row in HORSE_COATS])
    belly: Color = (coat[0] * 0.75, coat[1] * 0.75, coat[2] * 0.75)
    fur = _fur(coat, belly, 0.92, dark_below_m=0.50 if dark_legs else 0.0, seed=seed)
    mane = Surface(Material.FUR, hair, hair, seed)
    body = _body(HORSE, fur, fur)
    body.add(outline(HORSE.extra["mane"], mane, between=2, sides=6))
    body.add(outline(HORSE.extra["mane_side"], mane, y=-0.125, splay=0.055, between=2, sides=6))
    body.add(outline(HORSE.extra["forelock"], mane, between=1, sides=6))
    body.add(outline(HORSE.extra["tail"], mane, between=2, sides=8), "tail")
    _hooves(body, HORSE, (0.03, 0.026, 0.022))
    if stream.chance(0.5):
        body.add(outline(HORSE.extra["blaze"], Surface(Material.PLAIN, (0.7, 0.68, 0.64)), between=1, sides=6))
    return body.figure(size, grounded=True)


def deer(size: tuple[float, float, float], seed: int) -> Figure:
    """A red deer stag: antlers, pale rump, slender legs."""
    stream = Stream(seed, "deer")
    coat = stream.choice(DEER_COATS)
    belly: Color = (min(1.0, coat[0] * 1.5), coat[1] * 1.7, coat[2] * 2.0)
    pale = Surface(Material.FUR, (0.66, 0.56, 0.42), (0.66, 0.56, 0.42), seed)
    trunk = [Band(pale, (0.0, 0.13), (0.0, 180.0)), Band(pale, (0.58, 0.96), (150.0, 180.0))]
    fur = _fur(coat, belly, 0.70, seed=seed)
    body = _body(DEER, fur, _fur(coat, coat, 0.0, seed=seed), trunk, [Band(pale, (0.3, 0.95), (140.0, 180.0))])
    body.add(outline(DEER.extra["tail"], Surface(Material.PLAIN, (0.30, 0.17, 0.09)), between=1, sides=6), "tail")
    horn = Surface(Material.PLAIN, (0.16, 0.105, 0.062), seed=seed, p=(0.25,))
    for side in (1.0, -1.0):
        for beam in DEER.antlers:
            path = np.array([row[:3] for row in beam]) * [1.0, side, 1.0]
            body.add(limb(path, [row[3] for row in beam], horn, sides=5, between=2))
    _hooves(body, DEER, DARK)
    return body.figure(size, grounded=True)


def tiger(size: tuple[float, float, float], seed: int) -> Figure:
    """A tiger: low, heavy, striped, with white cheeks and a long ringed tail."""
    stream = Stream(seed, "tiger")
    coat, white, pitch_m = stream.choice(TIGER_COATS), (0.74, 0.70, 0.62), stream.uniform(0.14, 0.17)
    fur = Surface(Material.FUR, coat, white, seed, (0.43, pitch_m, 0.0))
    legs = Surface(Material.FUR, coat, white, seed, (0.07, pitch_m, 0.0))
    pale = Surface(Material.FUR, white, white, seed)
    trunk = [Band(pale, (0.62, 1.0), (140.0, 180.0))]
    head = [Band(pale, (0.62, 1.0), (62.0, 180.0)), Band(pale, (0.25, 0.62), (128.0, 180.0))]
    body = _body(TIGER, fur, legs, trunk, head)
    body.add(outline(TIGER.extra["tail"], legs, between=3, sides=8), "tail")
    body.add(ellipsoid((-1.435, 0.0, 0.31), (0.055, 0.040, 0.041), Surface(Material.PLAIN, DARK), 1), "tail")
    for side in (1.0, -1.0):
        body.add(ellipsoid((1.055, side * 0.105, 0.76), (0.075, 0.052, 0.09), pale, 1))
    return body.figure(size, grounded=True)


def dog(size: tuple[float, float, float], seed: int) -> Figure:
    """A large dog with a bushy tail: a shepherd, a retriever, a black or a patched one."""
    stream = Stream(seed, "dog")
    coat, belly, patch = stream.choice(DOG_COATS, (4.0, 3.0, 1.0, 2.0))
    dark = Surface(Material.FUR, patch, patch, seed)
    fur, plain = _fur(coat, belly, 0.40, seed=seed), _fur(coat, coat, 0.0, seed=seed)
    body = _body(DOG, fur, plain, [Band(dark, (0.08, 0.66), (0.0, 80.0))], [Band(dark, (0.55, 1.0), (0.0, 180.0))])
    tail = outline(DOG.extra["tail"], plain, between=2, sides=8)
    body.add(banded(tail, 8, dark, (0.0, 0.8), (0.0, 70.0)), "tail")
    return body.figure(size, grounded=True)


@dataclass(frozen=True)
class Band:
    """Part of a trunk or head in another coat; see `loft.banded`."""

    surface: Surface
    along: tuple[float, float]
    around_deg: tuple[float, float]


def _fur(coat: Color, belly: Color, belly_below_m: float, *, dark_below_m: float = 0.0, seed: int = 0) -> Surface:
    return Surface(Material.FUR, coat, belly, seed, (belly_below_m, 0.0, dark_below_m))


def _body(
    shape: Shape, fur: Surface, legs: Surface, trunk_bands: Sequence[Band] = (), head_bands: Sequence[Band] = ()
) -> Assembly:
    """Trunk with neck, head, ears, eyes, nose and four legs."""
    body = Assembly()
    trunk, head = outline(shape.trunk, fur, sides=14, egg=shape.egg), outline(shape.head, fur, sides=12, egg=-0.1)
    for band in trunk_bands:
        trunk = banded(trunk, 14, band.surface, band.along, band.around_deg)
    for band in head_bands:
        head = banded(head, 12, band.surface, band.along, band.around_deg)
    body.add(trunk)
    body.add(head)
    for side in (1.0, -1.0):
        ear = np.array(shape.ear) * [1.0, side, 1.0, 1.0]
        body.add(limb(ear[:, :3], ear[:, 3], fur, sides=6, between=2))
        body.add(ellipsoid((shape.eye[0], side * shape.eye[1], shape.eye[2]), [shape.eye[3]] * 3,
                           Surface(Material.GLASS, DARK), 1))  # fmt: skip
    nose = shape.nose
    body.add(ellipsoid(nose[:3], nose[3:], Surface(Material.PLAIN, shape.nose_color), 1))
    gait = shape.gait
    body.joint("tail", shape.tail_pivot, swing(5.0), 0.25)
    for side, left in ((1.0, 0.0), (-1.0, 0.5)):
        for end, leg, y, joints, bends, lag in (
            ("fore", shape.fore, shape.fore_y, shape.fore_joints, gait.fore_deg, gait.lag),
            ("hind", shape.hind, shape.hind_y, shape.hind_joints, gait.hind_deg, 0.0),
        ):
            top, middle, foot = (f"{end}{side}{part}" for part in ("top", "middle", "foot"))
            pivots = [(x, side * y, z) for x, z in joints]
            offset = left + lag
            body.joint(top, pivots[0], swing(gait.swing_deg), offset)
            for name, parent, pivot, bend in ((middle, top, pivots[1], bends[0]), (foot, middle, pivots[2], bends[1])):
                # From straight to fully bent and back, most when the leg swings forward fastest.
                body.joint(name, pivot, -0.5 * swing(bend), offset + BEND_LAG, 0.5 * swing(bend), parent)
            between = 1 if len(leg) > 9 else 2
            skin = outline(
                leg, legs, y=side * y, splay=side * shape.splay_m, between=between, sides=8, texture_axis="z"
            )
            body.add(skin, top, (middle, foot))
    return body


def _hooves(body: Assembly, shape: Shape, color: Color) -> None:
    """Horn over the tip of every leg."""
    horn = Surface(Material.PLAIN, color)
    for side in (1.0, -1.0):
        for end, leg, y in (("fore", shape.fore, shape.fore_y), ("hind", shape.hind, shape.hind_y)):
            front_x, _, back_x, _, half = leg[-1]
            r = 1.14 * half
            foot = [
                (front_x - 0.01, 2.4 * half, back_x + 0.015, 2.4 * half, r * 0.86),
                (front_x + 0.012, 0.004, back_x - 0.004, 0.004, r * 1.1),
            ]
            body.add(outline(foot, horn, y=side * (y + shape.splay_m), between=1, sides=8), f"{end}{side}foot")
