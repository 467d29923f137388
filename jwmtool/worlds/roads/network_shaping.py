"""From a plan of roads to roads with width: junction areas, smooth middles, controls and crossings."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network_curves import even, rounded
from jwmtool.worlds.roads.network_layout import Plan, PlanEdge
from jwmtool.worlds.roads.network_parts import Crossing, Edge, Node, Profile
from jwmtool.worlds.roads.network_shapes import corner_trims
from jwmtool.worlds.shapes.path import Path

Floats = NDArray[np.float64]

CROSSING_GAP_M = 0.6  # from the junction's area to the crossing
STOP_GAP_M = 1.0  # from the crossing to the stop line
STOP_WIDTH_M = 0.4
_ZONE_M = 7.0  # beyond the junction's area a road stays straight at least this far, for crossing and stop line
_EASE_M = 3.0
_LEAST_ROAD_M = 14.0

Shaped = tuple[tuple[Node, ...], tuple[Edge, ...], tuple[Crossing, ...], tuple[float, ...]]


def stop_back_m(crossing: Crossing | None) -> float:
    """How far from the junction's area the stop line lies."""
    return 0.8 if crossing is None else CROSSING_GAP_M + crossing.width_m + STOP_GAP_M


def shape_roads(kind: str, plan: Plan, stream: Stream) -> Shaped | str:
    """Nodes, edges, crossings and kerb radii of a plan; or why it cannot be."""
    if plan.ring is not None:
        return _ring(*plan.ring)
    arms = _sorted_arms(plan)
    trims = _trims(plan, arms)
    edges = []
    for i, road in enumerate(plan.edges):
        start_m, end_m = trims[i, True], trims[i, False]
        path = _middle(plan, road, start_m, end_m)
        if isinstance(path, str):
            return path
        if path.length_m - start_m - end_m < _LEAST_ROAD_M:
            return f"edge {i} is too short"
        edges.append(Edge(i, road.start, road.end, path, road.profile, start_m, end_m))
    nodes, groups = [], 0
    for n, (x, y) in enumerate(plan.nodes):
        control = "end" if len(arms[n]) == 1 else "priority"
        if control == "priority" and stream.chance({"city": 0.65, "suburb": 0.12}.get(kind, 0.0)):
            control = "signals"
        nodes.append(Node(n, float(x), float(y), tuple(arms[n]), control, groups if control == "signals" else -1))
        groups += len(arms[n]) if control == "signals" else 0
    crossings = []
    share = {"city": {"signals": 0.9, "priority": 0.45}, "suburb": {"signals": 0.8, "priority": 0.2}}.get(kind, {})
    for node in nodes:
        for edge_id, at_start in node.arms:
            width = stream.uniform(2.8, 4.2)
            if stream.chance(share.get(node.control, 0.0)):
                edge = edges[edge_id]
                inward = CROSSING_GAP_M + 0.5 * width
                s = edge.first_m + inward if at_start else edge.last_m - inward
                crossings.append(Crossing(node.id, edge_id, s, width, edge.profile.paved_half_m))
    return tuple(nodes), tuple(edges), tuple(crossings), tuple(float(c) for c in plan.corner_m)


def _ring(points: Floats, profile: Profile) -> Shaped:
    """One road that bites its own tail; its node lies within a straight bit, so that both ends match exactly."""
    closed = even(points, 2.0, 0.0, closed=True).points
    middle = 0.5 * (closed[-1] + closed[0])
    path = Path(np.concatenate([middle[None], closed, middle[None]]))
    node = Node(0, float(middle[0]), float(middle[1]), ((0, True), (0, False)), "bend", -1)
    return (node,), (Edge(0, 0, 0, path, profile, 0.0, 0.0),), (), (8.0,)


def _direction(road: PlanEdge, at_start: bool) -> Floats:
    return road.start_direction if at_start else road.end_direction


def _sorted_arms(plan: Plan) -> list[list[tuple[int, bool]]]:
    """Arms of each node, counter-clockwise from east."""
    arms: list[list[tuple[int, bool]]] = [[] for _ in plan.nodes]
    for i, road in enumerate(plan.edges):
        arms[road.start].append((i, True))
        arms[road.end].append((i, False))

    def angle(arm: tuple[int, bool]) -> float:
        x, y = _direction(plan.edges[arm[0]], arm[1])
        return math.atan2(y, x) % (2.0 * math.pi)

    return [sorted(found, key=angle) for found in arms]


def _trims(plan: Plan, arms: list[list[tuple[int, bool]]]) -> dict[tuple[int, bool], float]:
    """How far from its node each arm's road begins: where both its kerbs are straight."""
    trims = {arm: 0.0 for found in arms for arm in found}
    for n, found in enumerate(arms):
        if len(found) < 2:
            continue
        for a, b in zip(found, found[1:] + found[:1], strict=True):
            u, v = (_direction(plan.edges[arm[0]], arm[1]) for arm in (a, b))
            alpha = math.atan2(u[0] * v[1] - u[1] * v[0], float(u @ v)) % (2.0 * math.pi)
            half_a, half_b = (plan.edges[arm[0]].profile.paved_half_m for arm in (a, b))
            for arm, trim in zip((a, b), corner_trims(alpha, half_a, half_b, plan.corner_m[n]), strict=True):
                trims[arm] = max(trims[arm], trim)
    return trims


def _middle(plan: Plan, road: PlanEdge, start_m: float, end_m: float) -> Path | str:
    """The middle of a road: straight out of its nodes, rounded at corners."""
    a, b = plan.nodes[road.start], plan.nodes[road.end]
    ends = []
    for trim in (start_m, end_m):
        ends.append(trim + _ZONE_M if trim > 0 else 10.0)
    gap = float(np.hypot(*np.diff(np.vstack([a[None], road.via, b[None]]), axis=0).T).sum()) - sum(ends)
    if gap < 6.0:
        return "two junctions are too close"
    # The bend after the straight part takes at most a share of what is left.
    easy = min(0.22 * gap, 14.0)
    vertices = np.vstack(
        [a, a + (ends[0] + easy) * road.start_direction, road.via, b + (ends[1] + easy) * road.end_direction, b]
    )
    radius = np.concatenate([[0.0, 120.0], road.via_radius_m, [120.0, 0.0]])
    tangent = np.concatenate([[0.0, easy], np.full(len(road.via), np.inf), [easy, 0.0]])
    return even(rounded(vertices, radius, tangent), 2.0, _EASE_M)
