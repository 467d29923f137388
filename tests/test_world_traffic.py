"""Traffic of worlds: drivers keep apart and obey, events happen before the ego's eyes, nobody is inside anybody."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import pytest

from jwmtool.worlds.description import STEP_S, Actor
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.roads.network import Network, make_network
from jwmtool.worlds.roads.terrain import Terrain, make_terrain, world_from_state
from jwmtool.worlds.shapes.footprints import Footprints
from jwmtool.worlds.spec import EVENTS, KINDS, WorldSpec
from jwmtool.worlds.traffic.driver import Car, Obstacle, Simulation
from jwmtool.worlds.traffic.ego import ego_rectangles
from jwmtool.worlds.traffic.motion import run, run_end_s, tumbling
from jwmtool.worlds.traffic.overlaps import meetings, overlapping
from jwmtool.worlds.traffic.routes import Routes
from jwmtool.worlds.traffic.signals import AMBER, GREEN, RED, make_signals
from jwmtool.worlds.traffic.simulate import Traffic, simulate

CAR_SIZE = (4.5, 1.8, 1.5)


@lru_cache(maxsize=128)
def simulated(
    kind: str, seed: int, event: str = "none", duration_s: float = 8.0
) -> tuple[Network, Terrain, Traffic, Footprints]:
    stream = Stream(seed, kind)
    network, terrain = make_network(kind, stream.sub("network")), make_terrain(kind, stream.sub("terrain"))
    footprints = Footprints()
    spec = WorldSpec(kind, seed, duration_s, event=event)
    return network, terrain, simulate(spec, network, terrain, footprints, stream.sub("traffic")), footprints


def driven(cars: list[Car], seconds: float, obstacles: list[Obstacle] | None = None, kind: str = "motorway"):
    network = make_network(kind, Stream(1, kind))
    plan = make_signals(network, {}, Stream(1, "signals"))
    simulation = Simulation(Routes(network), cars, plan, obstacles=obstacles or [])
    return network, simulation.run(np.arange(0, seconds, 0.1), lambda *_: None)


def in_ego_frame(traffic: Traffic, actor: Actor, num: int) -> tuple[np.ndarray, np.ndarray]:
    states = np.broadcast_to(actor.states, traffic.ego.shape) if len(actor.states) == 1 else actor.states
    d = states[:num, :2] - traffic.ego[:num, :2]
    cos, sin = np.cos(traffic.ego[:num, 3]), np.sin(traffic.ego[:num, 3])
    return d[:, 0] * cos + d[:, 1] * sin, -d[:, 0] * sin + d[:, 1] * cos


def test_a_follower_keeps_its_distance_and_a_lead_at_the_same_speed_stays() -> None:
    cars = [Car("sedan", CAR_SIZE, 0, 0, 100.0, 0.9), Car("sedan", CAR_SIZE, 0, 0, 130.0, 0.5)]
    _, record = driven(cars, 40.0)
    gap = record.s[:, 1] - record.s[:, 0] - CAR_SIZE[0]
    assert gap.min() > 5.0
    assert abs(record.v[-1, 0] - record.v[-1, 1]) < 0.3
    assert np.abs(record.a).max() < 4.0


def test_a_driver_stops_before_what_lies_in_the_lane_and_not_beside_it() -> None:
    network = make_network("motorway", Stream(1, "motorway"))
    for offset, stops in ((0.0, True), (3.6, False)):
        x, y, yaw = network.circuits[0].path.beside(260.0, offset)
        rows = np.tile([x, y, yaw, 1.0, 1.0, 0.0, 0.0], (300, 1))
        _, record = driven([Car("sedan", CAR_SIZE, 0, 0, 50.0, 0.7)], 25.0, [Obstacle(rows)])
        nose = record.s[-1, 0] + 0.5 * CAR_SIZE[0]
        assert (254.0 < nose < 259.0) if stops else nose > 300.0
        assert record.a.min() > -7.01


def test_nobody_enters_on_red_and_curves_are_taken_slowly() -> None:
    seen = 0
    for seed in range(6):
        network = make_network("city", Stream(seed, "city"))
        plan = make_signals(network, {}, Stream(seed, "signals"))
        routes = Routes(network)
        cars = [
            Car("sedan", CAR_SIZE, 0, c, s, 1.0)
            for c in range(len(network.circuits))
            for s in (20.0,)
            if not routes.inside_junction(c, s, 25.0)
        ]
        times = np.arange(0, 40, 0.1)
        record = Simulation(routes, cars, plan).run(times, lambda *_: None)
        for i, car in enumerate(cars):
            lap = routes.lengths[car.circuit]
            nose = record.s[:, i] + 0.5 * CAR_SIZE[0]
            for p in (p for p in routes.passages if p.circuit == car.circuit and p.group >= 0):
                past = np.floor((nose - p.stop_m) / lap)
                for k in np.nonzero(np.diff(past) > 0)[0]:
                    seen += 1
                    assert plan.colors(times[k])[p.group] != RED or plan.colors(times[k] - 1.0)[p.group] == AMBER
        bend = np.abs(
            np.stack([network.circuits[c.circuit].path.curvature(record.s[:, i]) for i, c in enumerate(cars)])
        )
        assert (record.v.T**2 * bend).max() < 4.0
    assert seen > 10


def test_signals_give_green_to_one_arm_at_a_time_and_when_wanted() -> None:
    network = make_network("city", Stream(2, "city"))
    node = next(n for n in network.nodes if n.control == "signals")
    plan = make_signals(network, {node.id: (1, -2.0, 11.0)}, Stream(0, "s"))
    colors = plan.colors(np.arange(0, 200, 0.1))[:, node.first_group : node.first_group + len(node.arms)]
    assert ((colors > RED).sum(1) <= 1).all()
    assert (colors == GREEN).any(0).all()
    assert (plan.colors(np.arange(-1.9, 10.9, 0.1))[:, node.first_group + 1] == GREEN).all()


def test_overlaps_are_found_and_the_lesser_goes() -> None:
    still = np.zeros((30, 6))
    still[:, 0] = -50.0
    ego = np.zeros((30, 6))
    ego[:, 1] = 500.0

    def actor(name: str, x: float, z: float = 0.0, yaw: float = 0.0) -> Actor:
        return Actor(name, "car", "sedan", CAR_SIZE, 0, np.array([[x, 0.0, z, yaw, 0, 0]]), np.zeros(1))

    moving = still.copy()
    moving[:, 0] = np.linspace(-20, 20, 30)
    through = Actor("through", "car", "sedan", CAR_SIZE, 0, moving, np.zeros(30))
    on_top = actor("on top", 0.0, z=1.6)
    actors = [actor("stands", 0.0), through, on_top, actor("aside", 30.0)]
    assert meetings(actors, ego) == [(0, 1)]
    assert overlapping(actors, [1, 2, 1, 1], ego) == {0}
    assert overlapping(actors, [2, 1, 1, 1], ego) == {1}
    ego[:, 1] = 0.0
    assert 0 in overlapping(actors, [9, 9, 9, 9], ego)


def test_runs_end_where_and_when_they_should() -> None:
    times = np.arange(0, 20, STEP_S)
    covered = run(times, 2.0, 12.0, 3.0, 4.0)
    assert covered[times <= 2.0].max() == 0
    assert covered[-1] == pytest.approx(12.0)
    assert covered[np.searchsorted(times, run_end_s(2.0, 12.0, 3.0, 4.0)) - 3] < 12.0
    assert np.diff(covered).max() / STEP_S < 3.0 + 1e-6
    assert np.abs(np.diff(covered, 2)).max() / STEP_S**2 < 4.1


def test_a_tumbling_body_turns_about_its_middle_and_never_digs_in() -> None:
    size = (1.4, 0.8, 0.6)
    pitch = np.linspace(0, 2 * np.pi, 25)
    states = tumbling(np.zeros((25, 6)), size, np.zeros(25), pitch)
    middle = states[:, :3] + 0.5 * size[2] * world_from_state(states)[:, :3, 2]
    assert np.abs(middle[:, :2]).max() < 1e-9
    assert middle[:, 2].min() == pytest.approx(0.3)
    assert middle[:, 2].max() == pytest.approx(0.7, abs=0.02)
    assert np.allclose(states[-1, :3], 0.0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("event", EVENTS)
def test_worlds_are_free_of_overlaps_and_move_plausibly(kind: str, event: str) -> None:
    for seed in (3, 14):
        network, terrain, traffic, _ = simulated(kind, seed, event)
        assert meetings(list(traffic.actors), traffic.ego, 0.09) == []
        assert len({a.id for a in traffic.actors}) == len(traffic.actors)
        num = len(traffic.ego)
        assert num == round(9.0 / STEP_S) + 1
        hardest = 4.1 if event == "none" else 7.05
        assert -hardest <= traffic.ego_controls[:, 1].min() and traffic.ego_controls[:, 1].max() < 3.1
        assert traffic.signals.colors.shape == (num, network.num_groups)
        for actor in traffic.actors:
            assert len(actor.states) in (1, num) and len(actor.phase) == len(actor.states)
            assert np.isfinite(actor.states).all()
            if actor.category == "obstacle" or len(actor.states) == 1:
                continue
            x, y = actor.states[:, 0], actor.states[:, 1]
            surface = terrain.height(x, y) + network.lift_m(x, y)
            assert np.abs(actor.states[:, 2] - surface).max() < 0.2, actor.id
            step = np.hypot(*np.diff(actor.states[:, :2], axis=0).T) / STEP_S
            if actor.category in ("car", "lorry", "bus"):
                assert np.abs(np.diff(step[::6]) / 0.2).max() < (5.5 if event == "none" else 8.0), actor.id
                assert np.abs(np.diff(actor.states[:, 3])).max() / STEP_S < 2.2, actor.id


@pytest.mark.parametrize("kind", KINDS)
def test_the_ego_s_controls_are_its_motion(kind: str) -> None:
    _, _, traffic, _ = simulated(kind, 14, "none")
    ego, controls = traffic.ego, traffic.ego_controls
    speed = np.hypot(*np.gradient(ego[:, :2], STEP_S, axis=0).T)
    assert np.abs(speed - controls[:, 0]).max() < 0.35
    assert np.allclose(np.gradient(ego[:, 3], STEP_S), controls[:, 2], atol=1e-9)
    assert controls[0, 0] + np.cumsum(controls[:, 1])[-2] * STEP_S == pytest.approx(controls[-1, 0], abs=0.3)
    along = np.gradient(ego[:, :2], STEP_S, axis=0)
    heading = np.arctan2(along[:, 1], along[:, 0])
    assert np.abs(np.angle(np.exp(1j * (heading - ego[:, 3]))))[speed > 2].max() < 0.08


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("event", EVENTS[1:])
def test_events_happen_ahead_and_in_view(kind: str, event: str) -> None:
    for seed in (3, 14):
        _, _, traffic, _ = simulated(kind, seed, event)
        own = [a for a in traffic.actors if a.id.startswith(event)]
        assert len(own) >= {"rocks": 3, "cargo": 3}.get(event, 1)
        assert traffic.event_time_s is not None and 0.29 * 8 <= traffic.event_time_s <= 0.6 * 8
        begin, num = round(traffic.event_time_s / STEP_S), round(8.0 / STEP_S)
        furthest = 45.0 if event == "wrong-way" else 32.0
        seen = np.zeros(num, bool)
        for actor in own:
            ahead, left = in_ego_frame(traffic, actor, num)
            seen |= (ahead > 4) & (ahead < furthest) & (np.abs(left) < 0.4 * ahead)
        assert seen[begin:].sum() * STEP_S >= 1.6
        way = traffic.stretch.points
        away = np.stack([np.hypot(*(way - a.states[:num, None, :2]).transpose(2, 0, 1)).min(1) for a in own]).min(0)
        if event in ("horse", "deer", "tiger", "dog", "child", "rocks"):
            assert away[begin:].min() < 1.0 and away[0] > 1.5
            assert traffic.ego_controls[: num + 1, 0].min() < 0.6 * traffic.ego_controls[begin, 0] + 0.5
        if event == "wrong-way":
            ahead, _ = in_ego_frame(traffic, own[0], num)
            facing = np.cos(own[0].states[:num, 3] - traffic.ego[:num, 3])
            assert ((away < 0.7) & (ahead > 5) & (ahead < 80) & (facing < -0.8))[begin:].any()
        if event == "cut-in":
            assert away[begin] > 1.3 and away[-1] < 0.7
        if event == "rocks":
            assert own[0].states[0, 2] - own[0].states[-1, 2] > 3.0
            assert traffic.things[0].kind == "cliff"
        if event == "cargo":
            boxes = [a for a in own if a.category == "obstacle"]
            assert all(a.states[0, 2] - a.states[-1, 2] > 1.0 for a in boxes[:1])


@pytest.mark.parametrize("duration_s", [0.1, 1.0, 2.0, 45.0])
def test_short_and_long_clips_have_their_event(duration_s: float) -> None:
    for kind in KINDS:
        _, _, traffic, _ = simulated(kind, 10, "deer", duration_s)
        deer = next(a for a in traffic.actors if a.id == "deer_01")
        ahead, left = in_ego_frame(traffic, deer, max(1, round(duration_s / STEP_S)))
        assert ((ahead > 5) & (ahead < 32) & (np.abs(left) < 0.45 * ahead)).any()


def test_somebody_crosses_while_traffic_waits() -> None:
    """On a zebra nobody is hurt, and over many worlds some do get to the other side."""
    over = 0
    for seed in range(12):
        network, _, traffic, _ = simulated("city", seed, "none", 12.0)
        for actor in (a for a in traffic.actors if a.id.startswith("crossing")):
            lift = network.lift_m(actor.states[:, 0], actor.states[:, 1])
            over += bool((lift[0] > 0.05) and (lift[-1] > 0.05) and (np.abs(lift) < 0.01).sum() > 60)
    assert over >= 3


def test_half_of_the_worlds_have_a_lead_car_at_the_ego_s_speed() -> None:
    found = 0
    for seed in range(24):
        _, _, traffic, _ = simulated("country", seed)
        for actor in (a for a in traffic.actors if a.category == "car" and len(a.states) > 1):
            ahead, left = in_ego_frame(traffic, actor, len(traffic.ego))
            found += bool((ahead > 8).all() and (ahead < 48).all() and (np.abs(left[:60]) < 6).all())
    assert 6 <= found <= 18


def test_the_same_seed_gives_the_same_traffic() -> None:
    first = simulated("city", 3, "cut-in")[2]
    simulated.cache_clear()
    again = simulated("city", 3, "cut-in")[2]
    assert [a.id for a in first.actors] == [a.id for a in again.actors]
    assert all(np.array_equal(a.states, b.states) for a, b in zip(first.actors, again.actors, strict=True))
    assert np.array_equal(first.ego, again.ego)


def test_parked_cars_and_the_event_s_ground_are_taken() -> None:
    _, _, traffic, footprints = simulated("suburb", 5, "child")
    parked = [a for a in traffic.actors if a.parked]
    assert parked
    for actor in parked:
        x, y, yaw = actor.states[0, [0, 1, 3]]
        assert not footprints.fits(x, y, yaw, *actor.size[:2])
    child = next(a for a in traffic.actors if a.id == "child_01")
    assert not footprints.fits(*child.states[0, [0, 1, 3]], 0.4, 0.4)


def test_the_stretch_covers_what_the_ego_drives() -> None:
    for kind in KINDS:
        _, _, traffic, _ = simulated(kind, 14)
        points = traffic.stretch.points
        for row in ego_rectangles(traffic.ego)[::30]:
            assert np.hypot(*(points - row[:2]).T).min() < 1.5


def test_twenty_seconds_take_less_than_a_second() -> None:
    simulated.cache_clear()
    simulated("city", 20, "none", 1.0)
    began = time.process_time()
    simulated("city", 21, "none", 20.0)
    assert time.process_time() - began < 1.0
