"""Closed ways to drive round a network: cycles of edges, and lane paths along them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_curves import even, turn_between
from jwmtool.worlds.roads.network_parts import Circuit, Edge, Node

Floats = NDArray[np.float64]
Step = tuple[int, bool]  # an edge, driven forward or not

_EASE_M = 1.2


def draw_circuits(
    nodes: Sequence[Node], edges: Sequence[Edge], corner_m: Sequence[float], stop_m: dict[Step, float], stream: Stream,
    step_m: float,
) -> tuple[Circuit, ...]:  # fmt: skip
    """The ego's route and those that traffic takes.

    Args:
        corner_m: kerb radius of each node.
        stop_m: how far before an edge's last (driven forward; else first) station its stop line lies.
        step_m: distance of the paths' points.
    """
    faces = _faces(nodes, edges)
    # The face on the left of whoever drives it counter-clockwise; the outer one runs the other way round.
    inner = [face for face in faces if _area(face, edges) > 0]
    outer = [face for face in faces if _area(face, edges) <= 0]
    route = stream.choice(inner)
    joined = [cycle for i, a in enumerate(inner) for b in inner[i + 1 :] if (cycle := _joined(a, b, nodes, edges))]
    if joined and stream.chance(0.6):
        route = stream.choice(joined)
    if stream.chance(0.5):
        route = _reversed(route)
    most = max(edges[e].profile.num_lanes for e, _ in route)
    own = stream.integer(0, most)
    wishes: list[tuple[list[Step], int]] = [(route, own)]
    wishes += [(_reversed(route), lane) for lane in range(most)]
    wishes += [(route, lane) for lane in range(most) if lane != own]
    if len(inner) > 1:
        for face in (*inner, *outer):
            for cycle in (face, _reversed(face)):
                if set(cycle) != set(route) and set(cycle) != set(_reversed(route)):
                    wishes.append((cycle, stream.integer(0, max(edges[e].profile.num_lanes for e, _ in cycle))))
    return tuple(_circuit(cycle, lane, nodes, edges, corner_m, stop_m, step_m) for cycle, lane in wishes)


def _reversed(cycle: list[Step]) -> list[Step]:
    return [(edge, not forward) for edge, forward in reversed(cycle)]


def _arrival(step: Step, edges: Sequence[Edge]) -> tuple[int, Step]:
    """Node at which a step ends, and that node's arm (edge id, at start) by which it is reached."""
    edge, forward = step
    return (edges[edge].end if forward else edges[edge].start), (edge, not forward)


def _faces(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[list[Step]]:
    """Cycles that turn as far left as possible at every node; roads that lead nowhere are left out."""
    dead = {e for node in nodes if node.control == "end" for e, _ in node.arms}
    arms = [[arm for arm in node.arms if arm[0] not in dead] for node in nodes]
    left = {(edge.id, forward): None for edge in edges if edge.id not in dead for forward in (True, False)}
    faces = []
    while left:
        step = next(iter(left))
        face = []
        while step in left:
            del left[step]
            face.append(step)
            node, arm = _arrival(step, edges)
            step = arms[node][(arms[node].index(arm) - 1) % len(arms[node])]
        faces.append(face)
    return faces


def _area(cycle: list[Step], edges: Sequence[Edge]) -> float:
    """Signed, counter-clockwise positive."""
    points = np.concatenate([edges[e].path.points[:: 1 if forward else -1] for e, forward in cycle])
    x, y = points.T
    return 0.5 * float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _joined(a: list[Step], b: list[Step], nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Step] | None:
    """The cycle round two faces that share a road, if it passes no node twice."""
    kept = [s for s in (*a, *b) if (s[0], not s[1]) not in a and (s[0], not s[1]) not in b]
    if not kept or len(kept) == len(a) + len(b):
        return None
    by_start = {_arrival((e, not forward), edges)[0]: (e, forward) for e, forward in kept}
    if len(by_start) != len(kept):
        return None
    cycle = [kept[0]]
    while len(cycle) < len(kept):
        following = by_start.get(_arrival(cycle[-1], edges)[0])
        if following is None or following in cycle:
            return None
        cycle.append(following)
    return cycle


def _circuit(
    cycle: list[Step], lane: int, nodes: Sequence[Node], edges: Sequence[Edge], corner_m: Sequence[float],
    stop_m: dict[Step, float], step_m: float,
) -> Circuit:  # fmt: skip
    lines, turns = [], []
    for e, forward in cycle:
        edge = edges[e]
        s = np.linspace(edge.first_m, edge.last_m, max(2, math.ceil((edge.last_m - edge.first_m) / step_m) + 1))
        offset = edge.profile.lane_offset_m(min(lane, edge.profile.num_lanes - 1), forward)
        place = edge.path.beside(s, offset)
        if not forward:
            place = place[::-1] + np.array([0.0, 0.0, math.pi])
        lines.append(place)
    for i, step in enumerate(cycle):
        node, _ = _arrival(step, edges)
        before, after = lines[i][-1], lines[(i + 1) % len(lines)][0]
        u, v = (np.array([math.cos(p[2]), math.sin(p[2])]) for p in (before, after))
        if math.hypot(*(after - before)[:2]) < 1e-6:
            turns.append(after[None, :2])
            continue
        # Beside a kerb the turn follows it; across the junction it is as wide as there is room.
        right = u[0] * v[1] - u[1] * v[0] < 0
        profile = edges[step[0]].profile
        offset = abs(profile.lane_offset_m(min(lane, profile.num_lanes - 1), True))
        widest = corner_m[node] + profile.paved_half_m - offset if right else 30.0
        turns.append(turn_between(before[:2], u, after[:2], v, widest))
    pieces, parts, at = [], [], 0.0
    for line, turn in zip(lines, turns, strict=True):
        length = float(np.hypot(*np.diff(line[:, :2], axis=0).T).sum())
        way = float(np.hypot(*np.diff(turn, axis=0).T).sum())
        pieces.append((at, at + length))
        parts += [line[:, :2], turn]
        at += length + way
    raw = np.concatenate(parts)
    raw = raw[np.concatenate([[True], np.hypot(*np.diff(raw, axis=0).T) > 1e-6])]
    path = even(raw[:-1], step_m, _EASE_M, closed=True)
    # The eased path has its points where the raw one had them, a little moved: stations move with them.
    scale = len(path.points) / at

    def eased(station_m: float) -> float:
        return float(np.interp(station_m * scale, np.arange(len(path.points) + 1), path.stations))

    stations = [(eased(a), eased(b)) for a, b in pieces]
    stops = []
    for i, step in enumerate(cycle):
        node, arm = _arrival(step, edges)
        if nodes[node].control in ("signals", "priority"):
            leave = stations[i + 1][0] if i + 1 < len(cycle) else path.length_m
            stops.append((stations[i][1] - stop_m[step], node, nodes[node].arms.index(arm), leave))
    ways = tuple((e, forward, *stations[i]) for i, (e, forward) in enumerate(cycle))
    return Circuit(path, lane, ways, tuple(stops))
