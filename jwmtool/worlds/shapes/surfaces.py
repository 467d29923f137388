"""What a triangle is made of: materials with their parameters, and the classes of the semantic truth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """How a surface is colored. (x, y, z) is the texture coordinate in metres, p the surface's parameters.

    `color` is the main color, `color2` the second one; both linear reflectance in [0, 1], not sRGB.
    """

    PLAIN = 0  # matte with grain: p0 strength of the noise (0 to 1), p1 its finest grain in m (0: 0.25)
    ROAD = 1  # x along, y across (left positive, 0 the middle): see `road_surface`; color2 is the paint
    JUNCTION = 2  # asphalt without markings, texture coordinates are the world's
    CROSSING = 3  # zebra, texture x along the way of walking, y along the bars; color2 is the paint; p0 bar pitch m
    STOP_LINE = 4  # color2 paint all over, worn
    PAVEMENT = 5  # slabs of p0 metres (0: 0.8) with joints; color2 is the joints
    GRASS = 6  # patches of color and color2, p0 patch size in m (0: 6)
    FIELD = 7  # crop rows along x, p0 apart in m (at least 1.5); color rows, color2 soil
    FACADE = 8  # x along the wall, y height above its foot: see `facade_surface`; color wall, color2 trim
    ROOF = 9  # tile courses along x, p0 apart in m (0: 0.9)
    CAR_PAINT = 10  # glossy
    GLASS = 11  # dark, mirrors the sky
    METAL = 12  # somewhat glossy; p0 strength of the grain
    LAMP = 13  # shines with `color` times p0 by day, times 0.35 p1 at dusk and night; unlit it is color2
    SIGNAL = 14  # traffic light lens: p0 signal group, p1 which lens (0 red, 1 amber, 2 green); color when lit
    LEAVES = 15  # foliage, strong patchy noise between color and color2, p0 grain in m (0: 0.35)
    FUR = 16  # color, color2 on the belly (below z = p0); p1 > 0: black stripes, p1 m apart along x; dark below z = p2
    SIGN = 17  # (x, y) from the plate's middle, p0 SIGN_*, p1 half size in m, p2 height to width; color2 is the rim
    STRIPED = 18  # color and color2 take turns along x, each p0 / 2 wide in m
    ROCK = 19  # coarse mottled grain between color and color2, p0 grain in m (0: 0.5)


SIGN_PROHIBITION, SIGN_WARNING, SIGN_BLUE, SIGN_STOP, SIGN_DIRECTION = range(5)
FACADE_PLASTER, FACADE_OFFICE, FACADE_BRICK, FACADE_SHOP = range(4)
CENTER_NONE, CENTER_DASHED, CENTER_SOLID, CENTER_DOUBLE = range(4)

SURFACE_COLUMNS = 14  # material, color 3, color2 3, seed, p0 to p5


class Class(IntEnum):
    """Semantic classes of the truth; 0 is the sky."""

    SKY = 0
    ROAD = 1
    SIDEWALK = 2
    TERRAIN = 3
    BUILDING = 4
    BARRIER = 5  # fence, wall, guard rail
    POLE = 6
    SIGN = 7
    TRAFFIC_LIGHT = 8
    VEGETATION = 9
    CAR = 10
    LORRY = 11
    BUS = 12
    CYCLIST = 13
    PEDESTRIAN = 14
    ANIMAL = 15
    OBSTACLE = 16  # rocks, lost cargo


@dataclass(frozen=True)
class Surface:
    """A material with its colors and parameters."""

    material: Material
    color: tuple[float, float, float]
    color2: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0  # of its noise; below 1000
    p: tuple[float, ...] = ()  # up to six

    def row(self) -> NDArray[np.float64]:
        """[14], as the shading kernel reads it."""
        padding = (0.0,) * (6 - len(self.p))
        return np.array([self.material, *self.color, *self.color2, self.seed % 1000, *self.p, *padding], np.float64)


def road_surface(
    asphalt: tuple[float, float, float],
    paint: tuple[float, float, float],
    *,
    lane_width_m: float,
    num_right: int,
    num_left: int,
    median_half_m: float,
    paved_half_m: float,
    center: int,
    edge_lines: bool,
    seed: int = 0,
) -> Surface:
    """A road: lanes right (y < 0) and left (y > 0) of a median (half width 0: a painted line, one of CENTER_*).

    Lane marks between lanes of one direction are dashed, edge lines solid; asphalt ends at `paved_half_m`.
    """
    style = float(center + (10 if edge_lines else 0))
    p = (lane_width_m, float(num_right), float(num_left), median_half_m, paved_half_m, style)
    return Surface(Material.ROAD, asphalt, paint, seed, p)


def facade_surface(
    wall: tuple[float, float, float],
    trim: tuple[float, float, float],
    *,
    pitch_m: float,
    storey_m: float,
    height_m: float,
    window_share: float,
    style: int,
    length_m: float,
    seed: int = 0,
) -> Surface:
    """A wall with windows every `pitch_m` along and `storey_m` up; `window_share` of the pitch is window.

    `style` is one of FACADE_*. A height below one storey gives a bare wall.
    """
    p = (pitch_m, storey_m, height_m, window_share, float(style), length_m)
    return Surface(Material.FACADE, wall, trim, seed, p)
