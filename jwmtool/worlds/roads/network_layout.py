"""Where roads run: plans of nodes and edges for each kind of world, before junctions are shaped."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_parts import Profile
from jwmtool.worlds.shapes.surfaces import CENTER_DASHED, CENTER_DOUBLE, CENTER_NONE, CENTER_SOLID

Floats = NDArray[np.float64]

_MOTORWAY_WAVES = ((2, 0.28), (3, 0.12), (4, 0.05))  # waves per lap, and how high at most
_LONGEST_LAP_M = 6200.0


@dataclass(frozen=True)
class PlanEdge:
    """A road to be: from a node to a node by way of corners."""

    start: int
    end: int
    start_direction: Floats  # [2] unit, out of the start node
    end_direction: Floats  # [2] unit, out of the end node
    via: Floats  # [V, 2] corners between, to be rounded
    via_radius_m: Floats  # [V]
    profile: Profile


@dataclass(frozen=True)
class Plan:
    """Nodes [N, 2], the kerb radius at their corners [N], and the edges; a loop without nodes is `ring`, closed."""

    nodes: Floats
    corner_m: Floats
    edges: tuple[PlanEdge, ...]
    ring: tuple[Floats, Profile] | None = None


def plan_roads(kind: str, stream: Stream) -> Plan:
    """Draw a plan; it may still turn out invalid once roads get their width."""
    if kind == "motorway":
        return _motorway(stream)
    if kind == "country":
        return _country(stream)
    return _blocks(kind, stream)


def draw_profile(kind: str, stream: Stream, side: bool = False) -> Profile:
    """A road's cross section; `side` is for the lesser roads."""
    draw = stream.uniform
    if kind == "motorway":
        return Profile(
            draw(3.5, 3.75), stream.choice((2, 3, 4), (5, 4, 1)), draw(1.2, 2.6), 0.0, draw(2.0, 3.2), 0.0,
            CENTER_NONE, True, draw(28.0, 36.0), stream.chance(0.25),
        )  # fmt: skip
    if kind == "country":
        if side:
            return Profile(
                draw(2.5, 2.9), 1, 0.0, 0.0, draw(0.1, 0.4), 0.0, CENTER_NONE, False, draw(11.0, 16.0), False
            )
        center = stream.choice((CENTER_DASHED, CENTER_SOLID, CENTER_DOUBLE, CENTER_NONE), (6, 2, 1, 1))
        return Profile(
            draw(2.9, 3.6), 1, 0.0, 0.0, draw(0.2, 1.1), 0.0, center, stream.chance(0.7), draw(16.0, 25.0), False
        )
    if kind == "suburb":
        parking = draw(1.9, 2.2) if stream.chance(0.3 if side else 0.5) else 0.0
        center = stream.choice((CENTER_NONE, CENTER_DASHED), (2, 1) if side else (1, 2))
        return Profile(
            draw(2.7, 3.2), 1, 0.0, parking, draw(0.15, 0.4), draw(1.5, 2.4), center, stream.chance(0.15),
            draw(8.0, 11.5), stream.chance(0.8),
        )  # fmt: skip
    lanes = 1 if side and stream.chance(0.75) else stream.choice((1, 2), (2, 3))
    parking = draw(2.0, 2.3) if stream.chance(0.7) else 0.0
    center = stream.choice((CENTER_DASHED, CENTER_SOLID, CENTER_DOUBLE), (3, 1, 1) if lanes == 1 else (1, 2, 3))
    return Profile(
        draw(2.9, 3.4), lanes, 0.0, parking, draw(0.1, 0.4), draw(2.4, 4.2), center, stream.chance(0.2),
        draw(8.3, 13.9), True,
    )  # fmt: skip


def _motorway(stream: Stream) -> Plan:
    """A loop of gentle bends to both sides; no radius below 410 m."""
    angle = np.linspace(0.0, 2.0 * math.pi, 4000, endpoint=False)
    waves = [(k, stream.uniform(0.0, most), stream.uniform(0.0, 2.0 * math.pi)) for k, most in _MOTORWAY_WAVES]
    size = stream.uniform(480.0, 800.0)
    share = 1.0
    while True:
        shape = np.ones_like(angle)
        for k, height, phase in waves:
            shape += share * height * np.sin(k * angle + phase)
        points = shape[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        ahead, behind = np.roll(points, -1, 0), np.roll(points, 1, 0)
        d1, d2 = (ahead - behind) / 2, ahead + behind - 2 * points
        sharpest = float(np.max(np.abs(d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]) / np.hypot(*d1.T) ** 3))
        points = points * max(410.0 * sharpest, size)
        # A lap that needs to be longer is drawn rounder.
        if np.hypot(*(points - np.roll(points, 1, 0)).T).sum() < _LONGEST_LAP_M:
            break
        share *= 0.9
    if stream.chance(0.5):
        points = points[::-1]
    none = np.zeros((0, 2))
    return Plan(none, np.zeros(0), (), (points, draw_profile("motorway", stream)))


def _country(stream: Stream) -> Plan:
    """A winding loop with one or two lanes joining it."""
    profile = draw_profile("country", stream)
    count = stream.integer(10, 15)
    size = stream.uniform(270.0, 420.0)
    corners = []
    for i in range(count):
        angle = 2.0 * math.pi * (i + stream.uniform(-0.22, 0.22)) / count
        radius = size * stream.uniform(0.72, 1.2)
        corners.append([radius * math.cos(angle), radius * math.sin(angle) * stream.uniform(0.8, 1.0)])
    vertices = np.array(corners)
    if stream.chance(0.5):
        vertices = vertices[::-1]
    radii = np.array([stream.uniform(60.0, 240.0) for _ in range(count)])
    # A node stands in the middle of a long side, which stays straight there.
    sides = np.hypot(*(np.roll(vertices, -1, 0) - vertices).T)
    longest = [int(i) for i in np.argsort(-np.round(sides, 3), kind="stable")[:4]]
    chosen = sorted(stream.shuffled(longest)[: stream.integer(1, 3)])
    nodes = [0.5 * (vertices[i] + vertices[(i + 1) % count]) for i in chosen]
    along = [(vertices[(i + 1) % count] - vertices[i]) / sides[i] for i in chosen]
    edges = []
    for k, side in enumerate(chosen):
        following = (k + 1) % len(chosen)
        last = chosen[following] if chosen[following] > side else chosen[following] + count
        between = [(side + 1 + j) % count for j in range(last - side)]
        via = vertices[between]
        edges.append(PlanEdge(k, following, along[k], -along[following], via, radii[between], profile))
    middle = vertices.mean(0)
    for k in range(len(chosen)):
        outward = nodes[k] - middle
        base = np.array([-along[k][1], along[k][0]])
        if base @ outward < 0:
            base = -base
        turn = stream.uniform(-0.4, 0.4)
        direction = math.cos(turn) * base + math.sin(turn) * along[k]
        bend = stream.uniform(-0.5, 0.5)
        onward = math.cos(bend) * direction + math.sin(bend) * np.array([-direction[1], direction[0]])
        elbow = nodes[k] + stream.uniform(60.0, 80.0) * direction
        nodes.append(elbow + stream.uniform(70.0, 95.0) * onward)
        edges.append(
            PlanEdge(
                k, len(nodes) - 1, direction, -onward, elbow[None], np.array([60.0]),
                draw_profile("country", stream, side=True),
            )
        )  # fmt: skip
    corner = np.array([stream.uniform(6.0, 10.0) for _ in nodes])
    return Plan(np.array(nodes), corner, tuple(edges))


def _blocks(kind: str, stream: Stream) -> Plan:
    """A town: a jittered grid of streets, some of them missing, so that crossings and T junctions mix."""
    city = kind == "city"
    columns, rows = stream.choice(((4, 3), (3, 3), (4, 4), (3, 4)), (4, 1, 2, 2))
    outer = draw_profile(kind, stream)
    row_profiles = [draw_profile(kind, stream, side=True) for _ in range(rows)]
    column_profiles = [draw_profile(kind, stream, side=True) for _ in range(columns)]
    row_profiles[0] = row_profiles[-1] = column_profiles[0] = column_profiles[-1] = outer
    main = stream.integer(1, max(2, columns - 1))
    column_profiles[main] = draw_profile(kind, stream)
    low, high = (78.0, 125.0) if city else (72.0, 130.0)
    xs = np.cumsum([0.0] + [stream.uniform(low, high) for _ in range(columns - 1)])
    ys = np.cumsum([0.0] + [stream.uniform(low, high) for _ in range(rows - 1)])
    jitter = stream.uniform(0.0, 6.0) if city else stream.uniform(3.0, 12.0)
    shear = stream.uniform(-0.1, 0.1)
    place = {}
    for i in range(columns):
        for j in range(rows):
            x, y = xs[i] + stream.uniform(-jitter, jitter), ys[j] + stream.uniform(-jitter, jitter)
            place[i, j] = np.array([x + shear * y, y])
    turn = stream.uniform(0.0, 2.0 * math.pi)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = np.mean(list(place.values()), axis=0)
    place = {key: rotation @ (p - middle) for key, p in place.items()}
    links = _thinned(columns, rows, stream.sub("thin"), stream.uniform(0.0, 0.3 if city else 0.5))
    corners = {key: stream.uniform(18.0, 30.0) for key in place}
    kerb = max(p.sidewalk_m for p in (*row_profiles, *column_profiles))
    return _grid_plan(
        place, links, row_profiles, column_profiles, corners, stream.sub("bends"), kerb, 0.0 if city else 9.0
    )


Spot = tuple[int, int]


def _thinned(columns: int, rows: int, stream: Stream, share: float) -> list[tuple[Spot, Spot]]:
    """Links of a grid without some of the inner ones; inner spots keep three, those on the rim two."""
    links = [((i, j), (i + 1, j)) for j in range(rows) for i in range(columns - 1)]
    links += [((i, j), (i, j + 1)) for i in range(columns) for j in range(rows - 1)]

    def on_rim(spot: Spot) -> bool:
        return spot[0] in (0, columns - 1) or spot[1] in (0, rows - 1)

    def rim_road(a: Spot, b: Spot) -> bool:
        return a[1] == b[1] in (0, rows - 1) or a[0] == b[0] in (0, columns - 1)

    wanted = round(share * sum(not rim_road(*link) for link in links))
    for link in stream.shuffled([link for link in links if not rim_road(*link)]):
        left = [k for k in links if k != link]
        degree = {spot: sum(spot in k for k in left) for k in links for spot in k}
        spare = all(degree[spot] >= (2 if on_rim(spot) else 3) for spot in link)
        if wanted > 0 and spare and sum(d >= 3 for d in degree.values()) >= 4:
            links, wanted = left, wanted - 1
    return links


def _grid_plan(
    place: dict[Spot, Floats],
    links: list[tuple[Spot, Spot]],
    row_profiles: list[Profile],
    column_profiles: list[Profile],
    corners: dict[Spot, float],
    stream: Stream,
    sidewalk_m: float,
    bulge_m: float,
) -> Plan:
    """Spots with two links become bends of a longer road; the others become nodes."""
    neighbors: dict[Spot, list[Spot]] = {spot: [] for spot in place}
    for a, b in links:
        neighbors[a].append(b)
        neighbors[b].append(a)
    nodes = [spot for spot in place if len(neighbors[spot]) >= 3]
    number = {spot: i for i, spot in enumerate(nodes)}

    def outward(spot: Spot, other: Spot) -> Floats:
        """Direction of a road at its node: streets run straight through."""
        opposite = (2 * spot[0] - other[0], 2 * spot[1] - other[1])
        tangent = place[other] - (place[opposite] if opposite in neighbors[spot] else place[spot])
        return np.asarray(tangent / np.hypot(*tangent))

    edges, used = [], set()
    for spot in nodes:
        for first in neighbors[spot]:
            if (spot, first) in used:
                continue
            before, here = spot, first
            via: list[Floats] = []
            radius: list[float] = []
            while here not in number:
                via.append(place[here])
                straight = here[0] - before[0] == _onward(neighbors[here], before)[0] - here[0]
                radius.append(150.0 if straight else corners[here])
                before, here = here, _onward(neighbors[here], before)
            used |= {(spot, first), (here, before)}
            if not via and bulge_m > 0:
                chord = place[here] - place[spot]
                sideways = np.array([-chord[1], chord[0]]) / np.hypot(*chord)
                via, radius = [place[spot] + 0.5 * chord + stream.uniform(-bulge_m, bulge_m) * sideways], [200.0]
            profile = row_profiles[spot[1]] if first[1] == spot[1] else column_profiles[spot[0]]
            edges.append(
                PlanEdge(
                    number[spot], number[here], outward(spot, first), outward(here, before),
                    np.array(via).reshape(-1, 2), np.array(radius), profile,
                )
            )  # fmt: skip
    corner = np.array([sidewalk_m + stream.uniform(2.2, 5.0) for _ in nodes])
    return Plan(np.array([place[spot] for spot in nodes]), corner, tuple(edges))


def _onward(neighbors: list[Spot], before: Spot) -> Spot:
    """The other one of two neighbors."""
    return neighbors[1] if neighbors[0] == before else neighbors[0]
