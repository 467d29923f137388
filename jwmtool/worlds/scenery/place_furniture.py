"""Street furniture: traffic lights, signs, lamps, and what stands along the rims of sidewalks."""

from __future__ import annotations

import numpy as np

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_parts import Edge
from jwmtool.worlds.scenery.greenery import street_tree, tree_style
from jwmtool.worlds.scenery.palette import Color, varied
from jwmtool.worlds.scenery.placing import WALKING_HALF_M, Site
from jwmtool.worlds.shapes.surfaces import SIGN_BLUE, SIGN_DIRECTION, SIGN_PROHIBITION, SIGN_STOP, SIGN_WARNING

_RED: Color = (0.55, 0.03, 0.03)
_WHITE: Color = (0.78, 0.78, 0.75)
_BLUE: Color = (0.02, 0.10, 0.40)
_GREEN: Color = (0.01, 0.22, 0.10)
_YELLOW: Color = (0.70, 0.50, 0.03)


def rim_m(edge: Edge, width_m: float) -> float | None:
    """Distance from the middle of a road for something `width_m` wide at the kerb, or None if walkers need the room."""
    profile = edge.profile
    if profile.sidewalk_m <= 0:
        return profile.paved_half_m + 0.5 + 0.5 * width_m
    band = 0.5 * profile.sidewalk_m - WALKING_HALF_M
    if width_m + 0.1 > band:
        return None
    return profile.paved_half_m + min(0.5 * band, 0.25 + 0.5 * width_m)


def pole_m(edge: Edge) -> float:
    """Distance from the middle for a post that must stand: at the kerb or, if too narrow, beyond the sidewalk."""
    place = rim_m(edge, 0.2)
    return edge.profile.total_half_m + 0.25 if place is None else place


def place_signals(site: Site) -> None:
    """Traffic lights on the right before the stop line of each arm of a signalled junction; stop signs at others."""
    stream = site.stream.sub("signals")
    color, housing = site.palette.metal, (0.03, 0.03, 0.035)
    if stream.chance(0.25):
        housing = (0.5, 0.36, 0.02)
    masts = stream.chance(0.6)
    for node in site.network.nodes:
        if node.control not in ("signals", "priority"):
            continue
        for arm, (edge_id, at_start) in enumerate(node.arms):
            draw = stream.sub(f"{node.id}/{arm}")
            edge = site.network.edges[edge_id]
            side = 1 if at_start else -1  # on the right of those who come towards the node
            ahead = -1.0 if at_start else 1.0
            station = site.network.stop_line_m(node.id, arm)
            for off in (0.6, 0.0, -1.0, 1.6):
                s = station + ahead * off
                spot = next(iter(site.spots(edge, side, s, pole_m(edge))), None)
                if spot is None:
                    break
                if node.control == "signals":
                    arm_m = (
                        (edge.profile.parking_m + edge.profile.shoulder_m + 0.5 * edge.profile.lane_width_m)
                        if masts
                        else 0.0
                    )
                    arm_m += 0.6 if masts else 0.0
                    height = 6.0 if masts else 3.4
                    style = {
                        "group": node.first_group + arm,
                        "arm_m": round(arm_m, 3),
                        "color": color,
                        "housing": housing,
                    }
                    done = site.put(
                        "signal",
                        spot.x,
                        spot.y,
                        spot.reading,
                        (0.2, 0.2, height),
                        style,
                        seed=draw.word(),
                        clear_m=None,
                    )
                elif len(node.arms) == 3 and draw.chance(0.6):
                    done = _put_sign(site, spot.x, spot.y, spot.reading, SIGN_STOP, 0.38, draw)
                else:
                    done = True
                if done:
                    break


def _put_sign(
    site: Site, x: float, y: float, yaw: float, kind: int, half: float, draw: Stream, aspect: float = 1.0
) -> bool:
    color, rim = {
        SIGN_PROHIBITION: (_WHITE, _RED),
        SIGN_WARNING: (_WHITE if draw.chance(0.6) else _YELLOW, _RED),
        SIGN_BLUE: (_BLUE, _WHITE),
        SIGN_STOP: (_RED, _WHITE),
        SIGN_DIRECTION: (draw.choice((_BLUE, _GREEN, _YELLOW, _WHITE)), _WHITE),
    }[kind]
    height = 2.2 + 2.0 * half * (aspect if kind == SIGN_DIRECTION else 1.0)
    wide = kind == SIGN_DIRECTION and half > 0.8
    style = {"sign": kind, "half_m": round(half, 3), "aspect": round(aspect, 3), "color": color, "rim": rim}
    size = (1.5 * half if wide else 0.12, 0.12, height)
    return site.put("sign", x, y, yaw, size, style, seed=draw.word(), clear_m=None)


def place_signs(site: Site, spacing_m: float) -> None:
    """Speed limits, warnings, orders and signposts along every road."""
    stream = site.stream.sub("signs")
    fast = site.kind in ("motorway", "country")
    for edge in site.network.edges:
        if not site.near_edge(edge):
            continue
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            s = edge.first_m + draw.uniform(8.0, 0.6 * spacing_m)
            while s < edge.last_m - 8.0:
                kind = draw.choice(
                    (SIGN_PROHIBITION, SIGN_WARNING, SIGN_BLUE, SIGN_DIRECTION), (4, 3, 2, 2 if fast else 1)
                )
                half = {SIGN_PROHIBITION: 0.32, SIGN_WARNING: 0.46, SIGN_BLUE: 0.3, SIGN_DIRECTION: 0.55}[kind]
                half *= 1.35 if site.kind == "motorway" else 1.0
                aspect, off = 1.0, pole_m(edge) + (1.2 if fast else 0.0)
                if kind == SIGN_DIRECTION:
                    half, aspect = (draw.uniform(1.2, 1.9), draw.uniform(0.5, 0.8)) if fast else (0.6, 0.4)
                    off += half if fast else 0.0
                for spot in site.spots(edge, side, s, off):
                    if not site.at_crossing(edge, s):
                        _put_sign(site, spot.x, spot.y, spot.reading, kind, half, draw, aspect)
                s += spacing_m * draw.uniform(0.6, 1.5)


def place_lamps(site: Site) -> None:
    """Street lamps along lit roads: on both sides, one side, or two-armed on a median wide enough."""
    stream = site.stream.sub("lamps")
    lantern = site.kind in ("city", "suburb") and stream.chance(0.3)
    height = stream.uniform(4.0, 5.0) if lantern else stream.uniform(7.0, 9.5)
    spacing = stream.uniform(18.0, 24.0) if lantern else stream.uniform(26.0, 36.0)
    both = stream.chance(0.6)
    color = site.palette.metal
    for edge in site.network.edges:
        profile = edge.profile
        if not profile.lit or not site.near_edge(edge):
            continue
        draw = stream.sub(edge.id)
        count = max(1, round((edge.last_m - edge.first_m - 6.0) / spacing))
        stations = edge.first_m + 3.0 + (np.arange(count) + 0.5) * (edge.last_m - edge.first_m - 6.0) / count
        if profile.median_half_m > 0.9:
            size = (0.24, 0.24, height + 2.0)
            style = {"arm_m": 2.2, "arms": 2, "color": color}
            for spot in site.spots(edge, -1, stations, 0.0):
                site.put("lamp", spot.x, spot.y, spot.facing, size, style, seed=draw.word(), clear_m=None)
            continue
        for side in (-1, 1):
            if side == 1 and not both and profile.num_lanes < 2:
                continue
            shifted = stations + (0.25 if side > 0 else -0.25) * (edge.last_m - edge.first_m) / count
            arm = 0.0 if lantern else min(2.4, 0.8 + profile.parking_m)
            style = {"arm_m": round(arm, 3), "arms": 1, "color": color}
            for spot in site.spots(
                edge, side, shifted[(shifted > edge.first_m + 1) & (shifted < edge.last_m - 1)], pole_m(edge)
            ):
                if not site.at_crossing(edge, spot.s_m, 0.2):
                    site.put(
                        "lamp", spot.x, spot.y, spot.facing, (0.22, 0.22, height), style, seed=draw.word(), clear_m=None
                    )


def place_rim(site: Site) -> None:
    """Street trees, benches, bins, bollards, hydrants, columns and switch boxes along the rims of sidewalks."""
    stream = site.stream.sub("rim")
    green = stream.uniform(0.0, 1.0)
    habit = street_tree(site, stream)
    for edge in site.network.edges:
        profile = edge.profile
        if profile.sidewalk_m <= 0 or not site.near_edge(edge, 150.0):
            continue
        draw = stream.sub(edge.id)
        lined = draw.chance(green)
        spacing = draw.uniform(8.0, 14.0)
        for side in (-1, 1):
            s = edge.first_m + draw.uniform(3.0, 7.0)
            while s < edge.last_m - 3.0:
                if not site.at_crossing(edge, s, 1.0):
                    _rim_piece(site, edge, side, s, lined, habit, draw)
                s += spacing * draw.uniform(0.8, 1.2) * (1.0 if lined else 1.6)


def _rim_piece(site: Site, edge: Edge, side: int, s: float, lined: bool, habit: str, draw: Stream) -> None:
    palette = site.palette
    if lined and draw.chance(0.8):
        kind = "tree"
    else:
        weights = (3, 4, 4, 1.5, 0.8, 2) if site.kind == "city" else (1, 2, 0, 2, 0, 2)
        kind = draw.choice(("bench", "bin", "bollards", "hydrant", "column", "cabinet"), weights)
    width = {"tree": 0.66, "bench": 0.6, "bin": 0.45, "bollards": 0.16, "hydrant": 0.4, "column": 1.2, "cabinet": 0.4}[
        kind
    ]
    off = rim_m(edge, width)
    if off is None:
        return
    spot = next(iter(site.spots(edge, side, s, off, 150.0)), None)
    if spot is None:
        return
    paint = varied(palette.furniture, draw, 0.3)
    if kind == "tree":
        # Crowns stay off the lanes: a lorry must pass below or beside.
        room = off - edge.profile.paved_half_m + edge.profile.parking_m + edge.profile.shoulder_m + 0.9
        crown = min(2.0 * room, draw.uniform(3.2, 6.0))
        style = tree_style(site, draw, habit, draw.uniform(2.6, 3.4))
        size = (crown, crown, style["trunk_m"] + draw.uniform(0.9, 1.4) * crown)
        site.put("tree", spot.x, spot.y, draw.uniform(0, 6.28), size, style, seed=draw.word(), clear_m=None)
        return
    if kind == "bollards":
        line = [spot.s_m + 1.6 * k for k in range(draw.integer(2, 6))]
        for post in site.spots(edge, side, [v for v in line if v < edge.last_m - 1.0], off, 150.0):
            if not site.at_crossing(edge, post.s_m, 0.1):
                site.put(
                    "bollard",
                    post.x,
                    post.y,
                    post.facing,
                    (0.16, 0.16, 0.9),
                    {"color": palette.metal},
                    seed=1,
                    clear_m=None,
                )
        return
    size, style = {
        "bench": ((1.7, 0.6, 0.85), {"color": varied(palette.woods[0], draw), "metal": palette.metal}),
        "bin": ((0.45, 0.45, 1.0), {"color": paint}),
        "hydrant": ((0.4, 0.36, 0.8), {"color": draw.choice((_RED, _YELLOW, _BLUE, _WHITE))}),
        "column": ((1.2, 1.2, 3.3), {"color": varied(draw.choice(palette.walls), draw), "metal": palette.metal,
                                     "color2": varied((0.3, 0.35, 0.5), draw, 0.6)}),
        "cabinet": ((1.0, 0.4, 1.2), {"color": varied((0.36, 0.40, 0.36), draw, 0.4)}),
    }[kind]  # fmt: skip
    site.put(kind, spot.x, spot.y, spot.facing, size, style, seed=draw.word(), clear_m=None)


def place_shelters(site: Site) -> None:
    """Bus shelters beyond the sidewalk or, where it is wide, at its outer rim."""
    stream = site.stream.sub("shelters")
    for edge in site.network.edges:
        profile = edge.profile
        if profile.sidewalk_m <= 0 or not site.near_edge(edge, 120.0) or edge.last_m - edge.first_m < 30.0:
            continue
        for side in (-1, 1):
            draw = stream.sub(f"{edge.id}/{side}")
            if not draw.chance(0.18):
                continue
            band = 0.5 * profile.sidewalk_m - WALKING_HALF_M
            on_rim = band >= 1.15
            width = min(1.5, band) if on_rim else 1.4
            off = profile.total_half_m - 0.5 * width if on_rim else profile.total_half_m + 0.5 * width + 0.05
            s = draw.uniform(edge.first_m + 8.0, edge.last_m - 8.0)
            for spot in site.spots(edge, side, s, off, 120.0):
                style = {"color": site.palette.metal, "poster": varied((0.5, 0.4, 0.3), draw, 0.6)}
                size = (draw.uniform(3.2, 4.6), width, 2.5)
                clear = None if on_rim else 0.0
                site.put("shelter", spot.x, spot.y, spot.facing, size, style, seed=draw.word(), clear_m=clear)
