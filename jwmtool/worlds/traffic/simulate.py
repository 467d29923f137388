"""All that moves in a world: draws vehicles, people and the event, and drives them through the clip."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import STEP_S, Actor, Signals, Thing
from jwmtool.worlds.figures.models import MODELS
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.traffic.driver import NOWHERE_M, TICK_S, Car, Record, Simulation
from jwmtool.worlds.traffic.ego import WARM_UP_S, arrivals, ego_track, plan_ego, stretch_of
from jwmtool.worlds.traffic.events import plan_event
from jwmtool.worlds.traffic.fleet import make_fleet
from jwmtool.worlds.traffic.motion import grounded, vehicle_states
from jwmtool.worlds.traffic.overlaps import overlapping
from jwmtool.worlds.traffic.parked import make_parked
from jwmtool.worlds.traffic.pedestrians import make_crossers, make_walkers
from jwmtool.worlds.traffic.routes import Routes
from jwmtool.worlds.traffic.signals import make_signals

Floats = NDArray[np.float64]

_AFTER_S = 1.0  # states go on so long after the clip
_RANK_EVENT, _RANK_LEAD, _RANK_CAR, _RANK_CROSSER, _RANK_WALKER, _RANK_PARKED = 6, 5, 4, 3, 2, 1
_ATTEMPTS, _STARTS = 10, 5


@dataclass(frozen=True)
class Traffic:
    """Everybody's motion; P states at i * STEP_S, a second more than the clip.

    Attributes:
        ego: [P, 6] states of the rig's origin.
        ego_controls: [P, 4] speed m/s, acceleration m/s2, yaw rate rad/s, curvature 1/m.
        event_time_s: when the event begins.
        stretch: the part of its route that the ego drives, some metres before and beyond included.
        things: what stands there because of the event.
    """

    actors: tuple[Actor, ...]
    ego: Floats
    ego_controls: Floats
    signals: Signals
    event_time_s: float | None
    stretch: Path
    things: tuple[Thing, ...] = ()


def simulate(spec: WorldSpec, network: Network, terrain: Terrain, footprints: Footprints, stream: Stream) -> Traffic:
    """Draw and drive everybody; ground that parked cars and the event need is added to `footprints`.

    Whoever runs into somebody is left out, and all is driven once more, so that nobody brakes for a ghost.
    """
    left_out: set[tuple[str, int]] = set()
    start = 0
    for attempt in range(_ATTEMPTS):
        drive = _Drive(spec, network, terrain, stream, start, left_out)
        if drive.event is not None and drive.event.misplaced and start < _STARTS:
            start, left_out = start + 1, set()
            continue
        actors, origins, ranks = drive.actors()
        ground = copy.deepcopy(footprints)
        for row in drive.corridors:
            ground.add(*row.tolist())
        near = drive.stretch.points
        parked = make_parked(spec.kind, network, terrain, near, ground, stream.sub("parked"))
        actors, ranks = actors + parked, ranks + [_RANK_PARKED] * len(parked)
        gone = overlapping(actors, ranks, drive.ego)
        ghosts = drive.in_the_way | {origins[k] for k in gone if k < len(origins) and origins[k][0]}
        if not ghosts or attempt == _ATTEMPTS - 1:
            break
        left_out |= ghosts
    kept = [a for k, a in enumerate(actors) if k not in gone]
    for row in drive.corridors:
        footprints.add(*row.tolist())
    for actor in kept:
        if len(actor.states) == 1:
            x, y, yaw = actor.states[0, [0, 1, 3]].tolist()
            footprints.add(x, y, yaw, actor.size[0], actor.size[1])
    event = drive.event
    return Traffic(
        tuple(kept),
        drive.ego,
        drive.controls,
        Signals(drive.signals.colors(drive.times_s)),
        event.began_s if event else None,
        drive.stretch,
        tuple(event.act.things) if event else (),
    )


class _Drive:
    """One run of all that moves by itself.

    `start` is which draw of the ego's start is taken (after the last the first, good or not), `left_out` names cars
    and crossers by their place in the draw.
    """

    def __init__(
        self,
        spec: WorldSpec,
        network: Network,
        terrain: Terrain,
        stream: Stream,
        start: int,
        left_out: set[tuple[str, int]],
    ) -> None:
        self.spec, self.network, self.terrain, self.stream = spec, network, terrain, stream
        self.times_s: Floats = (
            np.arange(int(np.ceil((spec.duration_s + _AFTER_S) / STEP_S - 1e-9)) + 1, dtype=np.float64) * STEP_S
        )
        routes = Routes(network)
        plan = plan_ego(spec, routes, stream.sub(f"ego {start % _STARTS}"))
        event = plan_event(spec, routes, terrain, plan, self.times_s, stream.sub("event"))
        own, clear_m = (event.cars, event.clear_m) if event else ([], None)
        cars = make_fleet(spec, routes, plan, own, clear_m, stream.sub("fleet"))
        lights = stream.sub("signals")
        greens = {}
        if event is not None or lights.chance(0.5):
            for node, (arm, time_s) in arrivals(routes, plan, min(spec.duration_s, 40.0)).items():
                greens[node] = (arm, -WARM_UP_S if event else time_s - 4.0, time_s + 4.0)
        self.signals = make_signals(network, greens, lights)
        near = _way(routes, plan.start_m, spec.duration_s, plan.share)
        crossers = make_crossers(spec.kind, spec.duration_s, routes, near, stream.sub("crossers")) if not event else []
        self._cars = [(k, c) for k, c in enumerate(cars) if ("car", k) not in left_out]
        self._crossers = [(k, c) for k, c in enumerate(crossers) if ("crosser", k) not in left_out]
        self.event = event
        lines = [c.line for _, c in self._crossers]
        ticks = (
            np.arange(-round(WARM_UP_S / TICK_S), int(np.ceil(self.times_s[-1] / TICK_S)) + 2, dtype=np.float64)
            * TICK_S
        )
        simulation = Simulation(routes, [c for _, c in self._cars], self.signals, lines, ego_first=event is not None)
        self._record = simulation.run(ticks, self._on_tick)
        path = network.circuits[0].path
        s, v, a = _sampled(self._record, 0, self.times_s)
        self.ego, self.controls = ego_track(path, terrain, plan, s, v, a)
        self.stretch = stretch_of(path, s)

    @property
    def corridors(self) -> list[Floats]:
        """[5] each: ground that the event needs."""
        return self.event.act.corridors if self.event else []

    @property
    def in_the_way(self) -> set[tuple[str, int]]:
        """Who hides the event from the ego, as in `left_out`."""
        hindrances = self.event.in_the_way if self.event is not None else []
        return {("car", k) for k, c in self._cars if any(c is other for other in hindrances)}

    def _on_tick(self, simulation: Simulation, time_s: float) -> None:
        for _, crosser in self._crossers:
            crosser.step(simulation, self.signals, time_s)
        if self.event is not None:
            self.event.step(simulation, time_s)

    def actors(self) -> tuple[list[Actor], list[tuple[str, int]], list[int]]:
        """All that moves but the ego, where each was drawn ("" for those without influence on traffic), and ranks."""
        actors: list[Actor] = []
        origins: list[tuple[str, int]] = []
        ranks: list[int] = []
        counts: dict[str, int] = {}
        load_states = None
        for row, (index, car) in enumerate(self._cars):
            if car.role == "ego" or abs(car.d) >= NOWHERE_M:
                continue
            states, distance = self._car_states(row, car)
            category = MODELS[car.model].category
            prefix = category
            if car.role == "event" and self.event is not None:
                load_states = states
                prefix = "cargo_carrier" if self.event.name == "cargo" else self.event.name
            counts[prefix] = counts.get(prefix, 0) + 1
            name = f"{prefix}_{counts[prefix]:02d}"
            actors.append(Actor(name, category, car.model, car.size, car.seed, states, distance))
            origins.append(("car" if car.role in ("traffic", "lead") else "", index))
            ranks.append({"event": _RANK_EVENT, "lead": _RANK_LEAD}.get(car.role, _RANK_CAR))
        if self.event is not None:
            own = self.event.actors(load_states)
            actors, origins, ranks = actors + own, origins + [("", 0)] * len(own), ranks + [_RANK_EVENT] * len(own)
        for index, crosser in self._crossers:
            actors.append(crosser.actor(self.network, self.terrain, self.times_s, f"crossing_{index + 1:02d}"))
            origins.append(("crosser", index))
            ranks.append(_RANK_CROSSER)
        walkers = make_walkers(
            self.spec.kind, self.network, self.terrain, self.stretch.points, self.times_s, self.stream.sub("walkers")
        )
        count = len(walkers)
        return actors + walkers, origins + [("", 0)] * count, ranks + [_RANK_WALKER] * count

    def _car_states(self, row: int, car: Car) -> tuple[Floats, Floats]:
        """States [P, 6] and distance driven [P]."""
        s, v, _ = _sampled(self._record, row, self.times_s)
        if car.role == "event" and np.isfinite(car.starts_at_s):  # it was put there when the event began
            began = min(int(np.searchsorted(self.times_s, car.starts_at_s + TICK_S)), len(s) - 1)
            s[:began], v[:began] = s[began], 0.0
        d = car.offset(self.times_s, s)
        path = self.network.circuits[car.circuit].path
        states = vehicle_states(self.terrain, path, s, d, v, car.size[0], STEP_S)
        if car.role == "event" and np.ptp(d) > 0:  # it may come from the verge or a sidewalk
            states = grounded(self.network, self.terrain, states[:, 0], states[:, 1], states[:, 3])
        return states, s - s[0]


def _way(routes: Routes, start_m: float, duration_s: float, share: float) -> Floats:
    """[M, 2] the ego's way, were it alone, two metres apart; one lap at most."""
    length = min(routes.travel_m(start_m, duration_s, share) + 40.0, float(routes.lengths[0]))
    return routes.network.circuits[0].path.at(np.arange(start_m, start_m + length, 2.0))[:, :2]


def _sampled(record: Record, index: int, times_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Stations, speeds and accelerations [P] of a car at times, as it drove between its decisions."""
    k = np.clip(np.searchsorted(record.times_s, times_s + 1e-9, side="right") - 1, 0, len(record.times_s) - 1)
    since = times_s - record.times_s[k]
    s, v, a = record.s[k, index], record.v[k, index], record.a[k, index]
    return s + v * since + 0.5 * a * since**2, np.maximum(v + a * since, 0.0), a
