"""Vehicles of events: who cuts in, who drives the wrong way, whose cargo falls."""

from __future__ import annotations

import math

import numpy as np

from jwmtool.worlds.description import STEP_S, Actor
from jwmtool.worlds.figures.models import MODELS, draw_size
from jwmtool.worlds.random_stream import Stream
from jwmtool.worlds.traffic.driver import NOWHERE_M, Car, Simulation
from jwmtool.worlds.traffic.ego import EGO_SIZE, WARM_UP_S, EgoPlan
from jwmtool.worlds.traffic.event_scene import PLACE_BEYOND_STOP_M, Act, Scene, obstacle_rows
from jwmtool.worlds.traffic.fleet import draw_car_model
from jwmtool.worlds.traffic.motion import grounded, run, smooth_step
from jwmtool.worlds.traffic.routes import Routes


def _start(routes: Routes, plan: EgoPlan) -> tuple[float, float]:
    """Where the ego begins its warm-up, and its speed there."""
    s = plan.start_m + routes.travel_m(plan.start_m, -WARM_UP_S, plan.share)
    return s, plan.share * float(routes.limit_at(0, s))


def cut_in_car(routes: Routes, plan: EgoPlan, stream: Stream) -> Car:
    """In the neighboring lane a little ahead of the ego; without such a lane it stands at the roadside."""
    model = draw_car_model(stream)
    size = draw_size(model, stream)
    s, _ = _start(routes, plan)
    at = plan.start_m + routes.travel_m(plan.start_m, plan.event_s or 0.0, plan.share)
    road = routes.road_at(at + 20.0) or routes.road_at(at) or routes.road_at(plan.start_m)
    first = routes.road_at(s)
    seed = stream.word()
    same = road is not None and first is not None and first.edge == road.edge
    if road is None or road.profile.num_lanes < 2 or not same:
        return Car(model, size, seed, 0, s, plan.share, 1.2, NOWHERE_M, "event", starts_at_s=np.inf)
    lane, last = road.lane, road.profile.num_lanes - 1
    left = lane == last or (lane > 0 and stream.chance(0.5))
    d = road.profile.lane_width_m * (1.0 if left else -1.0)
    ahead = 0.5 * (size[0] + EGO_SIZE[0]) + stream.uniform(7.0, 10.0)
    return Car(
        model, size, seed, 0, s + ahead, plan.share, 1.0, d, "event", 0.0,
        shadow_m=ahead, share_after=plan.share * stream.uniform(0.68, 0.8), shadow_until_s=np.inf,
    )  # fmt: skip


def send_cut_in(sim: Simulation, car: Car, scene: Scene) -> None:
    """Let it move over now."""
    index = next(i for i, c in enumerate(sim.cars) if c is car)
    now = scene.begin_s
    if car.shadow_m is not None:
        car.move_from_s, car.move_for_s, car.shadow_until_s = now, scene.stream.uniform(2.2, 2.9), now
        return
    road, v = scene.road, scene.v
    ahead = scene.nose_m + 0.7 * v + v * v / 9.0 + 5.0 + 0.5 * car.size[0]
    car.d, car.d_after = road.beside_d(car.size[1]), 0.0
    car.starts_at_s, car.move_from_s = now, now
    car.move_from_m, car.move_over_m = ahead + 0.3, 5.0 + 3.0 * abs(car.d)
    car.share_after, car.shadow_until_s = 0.75 * car.share, now
    sim.s[index], sim.v[index], sim.d[index], sim.d_soon[index] = ahead, 0.0, car.d, car.d


def cargo_car(routes: Routes, plan: EgoPlan, stream: Stream) -> Car:
    """Drives ahead of the ego with its load on the roof."""
    model = stream.choice(("van", "lorry"))
    size = draw_size(model, stream)
    s, v = _start(routes, plan)
    ahead = 0.5 * (size[0] + EGO_SIZE[0]) + 12.0 + 0.75 * v
    return Car(
        model, size, stream.word(), 0, s + ahead, plan.share, 1.2, 0.0, "event",
        shadow_m=ahead, share_after=plan.share, shadow_until_s=np.inf,
    )  # fmt: skip


def act_wrong_way(scene: Scene) -> Act:
    """A car comes towards the ego in the ego's lane, and swerves past it or stops before it."""
    draw, road, times = scene.stream, scene.road, scene.times_s
    model = draw_car_model(draw)
    size = draw_size(model, draw)
    vw = min(draw.uniform(9.0, 12.0), max(6.0, 1.2 * scene.v + 2.0))
    line = scene.place_m - PLACE_BEYOND_STOP_M  # the ego's front stops here
    sharpest = float(np.abs(scene.path.curvature(line + np.arange(0.0, 160.0, 2.0))).max())
    vw = min(vw, max(4.5, math.sqrt(3.0 / max(sharpest, 1e-3))))
    stops = draw.chance(0.4)
    least = min(3.2, 0.35 * (float(times[-1]) - 1.0))
    meets_s = scene.begin_s + max(0.6 + scene.v / 4.0, 0.3 + vw / 4.0, least)  # about when the ego stands
    lane = road.profile.lane_width_m
    # Past the ego on its proper side of the road, or in the lane beside.
    aside = 2.0 * road.middle if road.lane == 0 else lane
    if scene.motorway and road.lane == 0:
        aside = -lane
    if stops:
        halt = line + draw.uniform(5.0, 8.0) + 0.5 * size[0]  # its middle
        brake = vw * vw / (2.0 * 4.0)
        begin = meets_s + 0.3 - 2.0 * brake / vw
        late = np.clip(times - begin, 0.0, vw / 4.0)
        s = halt + brake + vw * np.maximum(begin - times, 0.0) - vw * late + 2.0 * late * late
        d = np.zeros_like(s)
        open_s = math.inf
    else:
        passes = line + 7.0 + 0.5 * size[0]  # beside the ego's front soon after
        s = passes + vw * (meets_s + 0.4 - times)
        d = aside * smooth_step((passes + 16.0 - s) / 16.0)
        open_s = meets_s + 0.4 + (7.0 + EGO_SIZE[0] + size[0] + 3.0) / vw
    verge = road.beside_d(size[1])
    pull_out_m = 6.0 + 6.5 * abs(verge)
    sets_off = scene.begin_s - 3.0 - pull_out_m / vw
    if sets_off > float(times[0]):
        # It stood at the roadside before.
        first = float(np.interp(sets_off, times, s))
        way = first - s
        pull_out = run(times, sets_off, 1e4, vw, 3.5)
        stood = first + float(np.interp(scene.begin_s, times, pull_out)) - float(np.interp(scene.begin_s, times, way))
        before = times < scene.begin_s
        s = np.where(before, stood - pull_out, s)
        d = d + np.where(before, verge * (1.0 - smooth_step((pull_out - 0.5) / pull_out_m)), 0.0)
    place = scene.path.beside(s, d)
    speed = np.abs(np.gradient(s, STEP_S)) if len(s) > 1 else np.full(1, vw)
    slope = np.gradient(d, STEP_S) / np.maximum(speed, 2.0) if len(s) > 1 else np.zeros(1)
    yaw = np.unwrap(place[:, 2]) + math.pi - np.arctan(np.clip(slope, -0.5, 0.5))
    states = grounded(scene.routes.network, scene.terrain, place[:, 0], place[:, 1], yaw)
    phase = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(s)))])
    actor = Actor("wrong-way_01", MODELS[model].category, model, size, draw.word(), states, phase)
    return Act(
        [actor],
        [obstacle_rows(states, size)],
        line=(line, road.rim_right, 0.0),
        setback_m=0.0,
        closed_s=(scene.begin_s, open_s),
        only_ego=True,
    )
