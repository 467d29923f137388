"""Who walks: along sidewalks, turning round, standing about, and over zebras, where traffic waits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jwmtool.worlds.description import STEP_S, Actor
from jwmtool.worlds.figures.models import draw_size, stride_m
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Edge, Network
from jwmtool.worlds.roads.terrain import Terrain
from jwmtool.worlds.shapes.path import Path
from jwmtool.worlds.traffic.driver import Line, Simulation
from jwmtool.worlds.traffic.motion import grounded, smooth_step
from jwmtool.worlds.traffic.routes import Routes
from jwmtool.worlds.traffic.signals import SignalPlan

Floats = NDArray[np.float64]

_WALKERS = {"city": (8, 18), "suburb": (3, 9), "country": (0, 1), "motorway": (0, 1)}
_CROSSERS = {"city": (1, 5), "suburb": (0, 3), "country": (0, 1), "motorway": (0, 1)}
_NEAR_M = 80.0
_COMFORT_MPS2 = 3.2  # nobody steps out before a car that would have to brake harder
_PEOPLE = ("man", "woman", "child")
_SHARES = (5.0, 5.0, 1.5)


@dataclass
class Crosser:
    """Somebody who wants to cross a road: walks to the kerb, waits until traffic stops, walks on."""

    model: str
    size: tuple[float, float, float]
    seed: int
    path: Path
    speed_mps: float
    first_m: float  # station at the clip's start; negative: it comes into the world later than that
    kerb_m: float
    over_m: float  # station where it is off the road again
    group: int  # of the signals of the arm crossed; -1 without
    line: Line
    starts_s: float = np.inf  # decided while driving is simulated

    @property
    def arrives_s(self) -> float:
        """When it stands at the kerb."""
        return (self.kerb_m - self.first_m) / self.speed_mps

    @property
    def crossing_s(self) -> float:
        """How long it is on the road."""
        return (self.over_m - self.kerb_m) / self.speed_mps

    def step(self, sim: Simulation, plan: SignalPlan, time_s: float) -> None:
        """Close the crossing when it is wanted; start once nobody comes who cannot stop well."""
        if time_s < self.arrives_s - 1.0:
            return
        if self.starts_s < np.inf:
            self.line.closed = time_s < self.starts_s + self.crossing_s + 0.3
            return
        if self.group >= 0 and plan.red_for(self.group, time_s) < self.crossing_s + 1.0:
            self.line.closed = False
            return
        self.line.closed = True
        if time_s < self.arrives_s:
            return
        front = sim.s + 0.5 * sim.length
        for circuit, station in self.line.stations:
            cars = sim.circuit == circuit
            lap = sim.routes.lengths[circuit]
            ahead = np.mod(station - self.line.setback_m - front[cars] + 14.0, lap) - 14.0
            still = ahead - sim.length[cars] > -13.0  # a car that has not left the crossing with its rear yet
            comes = (ahead < 80.0) & still & (ahead > -self.line.setback_m - 3.0 - sim.length[cars])
            rash = sim.v[cars] ** 2 > 2.0 * _COMFORT_MPS2 * np.maximum(ahead, 0.05)
            if (comes & rash & (sim.v[cars] > 0.3)).any() or (comes & (ahead < 0.0)).any():
                return
        self.starts_s = time_s + 0.2

    def actor(self, network: Network, terrain: Terrain, times_s: Floats, name: str) -> Actor:
        """Its states once the simulation is over."""
        to_kerb = np.clip(self.first_m + self.speed_mps * times_s, -np.inf, self.kerb_m)
        on = self.kerb_m + self.speed_mps * (times_s - self.starts_s) if self.starts_s < np.inf else to_kerb
        s = np.clip(np.where(times_s < self.starts_s, to_kerb, np.maximum(on, self.kerb_m)), 0.0, self.path.length_m)
        return _walk(network, terrain, self.path, s, np.zeros_like(s), self.model, self.size, self.seed, name)


def make_crossers(spec_kind: str, duration_s: float, routes: Routes, near: Floats, stream: Stream) -> list[Crosser]:
    """People at the zebras near the ego's way `near` [M, 2]."""
    network = routes.network
    close = [
        c
        for c in network.crossings
        if np.hypot(*(near - network.edges[c.edge].path.at(c.s_m)[:2]).T).min() < 0.6 * _NEAR_M
    ]
    crossers: list[Crosser] = []
    low, high = _CROSSERS[spec_kind]
    for crossing in stream.shuffled(close)[: stream.integer(low, high)]:
        draw = stream.sub(f"{crossing.edge}/{crossing.node}")
        edge = network.edges[crossing.edge]
        node = network.nodes[crossing.node]
        side = 1.0 if draw.chance(0.5) else -1.0
        inwards = 1.0 if crossing.s_m < 0.5 * edge.path.length_m else -1.0  # away from the junction
        walk = edge.profile.paved_half_m + 0.5 * edge.profile.sidewalk_m
        far = min(draw.uniform(8.0, 22.0), 0.4 * (edge.last_m - edge.first_m))
        there, back = crossing.s_m + inwards * far, crossing.s_m + inwards * min(far, 18.0)
        corners = edge.path.beside([there, crossing.s_m, crossing.s_m, back], [side * walk] * 2 + [-side * walk] * 2)
        path = _rounded(corners[:, :2])
        kerb = abs(there - crossing.s_m) + 0.5 * edge.profile.sidewalk_m - 0.65
        over = kerb + 2.0 * crossing.half_m + 1.3
        arm = next((k for k, (e, _) in enumerate(node.arms) if e == edge.id), 0)
        rim = edge.path.beside([crossing.s_m] * 2, [-crossing.half_m, crossing.half_m])[:, :2]
        line = Line(routes.across(rim[0], rim[1]), 0.5 * crossing.width_m + 0.6, 4.0)
        model = draw.choice(_PEOPLE[:2])
        speed = draw.uniform(1.1, 1.6)
        arrives = draw.uniform(0.0, 0.7) * min(duration_s, 20.0)
        group = node.first_group + arm if node.first_group >= 0 else -1
        size = draw_size(model, draw)
        crossers.append(Crosser(model, size, draw.word(), path, speed, kerb - speed * arrives, kerb, over, group, line))
    return crossers


def make_walkers(
    spec_kind: str, network: Network, terrain: Terrain, near: Floats, times_s: Floats, stream: Stream
) -> list[Actor]:
    """People on the sidewalks near the ego's way `near` [M, 2]."""
    strips = [
        (edge, side)
        for edge in network.edges
        if edge.profile.sidewalk_m >= 1.5 and edge.last_m - edge.first_m > 12.0 and _distance(edge, near) < _NEAR_M
        for side in (True, False)
    ]
    if not strips:
        return []
    # All of one strip walk the same way at the same speed, so that nobody has to step aside.
    habits = {
        (e.id, side): (draw.uniform(0.95, 1.5), draw.chance(0.5))
        for e, side in strips
        for draw in [stream.sub(f"strip {e.id} {side}")]
    }
    actors: list[Actor] = []
    lengths = [e.last_m - e.first_m for e, _ in strips]
    for number in range(stream.integer(*_WALKERS[spec_kind])):
        draw = stream.sub(number)
        edge, side = draw.choice(strips, lengths)
        s = draw.uniform(edge.first_m + 1.0, edge.last_m - 1.0)
        if _distance(edge, near, s) > _NEAR_M:
            continue
        model = draw.choice(_PEOPLE, _SHARES)
        name = f"pedestrian_{len(actors) + 1:02d}"
        wide = edge.profile.sidewalk_m > 2.6
        if wide and draw.chance(0.3):
            actors.append(_standing(network, terrain, edge, side, s, model, draw, name))
        else:
            speed, onward = habits[edge.id, side]
            d = edge.profile.sidewalk_offset_m(side) + draw.uniform(-0.12, 0.12)
            stations, turned = _strip_walk(edge, s, speed, onward, times_s)
            yaw = np.where(onward, 0.0, np.pi) + turned
            size = draw_size(model, draw)
            path = Path(edge.path.beside(np.arange(0.0, edge.path.length_m, 1.0), d)[:, :2])
            stations = stations * path.length_m / edge.path.length_m
            actors.append(_walk(network, terrain, path, stations, yaw, model, size, draw.word(), name))
    return actors


def _standing(
    network: Network, terrain: Terrain, edge: Edge, side: bool, s: float, model: str, draw: Stream, name: str
) -> Actor:
    model = f"{model}_standing"
    aside = draw.choice((-0.8, 0.8)) if edge.profile.sidewalk_m > 3.0 else 0.75
    outer = -1.0 if side else 1.0
    x, y, heading = edge.path.beside(s, edge.profile.sidewalk_offset_m(side) + outer * aside)
    yaw = heading + draw.uniform(0.0, 2.0 * np.pi)
    state = grounded(network, terrain, np.array([x]), np.array([y]), np.array([yaw]))
    return Actor(name, "pedestrian", model, draw_size(model, draw), draw.word(), state, np.zeros(1))


def _strip_walk(edge: Edge, s: float, speed: float, onward: bool, times_s: Floats) -> tuple[Floats, Floats]:
    """Stations at times, and the yaw added by turning round at the strip's ends."""
    low, high = edge.first_m + 0.6, edge.last_m - 0.6
    keys, places, turns = [0.0], [s], [0.0]
    while keys[-1] < times_s[-1]:
        target = high if onward else low
        keys += [keys[-1] + max(abs(target - places[-1]) / speed, 1e-3)]
        keys += [keys[-1] + 1.6]
        places += [target, target]
        turns += [turns[-1], turns[-1] + np.pi]
        onward = not onward
    whole = np.interp(times_s, keys, turns) / np.pi
    turned = np.pi * (np.floor(whole) + smooth_step(whole - np.floor(whole)))
    return np.interp(times_s, keys, places), turned


def _walk(
    network: Network, terrain: Terrain, path: Path, s: Floats, turn: Floats, model: str,
    size: tuple[float, float, float], seed: int, name: str,
) -> Actor:  # fmt: skip
    place = path.at(s)
    states = grounded(network, terrain, place[:, 0], place[:, 1], np.unwrap(place[:, 2]) + turn)
    walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(s)))])
    moving = np.gradient(walked, STEP_S) > 0.2 if len(s) > 1 else np.zeros(1, bool)
    phase = walked / stride_m(model, size)
    # Feet come together while standing: the share of half a cycle that is left fades out.
    standing = np.convolve(np.pad((~moving).astype(float), 6, mode="edge"), np.ones(13) / 13, mode="valid")
    rest = np.round(2.0 * phase) / 2.0
    phase = phase + (rest - phase) * smooth_step(standing)
    return Actor(name, "pedestrian", model, size, seed, states, phase)


def _distance(edge: Edge, near: Floats, s: float | None = None) -> float:
    stations = np.arange(0.0, edge.path.length_m, 8.0) if s is None else np.array([s])
    points = edge.path.at(stations)[:, :2]
    return float(np.hypot(*(near[::4, None] - points[None]).transpose(2, 0, 1)).min())


def _rounded(corners: Floats) -> Path:
    """A way through corners that is walked in curves of about a step's radius."""
    points = Path(corners).resampled(0.25).points
    padded = np.pad(points, ((3, 3), (0, 0)), mode="edge")
    return Path(np.stack([np.convolve(padded[:, k], np.full(7, 1 / 7), mode="valid") for k in range(2)], 1))
