"""The ego: where its clip begins, how it wanders in its lane, and its states and controls."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import STEP_S
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.terrain import Terrain, state_on_ground
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.traffic.routes import Routes

Floats = NDArray[np.float64]

EGO_SIZE = (4.6, 1.85, 1.6)
EGO_MIDDLE_M = 1.3  # from the rear axle, where its states are, to the middle of its footprint
WARM_UP_S = 3.0  # driven before the clip begins, so that everybody has found their distance
_STANDING = 0.05
_BEHIND_M, _BEYOND_M = 40.0, 60.0


@dataclass(frozen=True)
class EgoPlan:
    """What is drawn for the ego: middle of its footprint and share of the speed limit at the clip's start."""

    start_m: float
    share: float
    standing: bool
    event_s: float | None  # when the event shall begin
    wander: tuple[tuple[float, float, float], ...]  # amplitude m, wavelength m, phase


def plan_ego(spec: WorldSpec, routes: Routes, stream: Stream) -> EgoPlan:
    """Where and how fast to begin: away from stop lines, and so that the event happens on a clear stretch of road."""
    event_s = None
    share = stream.uniform(0.75, 1.0)
    if spec.event != "none":
        part = stream.uniform(0.30, 0.45)
        event_s = 0.0 if spec.duration_s < 1.5 else max(0.5, part * spec.duration_s)
        # What is ahead shall be near before a short clip ends, so the ego is slow enough to stop within it.
        top, slow = (15.0, 1.7) if spec.event == "wrong-way" else (22.0, 2.3)
        fastest = min(top, max(6.0, slow * spec.duration_s))
        share = min(share, fastest / float(routes.limits[: routes.counts[0]].max()))
    standing = stream.chance(_STANDING) and event_s is None
    wander = tuple((stream.uniform(0.02, 0.12), stream.uniform(60.0, 220.0), stream.uniform(0.0, 6.28)) for _ in "ab")
    best, best_score = 0.0, -1.0
    for _ in range(60):
        s = stream.uniform(0.0, float(routes.lengths[0]))
        score = _score(routes, s, share, event_s)
        if score > best_score:
            best, best_score = s, score
    return EgoPlan(best, share, standing, event_s, wander)


def _score(routes: Routes, s: float, share: float, event_s: float | None) -> float:
    back = -routes.travel_m(s, -WARM_UP_S, share)
    onward = max(25.0, routes.travel_m(s, 2.0, share))
    score = 0.0 if any(_stop_between(routes, s - back - 8.0, s + onward)) else 4.0
    score -= 2.0 * routes.inside_junction(0, s)
    if event_s is not None:
        at = s + routes.travel_m(s, event_s, share)
        v = share * float(routes.limit_at(0, at))
        place = at + EGO_SIZE[0] / 2 + stopping_m(v) + 10.0
        score += event_room(routes, at, place) + 0.5 * event_room(routes, at + 0.8 * v, place + 0.8 * v)
    return score


def stopping_m(v: float) -> float:
    """A distance within which the ego can stop for what it has not expected."""
    return 1.0 + 0.75 * v + v * v / 10.0


def event_room(routes: Routes, ego_m: float, place_m: float) -> float:
    """0 to 3: how well an event at `place_m` is seen from `ego_m` (stations): on a road, straight on, no junction."""
    road = routes.road_at(place_m)
    if road is None or place_m - road.start_m < 9.0 or road.end_m - place_m < 9.0:
        return 0.0
    turn = abs(float(np.diff(routes.network.circuits[0].path.at([ego_m, place_m])[:, 2])[0]))
    turn = abs((turn + math.pi) % (2 * math.pi) - math.pi)
    return (
        1.0
        + (1.0 if turn < 0.2 else 0.5 if turn < 0.4 else 0.0)
        + (0.0 if any(_stop_between(routes, ego_m, place_m + 6.0)) else 1.0)
    )


def _stop_between(routes: Routes, first_m: float, last_m: float) -> list[bool]:
    """For each stop line of the ego's route whether it lies between two stations."""
    lap = float(routes.lengths[0])
    return [(p.stop_m - first_m) % lap < last_m - first_m for p in routes.passages if p.circuit == 0]


def arrivals(routes: Routes, plan: EgoPlan, until_s: float) -> dict[int, tuple[int, float]]:
    """When the ego, were it alone, reaches junctions first: node: (arm, seconds)."""
    found: dict[int, tuple[int, float]] = {}
    lap = float(routes.lengths[0])
    for p in sorted((p for p in routes.passages if p.circuit == 0), key=lambda p: (p.stop_m - plan.start_m) % lap):
        time = routes.travel_time_s(plan.start_m, (p.stop_m - plan.start_m) % lap, plan.share)
        if time < until_s and p.node not in found:
            found[p.node] = (p.arm, time)
    return found


def ego_track(path: Path, terrain: Terrain, plan: EgoPlan, s: Floats, v: Floats, a: Floats) -> tuple[Floats, Floats]:
    """States [P, 6] of the rear axle and controls [P, 4], from its middle's stations, speeds and accelerations."""
    rear = s - EGO_MIDDLE_M
    d, slope = wander(plan, rear)
    place = path.beside(rear, d)
    yaw = np.unwrap(place[:, 2]) + np.arctan(slope)
    rate = np.gradient(yaw, STEP_S) if len(yaw) > 1 else np.zeros(1)
    bend = path.curvature(rear)
    speed = v * (1.0 - bend * d) * np.sqrt(1.0 + slope**2)
    curvature = np.where(speed > 0.5, rate / np.maximum(speed, 0.5), bend)
    return state_on_ground(terrain, place[:, 0], place[:, 1], yaw), np.stack([speed, a, rate, curvature], -1)


def wander(plan: EgoPlan, s: Floats) -> tuple[Floats, Floats]:
    """Offset from the lane's middle (m, left positive) at stations, and its slope."""
    d, slope = np.zeros_like(s), np.zeros_like(s)
    for amplitude, length, phase in plan.wander:
        k = 2.0 * math.pi / length
        d = d + amplitude * np.sin(k * s + phase)
        slope = slope + amplitude * k * np.cos(k * s + phase)
    return d, slope


def stretch_of(path: Path, s: Floats) -> Path:
    """The part of the route that the ego drives, some way behind and beyond it included; one lap at most."""
    first, last = float(s.min()) - _BEHIND_M, float(s.max()) + _BEYOND_M
    last = min(last, first + path.length_m)
    return Path(path.at(np.linspace(first, last, max(2, round(last - first) + 1)))[:, :2])


def ego_rectangles(states: Floats) -> Floats:
    """[P, 5] footprints x, y, yaw, length, width."""
    x, y, yaw = states[:, 0], states[:, 1], states[:, 3]
    ahead = EGO_MIDDLE_M
    size = np.broadcast_to(EGO_SIZE[:2], (len(x), 2))
    return np.column_stack([x + ahead * np.cos(yaw), y + ahead * np.sin(yaw), yaw, size])
