"""What lies along country roads and motorways: farms, fields' edges, woods, rails, barriers, sign bridges."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_parts import Edge
from jwmtool.worlds.scenery.building_styles import barn_style, hall_style, house_style
from jwmtool.worlds.scenery.greenery import leaf_style, put_bush, put_tree, put_wood, street_tree, tree_style
from jwmtool.worlds.scenery.palette import tinted, varied
from jwmtool.worlds.scenery.place_streets import border
from jwmtool.worlds.scenery.placing import Site

_REACH_M = 180.0
_BLUE, _GREEN, _WHITE = (0.02, 0.10, 0.40), (0.01, 0.22, 0.10), (0.78, 0.78, 0.75)


def place_country(site: Site) -> None:
    """Sections of field, pasture, hedge, avenue, wood and farm along each side of every road."""
    stream = site.stream.sub("country")
    weights = [stream.uniform(0.3, 1.0) for _ in range(7)]
    conifers = stream.choice((0.05, 0.3, 0.8))
    habit = street_tree(site, stream)
    poles = stream.chance(0.6)
    for edge in site.network.edges:
        if not site.near_edge(edge, _REACH_M):
            continue
        _delineators(site, edge, 50.0)
        _bend_rails(site, edge)
        if poles:
            _power_poles(site, edge, stream.sub(f"poles{edge.id}"))
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            s = edge.first_m + 4.0
            while s < edge.last_m - 10.0:
                length = draw.uniform(35.0, 110.0)
                end = min(s + length, edge.last_m - 4.0)
                motif = draw.choice(("field", "pasture", "hedge", "avenue", "wood", "farm", "scattered"), weights)
                middle = edge.path.at(0.5 * (s + end))
                if float(site.distance_m(middle[0], middle[1])) < _REACH_M + 40.0:
                    _section(site, edge, side, s, end, motif, habit, conifers, draw)
                if draw.chance(0.55):
                    _field_boundary(site, edge, side, end, draw)
                s = end + draw.uniform(0.0, 6.0)


def _section(
    site: Site, edge: Edge, side: int, s: float, end: float, motif: str, habit: str, conifers: float, draw: Stream
) -> None:
    rim = edge.profile.total_half_m
    if motif == "pasture":
        border(site, edge, side, rim + draw.uniform(2.5, 5.0), "fence", draw, s, end)
    elif motif == "hedge":
        border(site, edge, side, rim + draw.uniform(1.6, 3.5), draw.choice(("hedge", "hedge", "wall")), draw, s, end)
    elif motif == "avenue":
        spacing, off = draw.uniform(9.0, 15.0), rim + draw.uniform(2.5, 3.8)
        tall = draw.uniform(8.0, 14.0)
        for spot in site.spots(edge, side, np.arange(s, end, spacing), off, _REACH_M):
            style = tree_style(site, draw, habit, 0.28 * tall if habit != "poplar" else 1.2)
            crown = tall * (0.24 if habit == "poplar" else 0.55) * draw.uniform(0.9, 1.1)
            crown = min(crown, 2.0 * (off - rim) + 0.5)  # lorries pass beside it
            size = (crown, crown, tall * draw.uniform(0.9, 1.1))
            site.put(
                "tree", spot.x, spot.y, draw.uniform(0, 6.28), size, style, seed=draw.word(), clear_m=1.2, margin_m=0.5
            )
    elif motif == "wood":
        for off, step in ((rim + 7.0, 6.5), (rim + 13.0, 7.5)):
            stations = np.array([v + draw.uniform(-2.0, 2.0) for v in np.arange(s, end, step)])
            for spot in site.spots(edge, side, stations, off + draw.uniform(-1.0, 1.0), 140.0):
                put_tree(site, spot.x, spot.y, draw, (9.0, 17.0), conifers, 3.0)
        _woods(site, edge, side, s, end, rim + 28.0, conifers, draw)
    elif motif == "farm":
        _farm(site, edge, side, 0.5 * (s + end), rim + draw.uniform(16.0, 28.0), draw)
    elif motif == "field" and draw.chance(0.6):
        for _ in range(draw.integer(3, 9)):
            for spot in site.spots(edge, side, draw.uniform(s, end), rim + draw.uniform(8.0, 50.0), 120.0):
                diameter = 1.5
                turn = draw.uniform(0, 6.28)
                site.put("bale", spot.x, spot.y, turn, (1.3, diameter, diameter), {}, seed=draw.word(), clear_m=4.0)
    if motif in ("scattered", "field", "pasture"):
        for _ in range(draw.integer(2, 7) if motif == "scattered" else draw.integer(0, 3)):
            for spot in site.spots(edge, side, draw.uniform(s, end), rim + draw.uniform(3.0, 35.0), 140.0):
                if draw.chance(0.6):
                    put_tree(site, spot.x, spot.y, draw, (6.0, 14.0), 0.5 * conifers, 2.0)
                else:
                    put_bush(site, spot.x, spot.y, draw, 1.2)
        if motif == "scattered" and draw.chance(0.4):
            for spot in site.spots(edge, side, draw.uniform(s, end), rim + draw.uniform(2.0, 6.0), 100.0):
                size = (draw.uniform(0.8, 1.8), draw.uniform(0.8, 1.4), draw.uniform(0.5, 1.1))
                site.put("boulder", spot.x, spot.y, draw.uniform(0, 6.28), size, {}, seed=draw.word(), clear_m=1.2)
        if draw.chance(0.7):
            _woods(site, edge, side, s, end, rim + draw.uniform(60.0, 110.0), conifers, draw)


def _field_boundary(site: Site, edge: Edge, side: int, s: float, draw: Stream) -> None:
    """A hedgerow or fence that runs away from the road between two fields, with a tree here and there."""
    rim = edge.profile.total_half_m
    first, last = rim + draw.uniform(5.0, 9.0), rim + draw.uniform(40.0, 90.0)
    foot, head = edge.path.beside(s, side * first), edge.path.beside(s, side * last)
    if float(site.distance_m(foot[0], foot[1])) > 140.0:
        return
    share = np.linspace(0.0, 1.0, max(2, round((last - first) / 7.0)))[:, None]
    line = foot[:2] + share * (head[:2] - foot[:2])
    motif = draw.choice(("hedge", "fence", "bushes"))
    if motif == "hedge":
        site.chain("hedge", line, (1.0, draw.uniform(1.0, 2.2)), leaf_style(site, draw), draw, 2.0)
    elif motif == "fence":
        color = varied(draw.choice(site.palette.woods), draw)
        style = {"fence": draw.choice(("rails", "wire")), "color": color, "color2": tinted(color, 0.75)}
        site.chain("fence", line, (0.14, 1.2), style, draw, 2.0)
    for x, y in line:
        if draw.chance(0.2 if motif == "fence" else 0.4):
            put_tree(site, float(x), float(y) + 1.2, draw, (4.0, 11.0), 0.1, 2.0)
        elif motif == "bushes":
            put_bush(site, float(x), float(y), draw, 2.0)


def _woods(site: Site, edge: Edge, side: int, s: float, end: float, off: float, conifers: float, draw: Stream) -> None:
    """A belt of trees along the road, `off` metres from its middle."""
    count = max(1, round((end - s) / 34.0))
    width = (end - s) / count
    for k in range(count):
        for spot in site.spots(edge, side, s + (k + 0.5) * width, off + draw.uniform(-3.0, 3.0), 260.0):
            size = (1.1 * width, draw.uniform(12.0, 22.0), draw.uniform(10.0, 17.0))
            put_wood(site, spot.x, spot.y, spot.facing, size, draw, conifers)


def _farm(site: Site, edge: Edge, side: int, s: float, off: float, draw: Stream) -> None:
    spot = next(iter(site.spots(edge, side, s, off, _REACH_M)), None)
    if spot is None:
        return
    yaw = spot.facing + draw.choice((0.0, 0.0, 0.5 * math.pi)) + draw.uniform(-0.2, 0.2)
    cos, sin = math.cos(yaw), math.sin(yaw)
    length, depth = draw.uniform(11.0, 16.0), draw.uniform(8.0, 10.0)
    height, style = house_style(site.palette, draw, depth)
    site.put("house", spot.x, spot.y, yaw, (length, depth, height), style, seed=draw.word(), clear_m=2.5, margin_m=1.5)
    for sign in (-1, 1):
        size = (draw.uniform(16.0, 28.0), draw.uniform(9.0, 13.0), draw.uniform(7.5, 10.5))
        u, v = sign * draw.uniform(20.0, 27.0), draw.uniform(-2.0, 14.0)
        look = barn_style(site.palette, draw, size[1])
        turn = yaw + draw.choice((0.0, 0.5 * math.pi))
        site.put(
            "barn",
            spot.x + cos * u - sin * v,
            spot.y + sin * u + cos * v,
            turn,
            size,
            look,
            seed=draw.word(),
            clear_m=3.0,
            margin_m=1.5,
        )
    for k in range(draw.integer(0, 3)):
        u, v = draw.uniform(-8.0, 8.0), 18.0 + 1.0 * k
        wide = draw.uniform(3.5, 5.5)
        look = {"wall": varied((0.5, 0.5, 0.48), draw)}
        site.put("silo", spot.x + cos * (u + 7.0 * k) - sin * v, spot.y + sin * (u + 7.0 * k) + cos * v, yaw,
                 (wide, wide, draw.uniform(9.0, 15.0)), look, seed=draw.word(), clear_m=3.0)  # fmt: skip
    for _ in range(8):
        u, v = draw.uniform(-30.0, 30.0), draw.uniform(-14.0, 30.0)
        put_tree(site, spot.x + cos * u - sin * v, spot.y + sin * u + cos * v, draw, (6.0, 13.0), 0.2, 2.0)


def _delineators(site: Site, edge: Edge, spacing: float) -> None:
    stations = np.arange(edge.first_m + 6.0, edge.last_m - 4.0, spacing)
    for side in (-1, 1):
        for spot in site.spots(edge, side, stations, edge.profile.total_half_m + 0.4, 150.0):
            site.put("delineator", spot.x, spot.y, spot.reading, (0.12, 0.12, 1.0), {}, seed=1, clear_m=None)


def _bend_rails(site: Site, edge: Edge) -> None:
    """Guard rails on the outside of tight bends."""
    s = np.arange(edge.first_m + 6.0, edge.last_m - 6.0, 4.0)
    if len(s) < 3:
        return
    bend = edge.path.curvature(s, 8.0)
    for side in (-1, 1):
        tight = bend * -side > 0.011  # the outside of a bend to the left is the right
        starts = np.flatnonzero(np.diff(np.concatenate([[False], tight, [False]]).astype(np.int8)))
        for first, last in starts.reshape(-1, 2):
            if last - first >= 4:
                rail_run(site, edge, side, s[first:last], edge.profile.total_half_m + 0.9)


def rail_run(site: Site, edge: Edge, side: int, stations: np.ndarray, off_m: float) -> None:
    """A guard rail through stations of an edge, facing the road."""
    line = edge.path.beside(stations, side * off_m)[:, :2]
    near = site.distance_m(line[:, 0], line[:, 1]) < _REACH_M
    line = line if side > 0 else line[::-1]
    near = near if side > 0 else near[::-1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], near, [False]]).astype(np.int8))).reshape(-1, 2)
    for first, last in edges:
        if last - first >= 2:
            style = {"color": (0.42, 0.43, 0.43)}
            site.chain("rail", line[first:last], (0.25, 0.75), style, site.stream.sub("rail"), None)


def _power_poles(site: Site, edge: Edge, draw: Stream) -> None:
    side, off = draw.choice((-1, 1)), edge.profile.total_half_m + draw.uniform(5.0, 9.0)
    color = varied(site.palette.woods[0], draw)
    size = (2.0, 0.3, draw.uniform(7.5, 10.0))
    for spot in site.spots(edge, side, np.arange(edge.first_m + 10.0, edge.last_m, draw.uniform(38.0, 55.0)), off):
        site.put("power_pole", spot.x, spot.y, spot.reading, size, {"color": color}, seed=draw.word(), clear_m=1.0)


def place_motorway(site: Site) -> None:
    """Rails along both sides, a barrier in the middle, sign bridges, noise walls, bushes, woods, halls."""
    stream = site.stream.sub("motorway")
    concrete = stream.chance(0.5)
    conifers = stream.choice((0.05, 0.3, 0.8))
    weights = [stream.uniform(0.3, 1.0) for _ in range(6)]
    for edge in site.network.edges:
        if not site.near_edge(edge, _REACH_M):
            continue
        draw = stream.sub(edge.id)
        _median(site, edge, concrete, draw)
        for side in (-1, 1):
            rail_run(site, edge, side, _every(edge, 12.0), edge.profile.total_half_m + 0.6)
        _gantries(site, edge, draw)
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            s = edge.first_m
            while s < edge.last_m - 20.0:
                end = min(s + draw.uniform(50.0, 180.0), edge.last_m)
                motif = draw.choice(("wall", "bushes", "trees", "wood", "halls", "open"), weights)
                middle = edge.path.at(0.5 * (s + end))
                if float(site.distance_m(middle[0], middle[1])) < _REACH_M + 0.5 * (end - s):
                    _verge(site, edge, side, s, end, motif, conifers, draw)
                s = end


def _every(edge: Edge, step: float) -> np.ndarray:
    count = max(1, round((edge.last_m - edge.first_m) / step))
    return np.linspace(edge.first_m, edge.last_m, count + 1)


def _median(site: Site, edge: Edge, concrete: bool, draw: Stream) -> None:
    half = edge.profile.median_half_m
    if half < 0.5:
        return
    stations = _every(edge, 12.0)
    if not concrete and half > 0.9:
        for side in (-1, 1):  # back to back: each faces its own carriageway
            line = edge.path.beside(stations, side * 0.32)[:, :2]
            near = site.distance_m(line[:, 0], line[:, 1]) < _REACH_M
            part = (line if side < 0 else line[::-1])[near if side < 0 else near[::-1]]
            if len(part) > 1:
                site.chain("rail", part, (0.25, 0.75), {"color": (0.42, 0.43, 0.43)}, draw, None)
        return
    line = edge.path.at(stations)[:, :2]
    part = line[site.distance_m(line[:, 0], line[:, 1]) < _REACH_M]
    if len(part) > 1:
        site.chain("barrier", part, (min(0.7, half), draw.uniform(0.8, 1.1)), {"color": (0.42, 0.41, 0.39)}, draw, None)


def _gantries(site: Site, edge: Edge, draw: Stream) -> None:
    profile = edge.profile
    s = edge.first_m + draw.uniform(40.0, 120.0)
    color = draw.choice((_BLUE, _GREEN))
    inner, outer = profile.median_half_m, profile.total_half_m + 1.3
    if inner < 0.7:
        return
    while s < edge.last_m - 40.0:
        for side in (-1, 1):
            if not draw.chance(0.75):
                continue
            # From the median's middle to beyond the rail; boards hang over the lanes.
            for spot in site.spots(edge, side, s, 0.5 * outer):
                lanes = profile.num_lanes
                boards = []
                for lane in range(0, lanes, 2 if lanes > 2 else 1):
                    # Local x runs from the left of those who read to their right: from the median outwards.
                    x = inner + (lane + 0.5) * profile.lane_width_m - 0.5 * outer
                    boards.append((round(x, 3), round(draw.uniform(1.3, 1.65), 3), round(draw.uniform(0.5, 0.7), 3)))
                style = {"boards": tuple(boards), "color": color, "rim": _WHITE}
                site.put(
                    "gantry",
                    spot.x,
                    spot.y,
                    spot.reading,
                    (outer, 0.5, 7.0),
                    style,
                    seed=draw.word(),
                    clear_m=None,
                    margin_m=0.0,
                )
        s += draw.uniform(180.0, 420.0)


def _verge(site: Site, edge: Edge, side: int, s: float, end: float, motif: str, conifers: float, draw: Stream) -> None:
    rim = edge.profile.total_half_m
    if motif == "wall":
        stations = np.arange(s, end, 8.0)
        line = edge.path.beside(stations, side * (rim + 2.6))[:, :2]
        line = line[site.distance_m(line[:, 0], line[:, 1]) < _REACH_M]
        if len(line) > 1:
            color = varied(draw.choice((*site.palette.walls, (0.2, 0.3, 0.22))), draw)
            style = {"color": color, "color2": tinted(color, 0.85), "panels": True}
            site.chain("wall", line if side > 0 else line[::-1], (0.25, draw.uniform(2.5, 4.5)), style, draw, 1.0)
    if motif in ("bushes", "open"):
        for _ in range(int((end - s) / (3.5 if motif == "bushes" else 14.0))):
            for spot in site.spots(edge, side, draw.uniform(s, end), rim + draw.uniform(2.8, 8.0), 140.0):
                put_bush(site, spot.x, spot.y, draw, 1.8)
    if motif == "trees":
        for _ in range(int((end - s) / 4.5)):
            for spot in site.spots(edge, side, draw.uniform(s, end), rim + draw.uniform(5.0, 20.0), 150.0):
                put_tree(site, spot.x, spot.y, draw, (6.0, 14.0), conifers, 2.5)
    if motif == "halls":
        for spot in site.spots(edge, side, s + 0.5 * (end - s), rim + draw.uniform(30.0, 50.0), 220.0):
            size = (draw.uniform(30.0, 60.0), draw.uniform(18.0, 30.0), draw.uniform(7.0, 12.0))
            site.put(
                "hall",
                spot.x,
                spot.y,
                spot.facing,
                size,
                hall_style(site.palette, draw),
                seed=draw.word(),
                clear_m=6.0,
                margin_m=1.0,
            )
    if motif == "wood" or draw.chance(0.65):
        _woods(site, edge, side, s, end, rim + (26.0 if motif == "wood" else draw.uniform(40.0, 90.0)), conifers, draw)
    if motif == "wood":
        for spot in site.spots(edge, side, np.arange(s, end, 7.0), rim + 11.0 + draw.uniform(-1.0, 1.0), 150.0):
            put_tree(site, spot.x, spot.y, draw, (8.0, 15.0), conifers, 3.0)
        for spot in site.spots(edge, side, np.arange(s, end, 9.0), rim + 6.5, 130.0):
            if draw.chance(0.7):
                style = leaf_style(site, draw)
                wide = draw.uniform(1.5, 3.0)
                site.put(
                    "bush",
                    spot.x,
                    spot.y,
                    draw.uniform(0, 6.28),
                    (wide, wide, 0.7 * wide),
                    style,
                    seed=draw.word(),
                    clear_m=1.8,
                )
