"""What the ground of one world is made of: asphalt, paint, kerbs, slabs, grass and fields, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_parts import Profile
from jwmtool.worlds.scenery.palette import Color, tinted
from jwmtool.worlds.shapes.surfaces import Material, Surface, road_surface

# Linear reflectances.
_SLABS: tuple[Color, ...] = (
    (0.34, 0.33, 0.31), (0.42, 0.40, 0.36), (0.25, 0.25, 0.25), (0.40, 0.33, 0.28), (0.30, 0.22, 0.19),
    (0.36, 0.36, 0.33), (0.20, 0.19, 0.18),
)  # fmt: skip
_GRASSES: tuple[tuple[Color, Color], ...] = (
    ((0.11, 0.18, 0.05), (0.17, 0.21, 0.07)), ((0.08, 0.16, 0.05), (0.13, 0.20, 0.06)),
    ((0.20, 0.21, 0.08), (0.27, 0.25, 0.12)), ((0.14, 0.20, 0.06), (0.08, 0.13, 0.04)),
    ((0.28, 0.25, 0.13), (0.20, 0.20, 0.09)),
)  # fmt: skip
_YARDS: tuple[Color, ...] = (
    (0.30, 0.28, 0.24), (0.22, 0.21, 0.20), (0.36, 0.32, 0.26), (0.18, 0.17, 0.16), (0.26, 0.22, 0.17)
)  # fmt: skip
_CROPS: tuple[tuple[Color, Color], ...] = (
    ((0.13, 0.23, 0.06), (0.20, 0.16, 0.10)), ((0.46, 0.37, 0.16), (0.36, 0.28, 0.14)),
    ((0.20, 0.14, 0.09), (0.15, 0.11, 0.07)), ((0.22, 0.29, 0.08), (0.16, 0.22, 0.06)),
    ((0.50, 0.44, 0.08), (0.24, 0.29, 0.08)), ((0.30, 0.24, 0.16), (0.24, 0.18, 0.12)),
)  # fmt: skip


@dataclass(frozen=True)
class GroundColors:
    """A world's own materials of everything that lies flat."""

    asphalt: Color
    paint: Color
    kerb: Surface
    sidewalk: Surface
    bays: Surface | None  # parking bays, if not asphalt
    shoulder: Surface | None  # gravel strip beside a road without sidewalk
    median: Surface  # between the two directions of a motorway
    verge: Surface  # beside roads
    lands: tuple[Surface, ...]  # patches of the country, or yards of a town


def draw_colors(kind: str, stream: Stream) -> GroundColors:
    """Pick materials for a kind of world."""
    grey = stream.uniform(0.055, 0.20) * (1.15 if kind == "motorway" else 1.0)
    asphalt = tinted((grey, grey * 0.99, grey * 0.97), 1.0, stream.uniform(-0.05, 0.06))
    white = stream.uniform(0.5, 0.8)
    yellow = stream.chance(0.12)
    paint = (white, white * 0.72, white * 0.16) if yellow else (white, white, white * stream.uniform(0.92, 1.0))
    seed = stream.integer(0, 1000)
    slab = tinted(stream.choice(_SLABS), stream.uniform(0.8, 1.2), stream.uniform(-0.06, 0.06))
    size = stream.choice((0.5, 0.8, 1.2, 2.0))
    stone = tinted((0.40, 0.39, 0.37), stream.uniform(0.6, 1.3))
    bays = None
    if stream.chance(0.35):
        bays = Surface(
            Material.PAVEMENT, tinted(stream.choice(_SLABS), 0.6), tinted(slab, 0.3), seed, (stream.uniform(0.5, 1.0),)
        )
    fresh = stream.uniform(0.75, 1.25)
    grasses = [
        Surface(
            Material.GRASS, tinted(a, fresh), tinted(b, fresh), stream.integer(0, 1000), (stream.uniform(3.0, 9.0),)
        )
        for a, b in stream.shuffled(_GRASSES)
    ]
    gravel = Surface(Material.PLAIN, tinted((0.30, 0.27, 0.22), stream.uniform(0.7, 1.3)), seed=seed, p=(0.3, 0.3))
    concrete = Surface(Material.PLAIN, tinted(asphalt, stream.uniform(1.0, 1.4)), seed=seed, p=(0.2, 0.4))
    return GroundColors(
        asphalt=asphalt,
        paint=tinted(paint, 1.0),
        kerb=Surface(Material.PLAIN, stone, seed=seed, p=(0.15, 0.3)),
        sidewalk=_sidewalk(stream.chance(0.2), asphalt, slab, seed, size),
        bays=bays,
        shoulder=gravel if stream.chance(0.5) else None,
        median=concrete if stream.chance(0.5) else grasses[0],
        verge=grasses[0],
        lands=_lands(kind, grasses, stream),
    )


def _sidewalk(plain: bool, asphalt: Color, slab: Color, seed: int, size_m: float) -> Surface:
    if plain:
        return Surface(Material.PLAIN, tinted(asphalt, 1.35), seed=seed, p=(0.2, 0.3))
    return Surface(Material.PAVEMENT, slab, tinted(slab, 0.5), seed, (size_m,))


def _lands(kind: str, grasses: list[Surface], stream: Stream) -> tuple[Surface, ...]:
    if kind == "suburb":
        return (grasses[0], grasses[0], grasses[1])
    if kind == "city":
        yards = [
            Surface(Material.PLAIN, tinted(color, stream.uniform(0.7, 1.2)), seed=stream.integer(0, 1000), p=(0.3, 0.4))
            for color in stream.shuffled(_YARDS)[:2]
        ]
        slabs = Surface(Material.PAVEMENT, tinted(stream.choice(_SLABS), 0.9), (0.1, 0.1, 0.1), 5, (2.0,))
        return (yards[0], yards[0], yards[1], slabs, grasses[0])
    crops = [
        Surface(
            Material.FIELD, tinted(a, stream.uniform(0.8, 1.2)), tinted(b, stream.uniform(0.8, 1.2)),
            stream.integer(0, 1000), (stream.uniform(1.8, 4.0),),
        )
        for a, b in stream.shuffled(_CROPS)[:4]
    ]  # fmt: skip
    return (grasses[0], grasses[0], grasses[1], *crops)


def road_of(profile: Profile, colors: GroundColors, tone: float, seed: int) -> Surface:
    """The marked surface of a road; `tone` tells one road's asphalt from the next."""
    return road_surface(
        tinted(colors.asphalt, tone),
        colors.paint,
        lane_width_m=profile.lane_width_m,
        num_right=profile.num_lanes,
        num_left=profile.num_lanes,
        median_half_m=profile.median_half_m,
        paved_half_m=profile.paved_half_m,
        center=profile.center,
        edge_lines=profile.edge_lines,
        seed=seed,
    )
