"""Rare events on the road ahead of the ego: prepared with the traffic, decided when their time has come.

An event is written along the ego's route: s metres along it, d metres to the left of it. It is decided at the moment
it begins, from where the ego is then and how fast it drives, so that the ego can always stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import STEP_S, Actor
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.spec import WorldSpec
from jwmtool.worlds.traffic.driver import TICK_S, Car, Line, Obstacle, Simulation
from jwmtool.worlds.traffic.ego import EGO_SIZE, WARM_UP_S, EgoPlan, event_room, stopping_m
from jwmtool.worlds.traffic.event_cars import act_wrong_way, cargo_car, cut_in_car, send_cut_in
from jwmtool.worlds.traffic.event_creatures import act_animal, act_child
from jwmtool.worlds.traffic.event_debris import act_cargo, act_rocks
from jwmtool.worlds.traffic.event_scene import PLACE_BEYOND_STOP_M, Act, Scene
from jwmtool.worlds.traffic.routes import Road, Routes

Floats = NDArray[np.float64]

REACTION_S = 0.35
_CLEAR_M = {"wrong-way": 320.0, "cut-in": 170.0, "cargo": 170.0}  # others: 200
_WAIT_SHARE = 0.12  # of the duration: so long it waits for a better place


@dataclass
class Event:
    """One event: its own vehicles to drive, and what it adds once it has begun."""

    name: str
    planned_s: float
    latest_s: float
    routes: Routes
    terrain: Terrain
    times_s: Floats  # [P] of the clip
    stream: Stream
    cars: list[Car] = field(default_factory=list)
    began_s: float | None = None
    in_the_way: list[Car] = field(default_factory=list)  # who drove between the ego and the place
    misplaced: bool = False  # there was no clear, straight road where it had to happen
    act: Act = field(default_factory=Act)
    _line: Line | None = None

    @property
    def clear_m(self) -> float:
        """The ego's lane is free so far ahead when the world begins."""
        return _CLEAR_M.get(self.name, 200.0)

    def step(self, sim: Simulation, time_s: float) -> None:
        """Begin when it is time and the place is good; close and open the road."""
        if self.began_s is None and time_s >= self.planned_s - 1e-6:
            self._try(sim, time_s)
        if self._line is not None:
            first, last = self.act.closed_s
            self._line.closed = first + REACTION_S <= time_s + 1e-6 < last

    def _try(self, sim: Simulation, time_s: float) -> None:
        s, v = float(sim.s[0]), float(sim.v[0])
        nose = s + 0.5 * EGO_SIZE[0]
        place = nose + max(stopping_m(v), 4.0) + PLACE_BEYOND_STOP_M
        room = event_room(self.routes, s, place)
        patience = (time_s - self.planned_s) / max(self.latest_s - self.planned_s, 1e-6)
        if patience < 1.0 and (room < (3.0 if patience < 0.5 else 2.0) or v < 3.0):
            return
        self.misplaced = room < 2.5
        if room == 0.0:  # the next piece of road, whatever is between
            further = (x for x in np.arange(0.0, 60.0, 2.0) if event_room(self.routes, s, place + x) > 0)
            place += float(next(further, 0.0))
        self.began_s = time_s
        self.in_the_way = self._hindrances(sim, nose, place)
        draw = self.stream.sub("act")
        road = self._road(place)
        scene = Scene(self.routes, self.terrain, road, self.times_s, time_s, nose, v, place, draw)
        if self.name == "cut-in":
            send_cut_in(sim, self.cars[0], scene)
        elif self.name == "cargo":
            self.act = act_cargo(scene, sim, self.cars[0])
        elif self.name == "child":
            self.act = act_child(scene)
        elif self.name == "rocks":
            self.act = act_rocks(scene)
        elif self.name == "wrong-way":
            self.act = act_wrong_way(scene)
        else:
            self.act = act_animal(scene, self.name)
        self._add(sim)

    def _hindrances(self, sim: Simulation, nose_m: float, place_m: float) -> list[Car]:
        """Who hides the place from the ego, or holds up the ego or the event's car in a queue."""
        last = place_m + 12.0 if self.name != "cut-in" else nose_m
        own = [i for i, c in enumerate(sim.cars) if c.role == "event" and c.starts_at_s < np.inf]
        for i in (0, *own):
            if sim.v[i] < 4.0:
                last = max(last, float(sim.s[i]) + 45.0)
        way = self.routes.network.circuits[0].path.at(np.arange(nose_m, max(last, nose_m + 1.0), 2.0))[:, :2]
        places = sim.rectangles()[:, :2]
        near = np.hypot(*(places[:, None] - way[None]).transpose(2, 0, 1)).min(1) < 2.2
        return [c for i, c in enumerate(sim.cars) if i > 0 and near[i] and c.role in ("traffic", "lead")]

    def _road(self, place: float) -> Road:
        """The road there, or the next one."""
        lap = float(self.routes.lengths[0])
        pieces = self.routes.network.circuits[0].pieces
        ahead = min((start - place) % lap for _, _, start, _ in pieces)
        road = self.routes.road_at(place) or self.routes.road_at(place + ahead + 0.1)
        if road is None:
            raise ValueError("the ego's route has no piece of road")
        return road

    def _add(self, sim: Simulation) -> None:
        every, before = round(TICK_S / STEP_S), round(WARM_UP_S / TICK_S)
        for rows in self.act.obstacles:
            sampled = rows[::every]
            sim.obstacles.append(Obstacle(np.concatenate([np.repeat(sampled[:1], before, 0), sampled])))
        if self.act.line is None:
            return
        station, low, high = self.act.line
        stations = [(0, station % float(self.routes.lengths[0]))]
        if not self.act.only_ego:
            rim = self.routes.network.circuits[0].path.beside([station] * 2, [low, high])[:, :2]
            stations += [(c, s) for c, s in self.routes.across(rim[0], rim[1]) if c != 0]
        self._line = Line(stations, self.act.setback_m, 30.0, only_ego=self.act.only_ego)
        sim.lines.append(self._line)

    def actors(self, car_states: Floats | None) -> list[Actor]:
        """The event's actors besides its car, whose states [P, 6] its load needs."""
        load = self.act.finish(car_states) if self.act.finish is not None and car_states is not None else []
        return self.act.actors + load


def plan_event(
    spec: WorldSpec, routes: Routes, terrain: Terrain, plan: EgoPlan, times_s: Floats, stream: Stream
) -> Event | None:
    """Prepare the event a spec asks for."""
    if plan.event_s is None:
        return None
    latest = plan.event_s + _WAIT_SHARE * spec.duration_s
    event = Event(spec.event, plan.event_s, latest, routes, terrain, times_s, stream)
    if spec.event == "cut-in":
        event.cars = [cut_in_car(routes, plan, stream.sub("car"))]
    elif spec.event == "cargo":
        event.cars = [cargo_car(routes, plan, stream.sub("car"))]
    return event
