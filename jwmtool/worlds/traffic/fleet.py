"""Who drives: kinds of vehicles, their lanes, speeds and first places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.figures.models import draw_size
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Profile
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.traffic.driver import Car
from jwmtool.worlds.traffic.ego import EGO_SIZE, WARM_UP_S, EgoPlan
from jwmtool.worlds.traffic.routes import Routes

Floats = NDArray[np.float64]

CARS = ("sedan", "estate", "hatchback", "suv", "van", "pickup")
CAR_SHARES = (4.0, 3.0, 4.0, 4.0, 2.0, 1.0)
_OTHERS: dict[str, dict[str, float]] = {
    "city": {"lorry": 1.2, "bus": 1.6, "cyclist": 2.5, "motorcyclist": 1.0},
    "suburb": {"lorry": 0.6, "bus": 0.5, "cyclist": 2.0, "motorcyclist": 0.5},
    "motorway": {"lorry": 2.0, "semi": 4.0, "tanker": 1.5, "bus": 0.7, "motorcyclist": 0.5},
    "country": {"lorry": 1.5, "semi": 0.5, "tanker": 0.5, "bus": 0.5, "cyclist": 0.8, "motorcyclist": 0.8},
}
_HEAVY = ("lorry", "semi", "tanker", "bus")
_SPACING_M = {"city": (28.0, 120.0), "suburb": (45.0, 200.0), "motorway": (45.0, 170.0), "country": (70.0, 300.0)}
_MOST = {"city": 24, "suburb": 14, "motorway": 30, "country": 12}
_NEAR_M = {"city": 130.0, "suburb": 130.0, "motorway": 230.0, "country": 200.0}
_LEAD_GAP_M = (10.0, 30.0)  # bumper to bumper
_FASTEST_HEAVY_MPS = 25.0


def draw_car_model(stream: Stream) -> str:
    """Any passenger car or van."""
    return stream.choice(CARS, CAR_SHARES)


def make_fleet(
    spec: WorldSpec, routes: Routes, plan: EgoPlan, own_cars: list[Car], clear_m: float | None, stream: Stream
) -> list[Car]:
    """The ego first, then `own_cars` (an event's), then perhaps a lead car, then traffic.

    Args:
        clear_m: keep the ego's lane free for so many metres ahead at the start; None if traffic may be there.
    """
    back = -routes.travel_m(plan.start_m, -WARM_UP_S, plan.share)
    start = plan.start_m - (0.0 if plan.standing else back)
    ego = Car("ego", EGO_SIZE, 0, 0, start, plan.share, stream.uniform(1.0, 1.5), role="ego")
    ego.starts_at_s = stream.uniform(0.3, 1.2) * min(spec.duration_s, 20.0) if plan.standing else -np.inf
    ego.starts_standing = plan.standing
    cars = [ego, *own_cars]
    taken = Footprints()
    for car in cars:
        if car.starts_at_s < np.inf:
            _take(taken, routes, car, always=True)
    lead = stream.sub("lead")
    if clear_m is None and not plan.standing and lead.chance(0.5):
        cars.append(_lead_car(routes, ego, lead))
        _take(taken, routes, cars[-1], always=True)
        clear_m = cars[-1].s - start + 25.0
    return cars + _traffic(spec, routes, plan, start, clear_m or 0.0, taken, stream.sub("traffic"))


def _lead_car(routes: Routes, ego: Car, stream: Stream) -> Car:
    """Drives as fast as the ego, which keeps the drawn distance to it."""
    model = draw_car_model(stream)
    size = draw_size(model, stream)
    gap = stream.uniform(*_LEAD_GAP_M)
    v = ego.share * float(routes.limit_at(0, ego.s))
    ego.headway_s = min(max((gap - 2.0) / v, 0.7), 2.5)
    gap = 2.0 + ego.headway_s * v
    share = ego.share
    ego.share = min(1.12 * share, 1.1)  # or it would fall behind
    return Car(model, size, stream.word(), 0, ego.s + gap + 0.5 * (size[0] + ego.size[0]), share, 1.2, role="lead")


def _take(taken: Footprints, routes: Routes, car: Car, always: bool = False) -> bool:
    """Reserve a car's place and some way ahead; False if somebody is there."""
    v = car.share * float(routes.limit_at(car.circuit, car.s))
    x, y, yaw = routes.network.circuits[car.circuit].path.beside(car.s, car.d)
    length = car.size[0] + 4.0 + 0.9 * v
    if not always and not taken.fits(x, y, yaw, length, car.size[1] + 0.4):
        return False
    taken.add(x, y, yaw, length, car.size[1] + 0.4)
    return True


def _traffic(
    spec: WorldSpec, routes: Routes, plan: EgoPlan, start: float, clear_m: float, taken: Footprints, stream: Stream
) -> list[Car]:
    kind, circuits = spec.kind, routes.network.circuits
    times = np.linspace(-WARM_UP_S, spec.duration_s, max(2, int(spec.duration_s / 2.0) + 3))
    ego_way = circuits[0].path.at(start + np.array([routes.travel_m(start, t + WARM_UP_S, plan.share) for t in times]))
    own_lane = circuits[0].path.at(np.arange(start - 12.0, start + max(clear_m, 14.0), 2.0))[:, :2]
    no_bicycles = circuits[0].path.at(np.arange(start, start + 260.0, 4.0))[:, :2]
    candidates: list[Car] = []
    low, high = _SPACING_M[kind]
    dense = stream.uniform(0.7, 1.6)
    for index, circuit in enumerate(circuits):
        draw = stream.sub(index)
        s = draw.uniform(0.0, high)
        while s < circuit.path.length_m:
            car = _draw_car(routes, kind, index, s, draw)
            s += draw.uniform(low, high) / dense
            if routes.inside_junction(index, car.s, 6.0, 4.0):
                continue
            at = circuit.path.at(car.s)[:2]
            avoid = no_bicycles if car.model == "cyclist" else own_lane
            if np.hypot(*(avoid - at).T).min() < 2.4 + 0.5 * car.size[0] * (car.model != "cyclist"):
                continue
            speed = car.share * 0.9 * float(routes.limit_at(index, car.s))
            way = car.s + speed * (times + WARM_UP_S)
            if car.size[0] > 7.0 and _bend(routes, index, car.s, float(way[-1]) + 20.0) > 0.35 / car.size[0]:
                continue
            if np.hypot(*(circuit.path.at(way)[:, :2] - ego_way[:, :2]).T).min() < _NEAR_M[kind]:
                candidates.append(car)
    chosen: list[Car] = []
    for car in stream.shuffled(candidates):
        if len(chosen) < _MOST[kind] and _take(taken, routes, car):
            chosen.append(car)
    return chosen


def _draw_car(routes: Routes, kind: str, index: int, s: float, stream: Stream) -> Car:
    circuit = routes.network.circuits[index]
    profile = _profile(routes, index, s)
    others = _OTHERS[kind]
    outermost = circuit.lane >= profile.num_lanes - 1
    if not outermost:
        others = {m: w for m, w in others.items() if m not in _HEAVY and m != "cyclist"}
    names = CARS + tuple(others)
    model = stream.choice(names, CAR_SHARES + tuple(others.values()))
    size, seed = draw_size(model, stream), stream.word()
    share, headway = stream.uniform(0.78, 1.05), stream.uniform(0.9, 1.8)
    d = stream.uniform(-0.12, 0.12)
    limit = float(routes.limit_at(index, s))
    if profile.num_lanes > 1:
        share *= 1.0 - 0.07 * circuit.lane
    if model in _HEAVY:
        share = min(share, _FASTEST_HEAVY_MPS / profile.speed_mps) * 0.95
    if model == "cyclist":
        share = min(1.0, stream.uniform(4.0, 6.5) / max(limit, 1.0))
        d = -0.5 * profile.lane_width_m + (0.55 if profile.shoulder_m < 0.9 or profile.parking_m > 0 else -0.45)
    return Car(model, size, seed, index, s, share, headway, d)


def _profile(routes: Routes, index: int, s: float) -> Profile:
    circuit = routes.network.circuits[index]
    lap = circuit.path.length_m
    for edge, _, start, end in circuit.pieces:
        if (s - start) % lap <= end - start:
            return routes.network.edges[edge].profile
    return routes.network.edges[circuit.pieces[0][0]].profile


def _bend(routes: Routes, index: int, first_m: float, last_m: float) -> float:
    """Sharpest curvature between two stations."""
    s = np.arange(first_m, last_m, 2.0)
    return float(np.abs(routes.network.circuits[index].path.curvature(s)).max())
