"""What lines the streets of a city and a suburb: rows of buildings, parks, houses in gardens."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_parts import Edge
from jwmtool.worlds.scenery.building_styles import block_style, garage_style, house_style, tower_style
from jwmtool.worlds.scenery.greenery import leaf_style, put_bush, put_tree
from jwmtool.worlds.scenery.palette import tinted, varied
from jwmtool.worlds.scenery.placing import Site, Spot

_REACH_M = 150.0
_STEP_M = 1.0
_RIM_M = 0.15  # between a sidewalk and the buildings along it


def _free_stations(site: Site, edge: Edge, side: int, near_m: float, far_m: float) -> np.ndarray:
    """[N] True at each metre of an edge where the ground from `near_m` to `far_m` of its middle is off every road."""
    s = np.arange(0.0, edge.path.length_m, _STEP_M)
    rows = [edge.path.beside(s, side * d) for d in np.linspace(near_m, far_m, 4)]
    free = np.ones(len(s), bool)
    for row in rows:
        free &= site.network.clearance_m(row[:, 0], row[:, 1]) > 0.03
    return free


def place_rows(site: Site) -> None:
    """City: buildings flush along the sidewalks, a park or a yard here and there, towers behind."""
    stream = site.stream.sub("rows")
    base = stream.integer(3, 6)
    green = stream.uniform(0.02, 0.25)
    for edge in site.network.edges:
        if not site.near_edge(edge, _REACH_M):
            continue
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            if draw.chance(green):
                _park(site, edge, side, draw)
            else:
                _row(site, edge, side, base + draw.integer(-1, 3), draw)
    _towers_behind(site, stream.sub("towers"))


def _row(site: Site, edge: Edge, side: int, storeys: int, draw: Stream) -> None:
    depth = draw.uniform(10.0, 13.0)
    near = edge.profile.total_half_m + _RIM_M
    free = _free_stations(site, edge, side, near, near + depth)
    first = 0
    while first + 7 < len(free):
        length = draw.uniform(9.0, 22.0)
        if not free[first]:
            first += 1
            continue
        run = int(np.argmin(free[first:])) if not free[first:].all() else len(free) - first
        if run < 8:
            first += run
            continue
        if run < length + 8.0:  # fill what is left rather than leave a slot
            length = min(float(run), 24.0)
        middle = first + 0.5 * length
        tall = max(2, storeys + draw.choice((-1, 0, 0, 1, 2)))
        height, style = block_style(site.palette, draw, length, depth, tall)
        # On a bend the wall is a chord: it stands back by the rise of the arc.
        ends = edge.path.at([first, middle, first + length])
        turn = abs(math.remainder(float(ends[2, 2] - ends[0, 2]), 2.0 * math.pi))
        back = length * turn / 8.0 + 0.02
        if turn > 0.25:
            length = min(length, 10.0)
        spot = next(iter(site.spots(edge, side, middle, near + back + 0.5 * depth, _REACH_M)), None)
        if spot is None:
            first += max(4, int(length))
            continue
        size = (length - 0.1, depth, height)
        if site.put("block", spot.x, spot.y, spot.facing, size, style, seed=draw.word(), clear_m=0.02, margin_m=0.02):
            first += math.ceil(length)
            if draw.chance(0.06):
                first += draw.integer(3, 9)  # a gateway
        else:
            first += 2


def _park(site: Site, edge: Edge, side: int, draw: Stream) -> None:
    """Trees on grass behind a fence, a hedge or nothing."""
    near = edge.profile.total_half_m
    border(site, edge, side, near + 0.35, draw.choice(("fence", "hedge", "none", "wall")), draw)
    for _ in range(int(edge.path.length_m / 5.0)):
        s, off = draw.uniform(edge.first_m, edge.last_m), near + draw.uniform(2.5, 16.0)
        for spot in site.spots(edge, side, s, off, 120.0):
            if draw.chance(0.7):
                put_tree(site, spot.x, spot.y, draw, (6.0, 12.0), 0.15)
            else:
                put_bush(site, spot.x, spot.y, draw)


def border(
    site: Site,
    edge: Edge,
    side: int,
    off_m: float,
    kind: str,
    draw: Stream,
    first: float | None = None,
    last: float | None = None,
) -> None:
    """A fence, hedge or wall along a road, `off_m` from its middle."""
    if kind == "none":
        return
    low = edge.first_m + 0.5 if first is None else first
    high = edge.last_m - 0.5 if last is None else last
    if high - low < 2.0:
        return
    count = max(1, round((high - low) / 5.0))
    s = np.linspace(low, high, count + 1)
    line = edge.path.beside(s, side * off_m)[:, :2]
    middle = line[len(line) // 2]
    if float(site.distance_m(middle[0], middle[1])) > 130.0:
        return
    if side < 0:  # fronts look to the right of the way: towards the road
        line = line[::-1]
    palette = site.palette
    if kind == "hedge":
        height = draw.uniform(0.8, 1.9)
        site.chain("hedge", line, (0.7, height), leaf_style(site, draw), draw, 0.0)
    elif kind == "wall":
        color = varied(draw.choice((*palette.walls, *palette.bricks)), draw)
        site.chain(
            "wall", line, (0.28, draw.uniform(0.6, 1.7)), {"color": color, "color2": tinted(color, 0.8)}, draw, 0.0
        )
    else:
        color = varied(draw.choice((*palette.woods, palette.metal, (0.7, 0.7, 0.68))), draw)
        style = {"fence": draw.choice(("boards", "pickets", "rails")), "color": color, "color2": tinted(color, 0.75)}
        site.chain("fence", line, (0.14, draw.uniform(0.9, 1.6)), style, draw, 0.0)


def _towers_behind(site: Site, draw: Stream) -> None:
    """High-rises inside the blocks, seen above the rows."""
    low, high = site.route.min(0) - 90.0, site.route.max(0) + 90.0
    for _ in range(24):
        x, y = draw.uniform(low[0], high[0]), draw.uniform(low[1], high[1])
        wide = draw.uniform(14.0, 24.0)
        size = (wide, wide * draw.uniform(0.7, 1.0), draw.uniform(22.0, 60.0))
        style = tower_style(site.palette, draw)
        site.put("tower", x, y, draw.uniform(0.0, 1.6), size, style, seed=draw.word(), clear_m=4.0, margin_m=1.5)


def place_gardens(site: Site) -> None:
    """Suburb: houses in gardens with hedges, fences, garages, trees."""
    stream = site.stream.sub("gardens")
    setback = stream.uniform(3.5, 7.5)
    taste = stream.choice(("hedge", "fence", "wall", "none", "mixed"))
    for edge in site.network.edges:
        if not site.near_edge(edge, _REACH_M):
            continue
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            s = max(edge.first_m - 4.0, 0.0) + draw.uniform(0.0, 6.0)
            while s < edge.last_m - 4.0:
                plot = draw.uniform(14.0, 23.0)
                if not draw.chance(0.06):
                    _plot(site, edge, side, s, plot, setback + draw.uniform(-1.0, 2.0), taste, draw)
                s += plot
    low, high = site.route.min(0) - 60.0, site.route.max(0) + 60.0
    for k in range(min(220, int(float((high - low).prod()) / 260.0))):  # trees in the gardens behind
        draw = stream.sub(f"tree{k}")
        put_tree(site, draw.uniform(low[0], high[0]), draw.uniform(low[1], high[1]), draw, (5.0, 13.0), 0.25, 2.0)


def _plot(site: Site, edge: Edge, side: int, s: float, plot: float, setback: float, taste: str, draw: Stream) -> None:
    """One house from station `s` on, with its garden."""
    near = edge.profile.total_half_m
    length, depth = min(draw.uniform(8.5, 13.0), plot - 4.0), draw.uniform(7.0, 9.5)
    left = draw.chance(0.5)
    middle = s + (0.5 * length + 1.0 if left else plot - 0.5 * length - 1.0)
    spot = next(iter(site.spots(edge, side, middle, near + setback + 0.5 * depth, _REACH_M)), None)
    if spot is None:
        return
    height, style = house_style(site.palette, draw, depth)
    yaw = spot.facing + draw.uniform(-0.06, 0.06)
    if site.put(
        "house",
        spot.x,
        spot.y,
        yaw,
        (length, depth, height),
        style,
        seed=draw.word(),
        clear_m=0.4,
        margin_m=1.0,
    ) and draw.chance(0.55):
        beside = s + plot - 2.4 if left else s + 2.4
        for place in site.spots(edge, side, beside, near + setback + 3.5, _REACH_M):
            size = (3.4, 6.0, draw.uniform(2.4, 2.8))
            look = garage_style(site.palette, draw, style)
            site.put("garage", place.x, place.y, place.facing, size, look, seed=draw.word(), margin_m=0.3)
    kind = draw.choice(("hedge", "fence", "wall", "none")) if taste == "mixed" else taste
    gate = s + plot - 3.9 if left else s + 3.9
    first, last = max(s + 0.2, edge.first_m + 0.5), min(s + plot - 0.2, edge.last_m - 0.5)
    if left:
        border(site, edge, side, near + 0.5, kind, draw, first, min(gate, last))
    else:
        border(site, edge, side, near + 0.5, kind, draw, max(gate, first), last)
    if draw.chance(0.6):  # between neighbors
        _divide(site, edge, side, s, near, setback + depth + 3.0, draw)
    for _ in range(draw.integer(1, 4)):
        at, off = s + draw.uniform(1.0, plot - 1.0), near + draw.uniform(1.5, max(setback - 1.0, 2.0))
        for place in site.spots(edge, side, at, off, 120.0):
            _garden_plant(site, place, draw)
    for _ in range(draw.integer(0, 3)):
        at, off = s + draw.uniform(1.0, plot - 1.0), near + setback + depth + draw.uniform(3.0, 9.0)
        for place in site.spots(edge, side, at, off, 120.0):
            put_tree(site, place.x, place.y, draw, (5.0, 12.0), 0.3)


def _garden_plant(site: Site, place: Spot, draw: Stream) -> None:
    if draw.chance(0.3):
        put_tree(site, place.x, place.y, draw, (3.5, 7.0), 0.25)
    else:
        put_bush(site, place.x, place.y, draw)


def _divide(site: Site, edge: Edge, side: int, s: float, near: float, far: float, draw: Stream) -> None:
    """A hedge or fence between two gardens, away from the road."""
    line = np.array([edge.path.beside(s, side * d)[:2] for d in np.linspace(near + 0.8, near + far, 4)])
    if float(site.distance_m(line[0, 0], line[0, 1])) > 100.0:
        return
    if draw.chance(0.5):
        site.chain("hedge", line, (0.6, draw.uniform(0.9, 1.8)), leaf_style(site, draw), draw, 0.3)
    else:
        color = varied(draw.choice(site.palette.woods), draw)
        style = {"fence": draw.choice(("boards", "pickets")), "color": color, "color2": tinted(color, 0.75)}
        site.chain("fence", line, (0.14, draw.uniform(1.0, 1.6)), style, draw, 0.3)
