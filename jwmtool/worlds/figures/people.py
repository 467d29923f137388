"""Men, women and children in all sorts of clothes; walking, standing, or sitting on a bicycle or motorcycle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jwmtool.worlds.figures.assembly import Assembly, swing
from jwmtool.worlds.figures.figure import Figure
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.shapes.loft import banded, limb, outline
from jwmtool.worlds.shapes.mesh import Mesh, ellipsoid
from jwmtool.worlds.shapes.surfaces import Material, Surface

Color = tuple[float, float, float]
Size = tuple[float, float, float]

SKINS: list[Color] = [
    (0.58, 0.38, 0.28),
    (0.48, 0.29, 0.20),
    (0.32, 0.18, 0.115),
    (0.15, 0.08, 0.05),
    (0.62, 0.43, 0.34),
]
HAIRS: list[Color] = [
    (0.02, 0.016, 0.014),
    (0.07, 0.04, 0.022),
    (0.16, 0.09, 0.045),
    (0.42, 0.30, 0.15),
    (0.42, 0.41, 0.40),
]
BRIGHT: list[Color] = [
    (0.55, 0.06, 0.05), (0.05, 0.14, 0.42), (0.62, 0.42, 0.06), (0.07, 0.28, 0.12), (0.65, 0.64, 0.60),
    (0.55, 0.22, 0.05),
    (0.40, 0.10, 0.25), (0.10, 0.35, 0.45), (0.02, 0.02, 0.022), (0.24, 0.23, 0.22), (0.34, 0.24, 0.14),
    (0.03, 0.05, 0.12),
]  # fmt: skip
SOBER: list[Color] = [
    (0.025, 0.035, 0.075), (0.02, 0.02, 0.022), (0.12, 0.11, 0.10), (0.26, 0.20, 0.13), (0.06, 0.10, 0.20),
    (0.40, 0.38, 0.34),
]  # fmt: skip


# Swing of hips, knees (they bend up to twice this) and arms: moderate, so that a walker fills much of its box always.
HIP_DEG, KNEE_DEG, KNEE_LAG, ARM_DEG = 14.0, 24.0, 0.68, 15.0


@dataclass(frozen=True)
class Dress:
    """What somebody looks like."""

    skin: Surface
    hair: Surface
    top: Surface
    trousers: Surface
    shoes: Surface
    bare_arms: bool
    skirt: bool
    long_hair: bool
    bag: Surface | None
    hat: Surface | None


@dataclass(frozen=True)
class Build:
    """Proportions of a body 1.75 m tall, before it is stretched into its box."""

    shoulder: float  # half width
    waist: float
    hip: float
    head: float  # share of an adult's head
    leg: float  # height of the hip joint


BUILDS = {
    "man": Build(0.215, 0.150, 0.165, 1.0, 0.92),
    "woman": Build(0.180, 0.128, 0.172, 1.0, 0.92),
    "child": Build(0.200, 0.150, 0.165, 1.34, 0.80),
}


def person(kind: str, size: Size, seed: int, standing: bool) -> Figure:
    """A man, woman or child who walks (two steps a cycle, arms and legs in turn) or stands."""
    stream = Stream(seed, kind)
    dress, build = _dress(kind, stream.sub("dress")), BUILDS[kind]
    body = Assembly()
    _trunk(body, build, dress)
    stride = 0.0 if standing else 1.0
    for side, offset in ((1.0, 0.25), (-1.0, 0.75)):
        _leg(body, build, dress, side, offset, stride)
        _arm(body, build, dress, side, offset + 0.5, stride, stream.uniform(4.0, 10.0))
    return body.figure(size, grounded=True)


def _cloth(color: Color, seed: int) -> Surface:
    return Surface(Material.PLAIN, color, color, seed, (0.12, 0.1))


def _dress(kind: str, stream: Stream) -> Dress:
    word = stream.integer(0, 1000)
    top, trousers = stream.choice(BRIGHT), stream.choice(SOBER)
    has_bag, has_hat = stream.chance(0.3), stream.chance(0.2)
    return Dress(
        skin=Surface(Material.PLAIN, stream.choice(SKINS)),
        hair=Surface(Material.PLAIN, stream.choice(HAIRS)),
        top=_cloth(top, word),
        trousers=_cloth(trousers, word + 1),
        shoes=Surface(Material.PLAIN, stream.choice([(0.02, 0.02, 0.02), (0.6, 0.6, 0.58), (0.10, 0.05, 0.03)])),
        bare_arms=stream.chance(0.35),
        skirt=kind == "woman" and stream.chance(0.4),
        long_hair=kind == "woman" or (kind == "child" and stream.chance(0.5)),
        bag=_cloth(stream.choice(BRIGHT), word + 2) if has_bag else None,
        hat=_cloth(stream.choice(BRIGHT), word + 3) if has_hat else None,
    )


def _trunk(body: Assembly, build: Build, dress: Dress) -> None:
    """Torso, neck and head; the stations go up: front x, z, back x, z, half width."""
    leg = build.leg
    head_m = 0.245 * build.head
    chin = 1.75 - head_m
    top = chin - 0.055  # of the shoulders
    reach = top - leg
    torso = [
        (0.08, leg - 0.08, -0.09, leg - 0.08, build.hip * 0.80),
        (0.115, leg + 0.02, -0.130, leg + 0.02, build.hip),
        (0.115, leg + 0.30 * reach, -0.100, leg + 0.30 * reach, build.waist),
        (0.125, leg + 0.62 * reach, -0.120, leg + 0.62 * reach, 0.5 * (build.waist + build.shoulder)),
        (0.105, leg + 0.86 * reach, -0.120, leg + 0.86 * reach, build.shoulder * 0.96),
        (0.065, leg + 0.97 * reach, -0.095, leg + 0.97 * reach, build.shoulder * 0.72),
        (0.045, top + 0.02, -0.065, top + 0.02, 0.075),
    ]
    skin = outline(torso, dress.top, sides=14)
    body.add(banded(skin, 14, dress.trousers, (0.0, 0.22)) if not dress.skirt else skin)
    if dress.skirt:
        hem = [
            (0.115, leg + 0.30 * reach, -0.10, leg + 0.30 * reach, build.waist * 1.03),
            (0.15, leg - 0.05, -0.16, leg - 0.05, build.hip * 1.08),
            (0.20, leg - 0.36, -0.21, leg - 0.36, build.hip * 1.18),
        ]
        body.add(outline(hem, dress.trousers, between=1, sides=14))
    body.add(limb([(-0.012, 0, top - 0.03), (0.0, 0, chin + 0.07)], [0.060, 0.052], dress.skin))
    middle = chin + 0.5 * head_m
    body.add(ellipsoid((0.012, 0.0, middle), (0.100 * build.head, 0.078 * build.head, 0.5 * head_m), dress.skin, 2))
    body.add(ellipsoid((0.105 * build.head, 0.0, middle - 0.012), (0.022, 0.016, 0.026), dress.skin, 0))
    _hair(body, build, dress, middle, head_m)
    if dress.bag is not None:
        body.add(
            ellipsoid((-0.185, 0.0, leg + 0.60 * reach), (0.095, build.shoulder * 0.72, 0.36 * reach), dress.bag, 2)
        )


def _hair(body: Assembly, build: Build, dress: Dress, middle: float, head_m: float) -> None:
    size = build.head
    body.add(
        ellipsoid((-0.012 * size, 0, middle + 0.046 * size), (0.108 * size, 0.088 * size, 0.37 * head_m), dress.hair, 2)
    )
    if dress.long_hair:
        fall = [
            (-0.01, middle + 0.06, -0.12 * size, middle + 0.06, 0.085 * size),
            (-0.03, middle - 0.06, -0.13 * size, middle - 0.08, 0.088 * size),
            (-0.06, middle - 0.20, -0.125 * size, middle - 0.21, 0.075 * size),
            (-0.09, middle - 0.26, -0.115 * size, middle - 0.27, 0.030),
        ]
        body.add(outline(fall, dress.hair, between=1, sides=10))
    if dress.hat is not None:
        body.add(ellipsoid((0.0, 0, middle + 0.068 * size), (0.116 * size, 0.096 * size, 0.31 * head_m), dress.hat, 2))
        body.add(ellipsoid((0.09 * size, 0, middle + 0.055 * size), (0.085 * size, 0.07 * size, 0.010), dress.hat, 1))


def _leg(body: Assembly, build: Build, dress: Dress, side: float, offset: float, stride: float) -> None:
    """Trousers (or skin below a skirt) and a shoe; the knee bends most while the leg swings forward."""
    hip, y, name = build.leg, side * 0.52 * build.hip, f"leg{side}"
    knee = 0.53 * hip
    body.joint(name, (0.0, y, hip), swing(HIP_DEG) * stride, offset)
    body.joint(
        name + "lower", (0.0, y, knee), swing(KNEE_DEG) * stride, offset + KNEE_LAG, -swing(KNEE_DEG) * stride, name
    )
    rows = [
        (0.088, hip + 0.04, -0.10, hip + 0.02, 0.082), (0.090, hip - 0.10, -0.098, hip - 0.10, 0.086),
        (0.078, knee + 0.12, -0.072, knee + 0.12, 0.068), (0.068, knee, -0.056, knee, 0.058),
        (0.056, knee - 0.12, -0.074, knee - 0.12, 0.058), (0.042, 0.18, -0.056, 0.18, 0.046),
        (0.044, 0.07, -0.060, 0.07, 0.048),
    ]  # fmt: skip
    skin = outline(rows, dress.skin if dress.skirt else dress.trousers, y=y, between=1, sides=10)
    body.add(skin, name, (name + "lower",))
    shoe = [
        (0.045, 0.10, -0.060, 0.095, 0.042), (0.070, 0.078, -0.078, 0.055, 0.048), (0.165, 0.055, -0.085, 0.02, 0.050),
        (0.185, 0.012, -0.082, 0.0, 0.047), (0.175, 0.0, -0.075, 0.0, 0.040),
    ]  # fmt: skip
    body.add(outline(shoe, dress.shoes, y=y, between=1, sides=8), name + "lower")


def _arm(
    body: Assembly, build: Build, dress: Dress, side: float, offset: float, stride: float, bend_deg: float
) -> None:
    """Sleeve and hand; the elbow is a little bent."""
    shoulder = 1.75 - 0.245 * build.head - 0.055 - 0.055
    y, name, length = side * (build.shoulder - 0.010), f"arm{side}", 0.56 if build.head == 1.0 else 0.47
    elbow, wrist = shoulder - 0.52 * length, shoulder - 0.98 * length
    forward = math.sin(math.radians(bend_deg + (30.0 if stride else 0.0))) * (elbow - wrist)
    out = side * 0.035
    body.joint(name, (0.0, y, shoulder), swing(ARM_DEG) * stride, offset)
    path = [(-0.01, y - side * 0.03, shoulder + 0.035), (-0.01, y, shoulder), (-0.015, y + out, elbow)]
    hand = (forward, y + out, wrist)
    body.add(limb(path, [0.030, 0.062, 0.044], dress.top, sides=8, between=2), name)
    body.add(limb([path[-1], hand], [0.043, 0.030], dress.skin if dress.bare_arms else dress.top, sides=8), name)
    body.add(ellipsoid((hand[0] + 0.01, hand[1], hand[2] - 0.055), (0.036, 0.026, 0.072), dress.skin, 1), name)


def rider(
    body: Assembly, seed: int, saddle: tuple[float, float, float], grip: tuple[float, float, float], helmet: bool
) -> Dress:
    """Adds trunk, head and arms of somebody who sits at `saddle` and holds `grip` (left side), but no legs."""
    stream = Stream(seed, "rider")
    dress = _dress("man", stream.sub("dress"))
    x, _, z = saddle
    lean = 0.27
    neck = (x + lean, z + 0.50)
    torso = [
        (x + 0.09, z - 0.05, x - 0.13, z - 0.02, 0.13), (x + 0.12, z + 0.06, x - 0.13, z + 0.10, 0.165),
        (x + 0.20, z + 0.22, x - 0.04, z + 0.28, 0.160), (x + 0.30, z + 0.36, x + 0.05, z + 0.44, 0.190),
        (neck[0] + 0.04, neck[1] - 0.03, neck[0] - 0.13, neck[1] + 0.01, 0.150),
        (neck[0] + 0.05, neck[1] + 0.03, neck[0] - 0.06, neck[1] + 0.05, 0.06),
    ]  # fmt: skip
    body.add(outline(torso, dress.top, sides=12))
    head = (neck[0] + 0.09, 0.0, neck[1] + 0.17)
    body.add(limb([(neck[0] - 0.02, 0, neck[1]), head], [0.06, 0.055], dress.skin))
    body.add(ellipsoid(head, (0.100, 0.080, 0.122), dress.skin, 2))
    if helmet:
        shell = Surface(Material.CAR_PAINT, stream.choice(BRIGHT))
        body.add(ellipsoid((head[0] - 0.01, 0, head[2] + 0.03), (0.135, 0.115, 0.130), shell, 2))
        body.add(
            ellipsoid(
                (head[0] + 0.045, 0, head[2] + 0.01),
                (0.095, 0.095, 0.055),
                Surface(Material.GLASS, (0.02, 0.02, 0.03)),
                2,
            )
        )
    else:
        body.add(ellipsoid((head[0] - 0.025, 0, head[2] + 0.035), (0.105, 0.088, 0.100), dress.hair, 2))
    shoulder = (neck[0] - 0.03, 0.0, neck[1] - 0.04)
    for side in (1.0, -1.0):
        start = (shoulder[0], side * 0.185, shoulder[2])
        end = (grip[0], side * grip[1], grip[2])
        elbow = (
            0.5 * (start[0] + end[0]) - 0.05,
            side * (0.5 * (0.185 + grip[1]) + 0.05),
            0.5 * (start[2] + end[2]) - 0.06,
        )
        body.add(limb([start, elbow, end], [0.064, 0.048, 0.034], dress.top, sides=8, between=2))
        body.add(ellipsoid(end, (0.05, 0.035, 0.035), dress.skin, 1))
    return dress


def seated_leg(
    dress: Dress, hip: tuple[float, float, float], knee: tuple[float, float, float], foot: tuple[float, float, float]
) -> list[Mesh]:
    """Thigh, shin and shoe between three points."""
    shoe = ellipsoid((foot[0] + 0.05, foot[1], foot[2] + 0.02), (0.13, 0.045, 0.045), dress.shoes, 1)
    return [
        limb([hip, knee], [0.088, 0.058], dress.trousers, sides=8),
        limb([knee, foot], [0.060, 0.042], dress.trousers, sides=8),
        shoe,
    ]
