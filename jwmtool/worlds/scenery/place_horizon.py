"""What closes the view: towers, houses, woods, churches, pylons and hills far from the road."""

from __future__ import annotations

import math

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.scenery.building_styles import (
    barn_style,
    block_style,
    facade_style,
    hall_style,
    house_style,
    tower_style,
)
from jwmtool.worlds.scenery.greenery import leaf_style, put_wood
from jwmtool.worlds.scenery.placing import Site
from jwmtool.worlds.shapes.surfaces import FACADE_PLASTER

_NEAR_M, _FAR_M = 100.0, 330.0  # of the drive
# What is drawn how often in each kind of world.
_MIX = {
    "city": {"tower": 4.0, "block": 5.0, "hall": 1.0, "church": 0.4},
    "suburb": {"house": 6.0, "wood": 5.0, "tower": 0.7, "church": 0.4, "block": 0.8},
    "country": {"wood": 7.0, "barn": 1.0, "house": 1.2, "church": 0.3, "turbine": 0.4, "pylon": 0.4},
    "motorway": {"wood": 6.0, "hall": 1.2, "house": 1.0, "tower": 0.5, "turbine": 0.4, "pylon": 0.8, "church": 0.2},
}  # fmt: skip
_MOST = 110  # of a short drive, and one more every 20 m


def place_horizon(site: Site) -> None:
    """Scatter far things round the whole drive, and hills behind them."""
    stream = site.stream.sub("horizon")
    _hills(site, stream.sub("hills"))
    mix = {name: weight * stream.uniform(0.4, 1.6) for name, weight in _MIX[site.kind].items()}
    low, high = site.route.min(0) - _FAR_M, site.route.max(0) + _FAR_M
    area = float((high - low).prod())
    conifers = stream.choice((0.1, 0.4, 0.8))
    left = min(_MOST + len(site.route) // 10, int(area / 4500.0))
    for k in range(3 * left):
        draw = stream.sub(k)
        x, y = draw.uniform(low[0], high[0]), draw.uniform(low[1], high[1])
        if not _NEAR_M < float(site.distance_m(x, y)) < _FAR_M:
            continue
        if _far_thing(site, draw.choice(tuple(mix), tuple(mix.values())), x, y, conifers, draw):
            left -= 1
        if left == 0:
            break


def _far_thing(site: Site, kind: str, x: float, y: float, conifers: float, draw: Stream) -> bool:
    palette, yaw = site.palette, draw.uniform(0.0, 2.0 * math.pi)
    if kind == "wood":
        size = (draw.uniform(30.0, 70.0), draw.uniform(14.0, 26.0), draw.uniform(9.0, 17.0))
        return put_wood(site, x, y, yaw, size, draw, conifers, 6.0)
    if kind == "tower":
        wide = draw.uniform(15.0, 30.0)
        tall = draw.uniform(25.0, 90.0) if site.kind == "city" else draw.uniform(20.0, 45.0)
        size, style = (wide, wide * draw.uniform(0.7, 1.0), tall), tower_style(palette, draw)
    elif kind == "block":
        length, width = draw.uniform(20.0, 45.0), draw.uniform(12.0, 16.0)
        height, style = block_style(palette, draw, length, width, draw.integer(4, 10))
        size = (length, width, height)
    elif kind == "house":
        depth = draw.uniform(8.0, 11.0)
        height, style = house_style(palette, draw, depth)
        size = (draw.uniform(10.0, 15.0), depth, height)
    elif kind == "barn":
        size = (draw.uniform(18.0, 32.0), draw.uniform(10.0, 14.0), draw.uniform(8.0, 11.0))
        style = barn_style(palette, draw, size[1])
    elif kind == "hall":
        size = (draw.uniform(30.0, 70.0), draw.uniform(20.0, 35.0), draw.uniform(7.0, 13.0))
        style = hall_style(palette, draw)
    elif kind == "church":
        size, style = (
            (draw.uniform(24.0, 32.0), draw.uniform(9.0, 12.0), draw.uniform(26.0, 42.0)),
            facade_style(palette, draw, FACADE_PLASTER),
        )
    elif kind == "turbine":
        rotor = draw.uniform(50.0, 80.0)
        size, style = (rotor, 4.0, 0.5 * rotor + draw.uniform(35.0, 50.0)), {}
    else:  # pylon
        size, style = (draw.uniform(12.0, 18.0), 6.0, draw.uniform(26.0, 38.0)), {}
    return site.put(kind, x, y, yaw, size, style, seed=draw.word(), clear_m=6.0, margin_m=1.0)


def _hills(site: Site, draw: Stream) -> None:
    """Ridges all round, so that no street ends in nothing."""
    low, high = site.route.min(0), site.route.max(0)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    count = 11
    turn, scale = draw.uniform(0.0, 6.28), draw.uniform(0.4, 2.2)
    for k in range(count):
        angle = turn + 2.0 * math.pi * (k + draw.uniform(-0.2, 0.2)) / count
        reach = draw.uniform(430.0, 560.0)
        # From the middle of the drive out past its rim, whatever its shape.
        x = middle[0] + math.cos(angle) * (half[0] + reach)
        y = middle[1] + math.sin(angle) * (half[1] + reach)
        size = (draw.uniform(300.0, 480.0), draw.uniform(110.0, 190.0), scale * draw.uniform(14.0, 38.0))
        style = leaf_style(site, draw)
        site.put("hill", x, y, angle + 0.5 * math.pi, size, style, seed=draw.word(), clear_m=20.0, margin_m=-1000.0)
