"""The rims of what is paved: kerbs along roads and round junction corners, and the distance to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from jwmtool.worlds.roads.network_curves import STRAIGHT_RAD, arc, blend, left_of
from jwmtool.worlds.roads.network_parts import Edge, Node

Floats = NDArray[np.float64]

_LEAD_STEP_M = 2.0
_LEAST_TRIM_M = 3.0


@dataclass(frozen=True)
class Border:
    """One side of a road or one corner of a junction, as a line with the road on its left.

    Attributes:
        kerb: [K, 2] rim of the road.
        normal: [K, 2] unit, away from the road.
        width: [K] of the sidewalk there, metres; 0 without.
        edges: ids of the edges that it belongs to (of all arms, for a junction's corner).
        cap: True for the end of a road that leads nowhere.
    """

    kerb: Floats
    normal: Floats
    width: Floats
    edges: tuple[int, ...]
    cap: bool = False

    @property
    def rim(self) -> Floats:
        """[K, 2] the sidewalk's outer rim; the kerb without one."""
        return self.kerb + self.width[:, None] * self.normal


def corner_trims(
    alpha: float, half_a_m: float, half_b_m: float, radius_m: float
) -> tuple[float, float]:  # along arm a, along arm b, from the node
    """How far from the node two arms' kerbs are still straight, if a fillet joins them.

    Args:
        alpha: angle from arm a counter-clockwise to arm b.
        half_a_m, half_b_m: half of the arms' paved widths.
        radius_m: of the fillet.
    """
    if alpha > math.pi - STRAIGHT_RAD:
        return _LEAST_TRIM_M, _LEAST_TRIM_M
    tangent = radius_m / math.tan(alpha / 2.0)
    sine, cosine = math.sin(alpha), math.cos(alpha)
    return (half_b_m + half_a_m * cosine) / sine + tangent, (half_a_m + half_b_m * cosine) / sine + tangent


def road_stations(edge: Edge, step_m: float) -> Floats:
    """[R] stations of an edge's cross sections, from where its road begins to where it ends."""
    length = edge.last_m - edge.first_m
    return np.linspace(edge.first_m, edge.last_m, max(2, math.ceil(length / step_m) + 1))


def road_borders(edge: Edge, step_m: float, ends: tuple[bool, bool]) -> list[Border]:
    """Both sides of a road, and a cap where it leads nowhere (`ends`: its start, its end)."""
    place = edge.path.at(road_stations(edge, step_m))
    ahead = np.stack([np.cos(place[:, 2]), np.sin(place[:, 2])], 1)
    left = left_of(ahead)
    half = edge.profile.paved_half_m
    width = np.full(len(place), edge.profile.sidewalk_m)
    right_kerb, left_kerb = place[:, :2] - half * left, place[:, :2] + half * left
    borders = [
        Border(right_kerb, -left, width, (edge.id,)),
        Border(left_kerb[::-1], left[::-1], width, (edge.id,)),
    ]
    for row, outward, is_end in ((0, -ahead[0], ends[0]), (-1, ahead[-1], ends[1])):
        if is_end:
            share = np.linspace(0.0, 1.0, 7)[:, None]
            a, b = (left_kerb[0], right_kerb[0]) if row == 0 else (right_kerb[-1], left_kerb[-1])
            normal = np.repeat(outward[None], 7, 0)
            borders.append(Border(a + share * (b - a), normal, np.zeros(7), (edge.id,), cap=True))
    return borders


def arm_place(edge: Edge, at_start: bool) -> tuple[Floats, Floats]:
    """Where an arm leaves its junction's area: middle [2] and unit direction [2] away from the node."""
    x, y, heading = edge.path.at(edge.first_m if at_start else edge.last_m)
    sign = 1.0 if at_start else -1.0
    return np.array([x, y]), sign * np.array([math.cos(heading), math.sin(heading)])


def junction_borders(node: Node, edges: Sequence[Edge], corner_m: float) -> list[Border]:
    """The corners of a junction, counter-clockwise: border i joins arm i's left kerb to the next arm's right kerb."""
    arms = [(edges[e], *arm_place(edges[e], at_start)) for e, at_start in node.arms]
    touching = tuple(e for e, _ in node.arms)
    borders = []
    for i, (edge_a, middle_a, out_a) in enumerate(arms):
        edge_b, middle_b, out_b = arms[(i + 1) % len(arms)]
        profile_a, profile_b = edge_a.profile, edge_b.profile
        start = middle_a + profile_a.paved_half_m * left_of(out_a)
        end = middle_b - profile_b.paved_half_m * left_of(out_b)
        alpha = math.atan2(out_a[0] * out_b[1] - out_a[1] * out_b[0], float(out_a @ out_b)) % (2.0 * math.pi)
        if alpha > math.pi - STRAIGHT_RAD:
            count = max(8, math.ceil(math.hypot(*(end - start)) / 1.5))
            kerb, direction = blend(start, -out_a, end, out_b, count)
            share = np.linspace(0.0, 1.0, count)
        else:
            kerb, direction, share = _fillet(start, -out_a, end, out_b, math.pi - alpha, corner_m)
        width = (1.0 - share) * profile_a.sidewalk_m + share * profile_b.sidewalk_m
        borders.append(Border(kerb, -left_of(direction), width, touching))
    return borders


def _fillet(
    start: Floats, direction: Floats, end: Floats, end_direction: Floats, bend_rad: float, radius_m: float
) -> tuple[Floats, Floats, Floats]:
    """Straight, arc to the right, straight: points [K, 2], directions [K, 2], share of the arc gone by [K]."""
    cross = direction[0] * end_direction[1] - direction[1] * end_direction[0]
    gap = end - start
    ahead = (gap[0] * end_direction[1] - gap[1] * end_direction[0]) / cross
    back = (direction[0] * gap[1] - direction[1] * gap[0]) / cross
    tangent = min(radius_m * math.tan(bend_rad / 2.0), ahead, back)
    points = arc(start + (ahead - tangent) * direction, direction, -bend_rad, tangent / math.tan(bend_rad / 2.0))
    points = points[:: 2 if len(points) % 2 else 1]  # half a metre is fine enough
    turned = np.linspace(0.0, bend_rad, len(points))[:, None]
    headings = np.cos(turned) * direction - np.sin(turned) * left_of(direction)
    share = np.linspace(0.0, 1.0, len(points))
    lead_in = _lead(start, points[0])
    lead_out = _lead(end, points[-1])[::-1]
    return (
        np.concatenate([lead_in, points, lead_out]),
        np.concatenate([np.repeat(direction[None], len(lead_in), 0), headings,
                        np.repeat(end_direction[None], len(lead_out), 0)]),
        np.concatenate([np.zeros(len(lead_in)), share, np.ones(len(lead_out))]),
    )  # fmt: skip


def _lead(start: Floats, tip: Floats) -> Floats:
    """[L, 2] from `start` towards `tip`, which is left out; nothing if they meet."""
    length = math.hypot(*(tip - start))
    if length < 1e-6:
        return np.zeros((0, 2))
    count = max(1, math.ceil(length / _LEAD_STEP_M))
    return start + (np.arange(count) / count)[:, None] * (tip - start)


class RimDistance:
    """Signed distance to the nearest of many lines that have the paved side on their left (negative there)."""

    def __init__(self, lines: Sequence[Floats], step_m: float) -> None:
        """`lines` [K, 2] each; `step_m` is how densely to sample them."""
        points, outward = [], []
        for line in lines:
            along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
            s = np.linspace(0.0, along[-1], max(2, math.ceil(along[-1] / step_m) + 1))
            points.append(np.stack([np.interp(s, along, line[:, k]) for k in range(2)], 1))
            # Square to the line itself: where a sidewalk grows wider its rim is not parallel to the kerb.
            ahead = np.gradient(points[-1], axis=0)
            outward.append(-left_of(ahead / np.linalg.norm(ahead, axis=1, keepdims=True)))
        self._points, self._normals = np.concatenate(points), np.concatenate(outward)
        self._half_m = 0.5 * step_m
        self._tree = cKDTree(self._points)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """[...] metres."""
        query = np.stack(np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64)), -1)
        _, index = self._tree.query(query.reshape(-1, 2))
        gap = query.reshape(-1, 2) - self._points[index]
        normal = self._normals[index]
        across = (gap * normal).sum(1)
        along = np.abs(gap[:, 0] * normal[:, 1] - gap[:, 1] * normal[:, 0])
        # Beside a sample the line goes on; only past a line's end is the distance more than across.
        distance = np.hypot(across, np.maximum(along - self._half_m, 0.0))
        # Far past a line's end `across` is next to nothing and its sign means nothing: such a place is outside.
        inside = (across < 0.0) & (along <= 2.0 * self._half_m - across)
        return np.where(inside, -distance, distance).reshape(query.shape[:-1])
